"""A layer's tar, written as it is made: headers packed at once, digest and size known at the end (POSIX pax(1), "ustar
Interchange Format"; OCI image-spec, layer.md)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import IO

_BLOCK = 512
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_OCTAL_LIMIT = 0o7777777
_SIZE_LIMIT = 0o77777777777
_FLUSH = 1 << 20
REGULAR, HARD_LINK, SYMBOLIC_LINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO = (
    b"0", b"1", b"2", b"3", b"4", b"5", b"6",
)  # fmt: skip


class TarWriter:
    """Writes to ``target`` and digests what it writes."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._total = hashlib.sha256(usedforsecurity=False)
        self._buffer = bytearray()
        self.size = 0

    def add(
        self,
        name: bytes,
        kind: bytes,
        *,
        mode: int = 0,
        uid: int = 0,
        gid: int = 0,
        mtime: int = 0,
        size: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        attributes: Mapping[str, bytes] | None = None,
    ) -> None:
        """A header. The ``size`` bytes that belong to it follow by :meth:`data` and :meth:`pad`. ``mtime``: s."""
        if kind == DIRECTORY and not name.endswith(b"/"):
            name += b"/"
        records: list[tuple[bytes, bytes]] = []
        prefix = b""
        if len(name) > 100 or not name.isascii():
            cut = name.rfind(b"/", 0, min(155, len(name) - 1) + 1)
            if name.isascii() and 0 < cut <= 155 and 0 < len(name) - cut - 1 <= 100:
                prefix, name = name[:cut], name[cut + 1 :]
            else:
                records.append((b"path", name))
        if len(link) > 100 or not link.isascii():
            records.append((b"linkpath", link))
        for key, number, limit in (
            (b"uid", uid, _OCTAL_LIMIT),
            (b"gid", gid, _OCTAL_LIMIT),
            (b"size", size, _SIZE_LIMIT),
            (b"mtime", mtime, _SIZE_LIMIT),
        ):
            if not 0 <= number <= limit:
                records.append((key, b"%d" % number))
        for attribute, value in sorted((attributes or {}).items()):
            records.append((b"SCHILY.xattr." + attribute.encode("utf-8", "surrogateescape"), value))
        if records:
            body = b"".join(_record(key, value) for key, value in records)
            self._write(
                _packed(b"PaxHeaders/" + name[:80], b"x", 0o644, 0, 0, len(body), 0, b"", b"", (0, 0))
            )
            self._write(body + bytes(-len(body) % _BLOCK))
        self._write(_packed(name[:100], kind, mode, uid, gid, size, mtime, link[:100], prefix, device))

    def data(self, piece: bytes | memoryview) -> None:
        """Some of a file's content."""
        self._write(piece)

    def pad(self, size: int) -> None:
        """After the content of a file of ``size`` bytes."""
        if rest := -size % _BLOCK:
            self._write(bytes(rest))

    def finish(self) -> str:
        """The end of the tar; its digest (hexadecimal)."""
        self._write(bytes(2 * _BLOCK))
        self._flush()
        return self._total.hexdigest()

    def _write(self, piece: bytes | memoryview) -> None:
        self.size += len(piece)
        self._buffer += piece
        if len(self._buffer) >= _FLUSH:
            self._flush()

    def _flush(self) -> None:
        self._total.update(self._buffer)
        self._target.write(self._buffer)
        self._buffer = bytearray()


def _record(key: bytes, value: bytes) -> bytes:
    """``LENGTH KEY=VALUE\\n``, the length being its own, too."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _packed(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes,
    prefix: bytes,
    device: tuple[int, int],
) -> bytes:
    has_device = kind in (CHARACTER_DEVICE, BLOCK_DEVICE)
    header = _HEADER.pack(
        name,
        b"%07o\0" % (mode & 0o7777),
        b"%07o\0" % (uid if 0 <= uid <= _OCTAL_LIMIT else 0),
        b"%07o\0" % (gid if 0 <= gid <= _OCTAL_LIMIT else 0),
        b"%011o\0" % (size if size <= _SIZE_LIMIT else 0),
        b"%011o\0" % (mtime if 0 <= mtime <= _SIZE_LIMIT else 0),
        b"        ",
        kind,
        link,
        b"ustar\0",
        b"00",
        b"",
        b"",
        b"%07o\0" % device[0] if has_device else b"",
        b"%07o\0" % device[1] if has_device else b"",
        prefix,
    )
    return b"%b%06o\0 %b" % (header[:148], sum(header), header[156:])
