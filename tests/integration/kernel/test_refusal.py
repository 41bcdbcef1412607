"""File systems that take nothing: which error they refuse with, by path and by descriptor."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.kernel.refusal import refusal

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts file systems")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    place = tmp_path / "mounted"
    place.mkdir()

    def mount(options: str) -> Path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
        return place

    yield mount
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize(
    ("options", "expected"), [("size=1m", 0), ("ro", errno.EROFS), ("nr_inodes=1", errno.ENOSPC)]
)
def test_what_it_says(mount: Callable[[str], Path], options: str, expected: int) -> None:
    place = mount(options)
    fd = os.open(place, os.O_PATH)
    try:
        assert (refusal(place), refusal(".", fd)) == (expected, expected)
    finally:
        os.close(fd)
    assert list(place.iterdir()) == []


def test_no_room_for_bytes(mount: Callable[[str], Path]) -> None:
    place = mount("size=64k")
    with open(place / "filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 64 << 10)
    assert refusal(place) == errno.ENOSPC


def test_what_is_no_directory_says_nothing(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing") == 0
