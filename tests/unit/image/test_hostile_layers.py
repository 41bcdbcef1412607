"""Whatever a tar says, nothing happens outside of its directory, and it is refused in words."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.errors import ComposerError
from runtime.image.unpack import Limits, unpack
from runtime.storage.files import apparent_size

NAMES = st.sampled_from(
    ["a", "a/b", "a/b/c", "../x", "/etc", "a/../../x", ".", "", ".wh.a", "a/.wh.b", ".wh..wh..opq", "..", "b"]
)
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]
)
MEMBERS = st.lists(st.tuples(NAMES, KINDS, NAMES, st.integers(0, 0o7777)), max_size=12)


def build(members: list[tuple[str, bytes, str, int]]) -> bytes:
    parts = []
    for name, kind, link, mode in members:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = kind, link, mode
        info.size = 3 if kind == tarfile.REGTYPE else 0
        parts.append(info.tobuf(tarfile.PAX_FORMAT) + (b"abc" + bytes(509) if info.size else b""))
    return b"".join(parts) + bytes(1024)


def attempt(data: bytes) -> None:
    """Unpack beside a file that must not change; only errors for people may come."""
    with tempfile.TemporaryDirectory() as directory:
        outside, root = Path(directory, "x"), Path(directory, "root")
        outside.write_text("mine")
        root.mkdir()
        before = sorted(os.listdir(directory))
        try:
            result = unpack(io.BytesIO(data), root, limits=Limits(size=1 << 20, entries=100))
        except ComposerError as error:
            assert error.message.isprintable()
        else:
            assert result.size == apparent_size(root), "what fsck compares"
        assert outside.read_text() == "mine" and outside.stat().st_nlink == 1
        assert sorted(os.listdir(directory)) == before


@settings(max_examples=150, deadline=None)
@given(MEMBERS)
@example([("b", tarfile.REGTYPE, "", 0), ("a/b", tarfile.LNKTYPE, "b", 0), ("a", tarfile.REGTYPE, "", 0)])
@example([("b", tarfile.SYMTYPE, "x", 0), ("c", tarfile.LNKTYPE, "b", 0), ("b", tarfile.DIRTYPE, "", 0)])
def test_any_members(members: list[tuple[str, bytes, str, int]]) -> None:
    attempt(build(members))


@settings(max_examples=150, deadline=None)
@given(MEMBERS, st.lists(st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=12)), max_size=4))
def test_any_bytes(members: list[tuple[str, bytes, str, int]], edits: list[tuple[int, bytes]]) -> None:
    data = bytearray(build(members))
    for place, new in edits:
        place %= len(data)
        data[place : place + len(new)] = new
        header = place - place % 512
        block = data[header : header + 512]
        if len(block) == 512:  # a checksum that is right lets the rest be looked at
            block[148:156] = b" " * 8
            data[header + 148 : header + 156] = b"%06o\0 " % sum(block)
    attempt(bytes(data))
