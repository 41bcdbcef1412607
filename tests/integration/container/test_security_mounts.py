"""Mounts of the user's: tmpfs options, read-only and its depth, propagation, and targets that would escape."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runtime.container.config import ContainerConfig, Mount
from runtime.container.shim_client import LaunchError
from runtime.errors import InvalidArgument
from runtime.kernel import syscalls
from runtime.storage.paths import Paths

if TYPE_CHECKING:
    from .conftest import Laboratory

USUAL = "rw,nosuid,nodev,noexec"


@pytest.mark.parametrize(
    ("options", "flags", "superblock"),
    [
        ("", f"{USUAL},relatime", "rw"),
        ("size=1m,mode=700", f"{USUAL},relatime", "rw,size=1024k,mode=700"),
        ("uid=1000,gid=1001,nr_inodes=9", f"{USUAL},relatime", "rw,nr_inodes=9,uid=1000,gid=1001"),
        ("rw,exec,suid,dev", "rw,relatime", "rw"),
        ("ro", "ro,nosuid,nodev,noexec,relatime", "rw"),
        ("noatime,nodiratime", f"{USUAL},noatime,nodiratime", "rw"),
        ("noatime,relatime", f"{USUAL},relatime", "rw"),
        ("strictatime", USUAL, "rw"),
        ("sync,dirsync", f"{USUAL},relatime", "rw,sync,dirsync"),
        ("async,defaults,mpol=local", f"{USUAL},relatime", "rw,mpol=local"),
    ],
)  # fmt: skip
async def test_options_of_a_tmpfs(laboratory: Laboratory, options: str, flags: str, superblock: str) -> None:
    mount = Mount(type="tmpfs", target="/scratch", options=(options,) if options else ())
    found = (await laboratory.facts("mounts", mounts=(mount,)))["mounts"]["/scratch"]
    told = set(found["options"].split(",")) - {"mode=1777", "mode=755"}
    assert (found["flags"], told) == (flags, set(superblock.split(",")))


@pytest.mark.parametrize(("target", "mode"), [("/not/there", b"1777\n"), ("/srv", b"755\n")])
async def test_who_may_write_to_a_tmpfs(laboratory: Laboratory, target: str, mode: bytes) -> None:
    """As the image has its directory; all may where it has none."""
    mount = Mount(type="tmpfs", target=target)
    assert (await laboratory.run("stat", "-c", "%a", target, mounts=(mount,))).stdout == mode


async def test_an_unknown_option_of_a_tmpfs(laboratory: Laboratory) -> None:
    for option in ("bogus", "iversion", "size", "lowerdir=/"):
        with pytest.raises(InvalidArgument, match="tmpfs /scratch: invalid option"):
            await laboratory.run("true", mounts=(Mount(type="tmpfs", target="/scratch", options=(option,)),))


@pytest.mark.parametrize("propagation", ["shared", "rslave", "private"])
async def test_propagation_of_a_tmpfs(laboratory: Laboratory, propagation: str) -> None:
    mount = Mount(type="tmpfs", target="/scratch", options=(propagation,))
    found = (await laboratory.facts("mounts", mounts=(mount,)))["mounts"]["/scratch"]
    assert ("shared" in found["propagation"]) == (propagation == "shared")


@pytest.fixture
def tree(tmp_path: Path, paths: Paths) -> Iterator[Path]:
    """A directory of the host with another file system mounted in it; ``paths`` empties tmp_path after it is gone."""
    source = tmp_path / "tree"
    (source / "sub").mkdir(parents=True)
    (source / "file").write_text("outer")
    syscalls.mount(b"none", bytes(source / "sub"), b"tmpfs", 0, b"size=64k")
    syscalls.mount(None, bytes(source / "sub"), None, syscalls.MS_SHARED)
    (source / "sub/file").write_text("inner")
    yield source
    syscalls.umount2(bytes(source / "sub"), 2)


WRITE = "for f in /d/x /d/sub/x; do echo x 2>/dev/null > $f && echo yes || echo no; done; cat /d/sub/file 2>/dev/null"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["yes", "yes", "inner"]),
        ({"read_only": True}, ["no", "no", "inner"]),
        ({"read_only": True, "recursive": "readonly"}, ["no", "no", "inner"]),
        ({"read_only": True, "recursive": "writable"}, ["no", "yes", "inner"]),
        ({"recursive": "disabled"}, ["yes", "yes"]),
        ({"read_only": True, "recursive": "disabled"}, ["no", "no"]),
    ],
    ids=str,
)
async def test_how_deep_a_bind_goes(
    tree: Path, laboratory: Laboratory, options: dict[str, Any], expected: list[str]
) -> None:
    """Read-only means all of it, as in Docker since version 25, unless ``writable`` says otherwise."""
    mount = Mount(type="bind", source=str(tree), target="/d", **options)
    assert (await laboratory.sh(WRITE, mounts=(mount,))).lines == [*expected]
    assert (tree / "x").exists() == (expected[0] == "yes")


@pytest.mark.parametrize(
    ("propagation", "sees", "shows"),
    [("", False, False), ("private", False, False), ("rslave", True, False), ("rshared", True, True)],
)
async def test_propagation_of_a_bind(
    tree: Path, laboratory: Laboratory, propagation: str, sees: bool, shows: bool
) -> None:
    """Whether mounts made later pass between the host and the container."""
    for name in ("host", "own"):
        (tree / "sub" / name).mkdir()
    mount = Mount(type="bind", source=str(tree / "sub"), target="/d", propagation=propagation)
    shim = await laboratory.start("sleep", "1000", mounts=(mount,), cap_add=("SYS_ADMIN",))
    config = ContainerConfig(image="composer.local/host", cap_add=("SYS_ADMIN",))
    syscalls.mount(b"none", bytes(tree / "sub/host"), b"tmpfs", 0, b"")
    try:
        finished = await laboratory.exec(
            shim,
            "/bin/sh",
            "-c",
            "mount -t tmpfs none /d/own; grep -c /d/host /proc/self/mountinfo",
            config=config,
        )
        assert (finished.text.strip() == "1") == sees
        assert os.path.ismount(tree / "sub/own") == shows
    finally:
        for name in ("host", "own"):
            if os.path.ismount(tree / "sub" / name):
                syscalls.umount2(bytes(tree / "sub" / name), 2)


async def test_propagation_needs_a_source_that_has_it(tree: Path, laboratory: Laboratory) -> None:
    syscalls.mount(b"none", bytes(tree / "sub"), b"tmpfs", 0, b"")
    try:
        syscalls.mount(None, bytes(tree / "sub"), None, syscalls.MS_PRIVATE)
        for propagation, says in (("rshared", "a shared mount"), ("slave", "a shared or slave mount")):
            mount = Mount(type="bind", source=str(tree / "sub"), target="/d", propagation=propagation)
            with pytest.raises(LaunchError, match=f"is mounted on {tree}/sub but it is not {says}"):
                await laboratory.run("true", mounts=(mount,))
    finally:
        syscalls.umount2(bytes(tree / "sub"), 2)


@pytest.mark.parametrize("target", ["/", "/proc", "/proc/1/x", "relative", "/a/../..", "/x\0y"])
async def test_targets_that_are_refused(laboratory: Laboratory, tmp_path: Path, target: str) -> None:
    with pytest.raises(InvalidArgument, match="mount target"):
        await laboratory.run("true", mounts=(Mount(type="bind", source=str(tmp_path), target=target),))


async def test_what_is_mounted_over_the_defaults(laboratory: Laboratory, tmp_path: Path) -> None:
    """The user's own takes the place of /sys, /dev/shm or /etc/hosts; masks below a /sys of one's own are kept too."""
    (tmp_path / "own/firmware").mkdir(parents=True)
    (tmp_path / "own/firmware/secret").write_text("x")
    (tmp_path / "hosts").write_text("own")
    mounts = (
        Mount(type="bind", source=str(tmp_path / "own"), target="/sys"),
        Mount(type="tmpfs", target="/dev/shm", size=4096),
        Mount(type="bind", source=str(tmp_path / "hosts"), target="/etc/hosts"),
    )
    finished = await laboratory.sh(
        "cat /etc/hosts; echo; ls /sys /sys/firmware; stat -f -c %b /dev/shm", mounts=mounts
    )
    assert finished.lines == ["own", "/sys:", "firmware", "", "/sys/firmware:", "1"]
