"""The rules of unpacking a stranger's layer, one weakness of other engines each; what has to be refused is refused.

As root files get owners, devices are made and trusted attributes could be set; without root the same rules hold.
"""

from __future__ import annotations

import io
import os
import resource
import stat
import struct
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ComposerError
from runtime.image.manifest import InvalidImage
from runtime.image.unpack import Limits, Unpacked, keeps_xattr, unpack
from runtime.storage.removal import remove_tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: devices and trusted attributes")


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any) -> bytes:
    """One entry; ``pax`` gives extended records, ``link``, ``mode``, ``uid`` ... as in TarInfo."""
    info = tarfile.TarInfo(name)
    pax = fields.pop("pax", {})
    info.type, info.size, info.linkname = kind, len(data), fields.pop("link", "")
    info.mode = fields.pop("mode", 0o755 if kind == tarfile.DIRTYPE else 0o644)
    for field, value in fields.items():
        setattr(info, field, value)
    info.pax_headers = pax
    header = info.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)
    return header + data + bytes(-len(data) % 512)


def directory(name: str, **fields: Any) -> bytes:
    return member(name, tarfile.DIRTYPE, **fields)


def link(name: str, target: str) -> bytes:
    return member(name, tarfile.SYMTYPE, link=target)


def hard_link(name: str, target: str) -> bytes:
    return member(name, tarfile.LNKTYPE, link=target)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Where to unpack; what is beside it must be as it was."""
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("of the host")
    os.chmod(tmp_path / "secret", 0o640)
    yield tmp_path / "root"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "secret"]
    assert (tmp_path / "secret").read_text() == "of the host"
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o640
    assert (tmp_path / "secret").stat().st_nlink == 1
    remove_tree(tmp_path / "root")  # pytest's own removal would not come to the end of deep ones


def unpacked(root: Path, *members: bytes, **options: Any) -> Unpacked:
    return unpack(io.BytesIO(b"".join(members) + bytes(1024)), root, **options)


@pytest.mark.parametrize(
    "members",
    [
        (member("../secret", data=b"x"),),
        (member("/../../secret", data=b"x"),),
        (member("a/../../secret", data=b"x"),),
        (directory("a"), member("a/./../../secret", data=b"x")),
        (member("x", pax={"path": "../secret"}, data=b"x"),),
        (hard_link("x", "../secret"),),
        (hard_link("x", "/../secret"),),
        (member("x", tarfile.LNKTYPE, link="y", pax={"linkpath": "../../secret"}),),
        (member("x" * 90, data=b"x", pax={"path": "../" * 2000 + "x"}),),
    ],
    ids=(
        "up",
        "absolute-up",
        "down-and-up",
        "dots",
        "pax-path",
        "hard-link",
        "hard-link-root",
        "pax-linkpath",
        "long",
    ),
)
def test_names_that_lead_out(root: Path, members: tuple[bytes, ...]) -> None:
    """CVE-2014-9356, CVE-2017-14992's kin: refused, not cut to size."""
    with pytest.raises(InvalidImage):
        unpacked(root, *members)


@pytest.mark.parametrize(
    "text", ["..", "../..", "/", "../secret", "/proc/self/root", "../../../../../../../../tmp"]
)
def test_a_link_as_a_parent(root: Path, text: str) -> None:
    """CVE-2014-6407: a link, then a file through it. It lands inside, where the link leads in the container."""
    try:
        unpacked(root, link("leads", text), member("leads/written", data=b"x"))
    except InvalidImage:
        return  # the link leads to a file, or nowhere
    (found,) = root.rglob("written")
    assert found.read_bytes() == b"x"


def test_a_link_is_not_written_through(root: Path) -> None:
    unpacked(root, link("x", "../secret"), member("x", data=b"new"))
    assert (root / "x").read_bytes() == b"new"
    assert not (root / "x").is_symlink()


def test_a_link_is_not_changed_through(root: Path) -> None:
    """Mode, owner and times of what a link or a hard link to a link leads to stay."""
    before = (root.parent / "secret").stat()
    unpacked(root, link("x", "../secret"), hard_link("y", "x"), member("y", data=b"", mode=0o777))
    after = (root.parent / "secret").stat()
    assert (before.st_mode, before.st_uid, before.st_mtime_ns) == (
        after.st_mode,
        after.st_uid,
        after.st_mtime_ns,
    )


def test_a_directory_that_becomes_a_link(root: Path) -> None:
    """What was opened as a directory before is not used when its name means something else."""
    unpacked(root, directory("d"), member("d/one", data=b"1"), link("d", ".."), member("d/two", data=b"2"))
    assert (root / "two").read_bytes() == b"2"


def test_whiteouts_stay_inside(root: Path) -> None:
    for name in (".wh...", ".wh..", "a/.wh...", "a/.wh."):
        with pytest.raises(InvalidImage):
            unpacked(root, member(name))
    unpacked(root, link("leads", ".."), member("leads/.wh.secret"))


@needs_root
def test_nothing_steers_overlayfs(root: Path) -> None:
    """Attributes of overlayfs, and devices 0:0, which it takes for whiteouts, come from the engine alone."""
    pax = {
        f"SCHILY.xattr.{name}": "y"
        for name in (
            "trusted.overlay.opaque",
            "trusted.overlay.redirect",
            "user.overlay.opaque",
            "trusted.x",
            "user.mine",
        )
    }
    unpacked(root, directory("d", pax=pax), member("null", tarfile.CHRTYPE, devmajor=0, devminor=0))
    assert os.listxattr(root / "d") == ["user.mine"]
    assert not (root / "null").exists()


def test_attributes_that_are_kept() -> None:
    kept = {b"user.x", b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"}
    dropped = {
        b"user.overlay.opaque", b"trusted.overlay.whiteout", b"trusted.any", b"security.selinux", b"security.ima",
        b"security.apparmor", b"system.nfs4_acl", b"",
    }  # fmt: skip
    assert {name for name in kept | dropped if keeps_xattr(name)} == kept


@needs_root
def test_devices_and_pipes_are_made_not_opened(root: Path) -> None:
    unpacked(
        root,
        member("pipe", tarfile.FIFOTYPE),
        member("disk", tarfile.BLKTYPE, devmajor=8, devminor=0),
        member("pipe", data=b"a file in its place"),
        member("disk", data=b"too"),
    )
    assert (root / "pipe").read_bytes() == b"a file in its place"
    assert (root / "disk").read_bytes() == b"too"


@pytest.mark.parametrize(
    "broken",
    [
        member("x", data=b"12345")[:-600],
        member("x", pax={"size": "99999999999999999999"}),
        member("x", pax={"size": "-5"}),
        member("x", pax={"uid": "-1"}),
        member("x", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "x"}),
        member("x", kind=b"Z"),
        member("x", kind=tarfile.GNUTYPE_LONGNAME, data=b"a" * (1 << 17)),
        member("x\0y", data=b"1").replace(b"x\0y", b"x\0y", 1)[:148] + b"9999999\0" + bytes(356),
        b"not a tar at all" * 64,
    ],
    ids=("cut", "size", "negative", "owner", "sparse", "type", "long-name", "checksum", "noise"),
)
def test_headers_that_are_none(root: Path, broken: bytes) -> None:
    with pytest.raises(InvalidImage):
        unpacked(root, broken)


def test_extended_headers_are_bounded(root: Path) -> None:
    """A header may claim gigabytes: nothing is read beyond the limit, or kept."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 4 << 30

    class Endless(io.RawIOBase):
        def __init__(self) -> None:
            self.begin = header.tobuf(tarfile.GNU_FORMAT)
            self.given = 0

        def read(self, size: int = -1, /) -> bytes:
            part = self.begin or bytes(min(size, 1 << 20))
            self.begin = b""
            self.given += len(part)
            assert self.given < 64 << 20
            return part

    tracemalloc.start()
    try:
        with pytest.raises(InvalidImage):
            unpack(Endless(), root)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_layer_is_bounded(root: Path) -> None:
    with pytest.raises(ComposerError):
        unpacked(root, member("big", data=bytes(1 << 20)), limits=Limits(size=1 << 19))
    with pytest.raises(InvalidImage, match="limit of 3 entries"):
        unpacked(root, *(member(f"f{n}") for n in range(4)), limits=Limits(entries=3))


def test_a_sparse_file_takes_no_room(root: Path) -> None:
    """GNU sparse 1.0: a map of one byte in a terabyte."""
    table = b"1\n0\n1\n".ljust(512, b"\0")
    data = table + b"x"
    pax = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "hole",
        "GNU.sparse.realsize": str(1 << 40),
    }
    try:
        unpacked(root, member("hole", data=data, pax=pax))
    except ComposerError:
        return  # a file system that has no such files, or a limit
    state = (root / "hole").stat()
    assert (state.st_size, state.st_blocks * 512 < 1 << 20) == (1 << 40, True)


def test_depth_and_descriptors_are_bounded(root: Path) -> None:
    """A path of a thousand directories, and a thousand directories side by side: never more open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    try:
        unpacked(
            root, member("/".join("d" * 1000) + "/x", data=b"1"), *(directory(f"e{n}/f") for n in range(1000))
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_special_bits_and_large_times(root: Path) -> None:
    """They are an image's right; what no file system holds is cut, what is no time refused."""
    unpacked(root, member("s", data=b"x", mode=0o6755), member("t", data=b"x", pax={"mtime": "99999999999"}))
    assert stat.S_IMODE((root / "s").stat().st_mode) == 0o6755
    with pytest.raises(InvalidImage, match="is not a time"):
        unpacked(root, member("u", pax={"mtime": "9" * 30}))


@needs_root
def test_file_capabilities_are_set(root: Path) -> None:
    value = struct.pack("<5I", 0x02000000, 1 << 10, 0, 0, 0)
    pax = {"SCHILY.xattr.security.capability": value.decode("utf-8", "surrogateescape")}
    unpacked(root, member("tool", data=b"x", mode=0o755, pax=pax))
    assert os.getxattr(root / "tool", "security.capability")[4:8] == value[4:8]
