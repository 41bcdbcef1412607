"""What comes of a layer's tar on the disk, and what a hostile one cannot do."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from runtime.image.manifest import InvalidImage
from runtime.image.unpack import Limits, Unpacked, unpack


def member(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", data: bytes = b"") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, len(data), 0o755
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def unpacked(target: Path, *members: bytes) -> Unpacked:
    target.mkdir(exist_ok=True)
    return unpack(io.BytesIO(b"".join(members) + bytes(1024)), target)


def test_files_and_links_count_but_not_twice(tmp_path: Path) -> None:
    result = unpacked(
        tmp_path,
        member("bin/", tarfile.DIRTYPE),
        member("bin/busybox", data=b"x" * 1000),
        member("bin/ls", tarfile.SYMTYPE, link="/bin/busybox"),
        member("bin/sh", tarfile.LNKTYPE, link="bin/busybox"),
    )
    assert result.size == 1000 + len("/bin/busybox")
    assert (tmp_path / "bin/sh").stat().st_nlink == 2


def test_directories_without_an_entry_are_told(tmp_path: Path) -> None:
    result = unpacked(tmp_path, member("usr/", tarfile.DIRTYPE), member("usr/lib/x/file", data=b"1"))
    assert result.implied == ("usr/lib", "usr/lib/x")


def test_a_link_leads_nowhere_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    unpacked(
        root,
        member("etc", tarfile.SYMTYPE, link=str(outside)),
        member(f"{outside}/".lstrip("/"), tarfile.DIRTYPE),
        member("etc/passwd", data=b"mine"),
    )
    assert list(outside.iterdir()) == []
    assert (root / str(outside).lstrip("/") / "passwd").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "entry",
    [
        member("../evil", data=b"1"),
        member("a/../../evil", data=b"1"),
        member("evil", tarfile.LNKTYPE, link="../../etc/passwd"),
        member("evil", tarfile.LNKTYPE, link="nowhere"),
        member(".wh..", data=b""),
        member("evil", b"Z"),
    ],
)
def test_what_is_refused(tmp_path: Path, entry: bytes) -> None:
    with pytest.raises(InvalidImage):
        unpacked(tmp_path / "root", entry)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(size=5000), "larger than the limit of 5000 bytes"),
        (Limits(entries=2), "more than the limit of 2 entries"),
    ],
)
def test_limits_are_kept_and_told(tmp_path: Path, limits: Limits, words: str) -> None:
    data = b"".join(member(f"file{n}", data=b"x" * 1000) for n in range(3)) + bytes(1024)
    with pytest.raises(InvalidImage, match=words) as caught:
        unpack(io.BytesIO(data), tmp_path, limits=limits)
    assert "engine.json" in caught.value.hint
    for path in tmp_path.iterdir():
        path.unlink()
    unpack(io.BytesIO(data), tmp_path, limits=Limits(size=len(data), entries=3))


def test_a_ratio_is_a_limit_of_size() -> None:
    limits = Limits(size=1 << 40, ratio=1000)
    assert limits.of_blob(10 << 20).size == 10_000 << 20
    assert limits.of_blob(1).size == 64 << 20
    assert Limits(size=5).of_blob(10).size == 5


def test_it_stops_in_the_middle_of_a_file(tmp_path: Path) -> None:
    data = member("big", data=bytes(8 << 20)) + bytes(1024)
    asked = iter([False, False, True])
    with pytest.raises(InterruptedError):
        unpack(io.BytesIO(data), tmp_path, cancelled=lambda: next(asked))
    assert 0 < (tmp_path / "big").stat().st_size < 8 << 20
