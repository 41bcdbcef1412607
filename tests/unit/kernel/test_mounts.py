"""Where links lead inside a root, also where nothing is yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel.mounts import follow_missing, make_directories, make_mount_point


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "root/etc").mkdir(parents=True)
    for name, text in (
        ("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"),
        ("etc/absolute", "/run/there"),
        ("etc/outside", "../../../../../../tmp/x"),
        ("etc/chain", "absolute"),
        ("etc/loop", "loop"),
        ("up", ".."),
    ):
        (tmp_path / "root" / name).symlink_to(text)
    fd = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/etc/resolv.conf", "run/systemd/resolve/stub-resolv.conf"),
        ("/etc/absolute", "run/there"),
        ("/etc/outside", "tmp/x"),
        ("/etc/chain/below/it", "run/there/below/it"),
        ("/up/../../etc/./new", "etc/new"),
        ("/not/there/../yet", "not/yet"),
        ("/", ""),
    ],
)
def test_where_links_lead(root: int, path: str, found: str) -> None:
    assert "/".join(follow_missing(root, path)) == found


def test_what_is_made_is_inside(root: int, tmp_path: Path) -> None:
    os.close(make_mount_point(root, "/etc/resolv.conf", directory=False))
    os.close(make_mount_point(root, "/etc/outside/file", directory=False))
    os.close(make_directories(root, "/etc/chain/below"))
    assert (tmp_path / "root/run/systemd/resolve/stub-resolv.conf").is_file()
    assert (tmp_path / "root/tmp/x/file").is_file()
    assert (tmp_path / "root/run/there/below").is_dir()
    assert not Path("/tmp/x/file").exists()


def test_a_link_to_itself(root: int) -> None:
    with pytest.raises(OSError, match="symbolic links"):
        make_directories(root, "/etc/loop/x")
