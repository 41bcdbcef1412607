"""What somebody else changes while a container is being set up, and what is put in the way of the set-up itself."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.container.config import Mount
from runtime.container.shim_client import LaunchError

from .conftest import mounts_below

if TYPE_CHECKING:
    from .conftest import Laboratory

STARTS = 12
RENAME_EXCHANGE = 2
"""linux/fs.h"""
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def exchanging(one: Path, other: Path) -> Iterator[None]:
    """Both names change places, again and again, as a container that shares the volume could do it."""
    ended = threading.Event()

    def exchange() -> None:
        while not ended.wait(0.0002):
            _libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), RENAME_EXCHANGE)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("leads_to", ["/", "../../../../../../../.."])
async def test_a_target_that_becomes_a_link(laboratory: Laboratory, tmp_path: Path, leads_to: str) -> None:
    """CVE-2021-30465: a target below a shared volume is a directory when it is looked at, and a link when it is
    mounted on. Nothing is made or mounted outside of the root, whoever wins."""
    shared, outside = tmp_path / "shared", tmp_path / "outside"
    (shared / "place").mkdir(parents=True)
    outside.mkdir()
    (shared / "link").symlink_to(f"{leads_to}{outside}")
    mounts = (
        Mount(type="bind", source=str(shared), target="/v"),
        Mount(type="tmpfs", target="/v/place/deep"),
        Mount(type="bind", source="/etc", target="/v/place/more", read_only=True),
    )
    before = mounts_below(tmp_path)
    with exchanging(shared / "place", shared / "link"):
        for _ in range(STARTS):
            try:
                finished = await laboratory.sh(
                    "cut -d' ' -f5 /proc/self/mountinfo; ls -d /proc/1", mounts=mounts
                )
            except LaunchError:
                continue  # refused is as good
            assert finished.code == 0
            assert not [line for line in finished.lines if line in ("//deleted", str(outside))]
            assert finished.lines.count("/") == 1
    assert list(outside.iterdir()) == []
    assert mounts_below(tmp_path) == before


async def test_what_masks_is_the_null_device(laboratory: Laboratory, tmp_path: Path) -> None:
    """CVE-2025-31133: what is mounted on /dev/null would show, and could be written, in the place of all that is
    masked."""
    (tmp_path / "evil").write_text("evil")
    mounts = (Mount(type="bind", source=str(tmp_path / "evil"), target="/dev/null"),)
    script = (
        "cat /dev/null; echo; cat /proc/keys /proc/timer_list /proc/kcore | wc -c; (echo x > /proc/keys) 2>&1"
    )
    finished = await laboratory.sh(script, mounts=mounts)
    assert finished.lines == ["evil", "0"]
    assert (tmp_path / "evil").read_text() == "evil"
