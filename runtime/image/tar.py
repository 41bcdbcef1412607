"""The tar format, read from a stream: ustar, pax and GNU headers to checked values (POSIX pax, tar(5)).

Only headers are understood here; what an entry may do to a file system is decided in
``runtime.image.unpack``. Everything that a header can make large is bounded.
"""

from __future__ import annotations

import base64
import functools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from runtime.image.manifest import InvalidImage

BLOCK = 512
PAX_LIMIT = 1 << 20
LONG_NAME_LIMIT = 1 << 16
SPARSE_LIMIT = 100_000
_ZERO = bytes(BLOCK)
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s66x8s8s155s12x")
"""Name, mode, uid, gid, size, mtime, checksum, type, link, magic, major, minor, prefix."""
_BLANKS = 8 * 0x20
_NO_HEADER = "the archive is not valid: a header with a wrong checksum (no tar at all, or a damaged one)"

REGULAR = b"0"
HARD_LINK = b"1"
SYMBOLIC_LINK = b"2"
CHARACTER_DEVICE = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"
_HEADER_ONLY = frozenset((HARD_LINK, SYMBOLIC_LINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO))
_PAX_XATTR = b"SCHILY.xattr."
_LIBARCHIVE_XATTR = b"LIBARCHIVE.xattr."


class Source(Protocol):
    """What a tar is read from."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, b"" at the end. A source may also have ``skip(count)``, as cheap as a
        seek."""


@dataclass(slots=True)
class Entry:
    """One member. Names and link targets are bytes as they stand in the archive; times are nanoseconds."""

    name: bytes
    type: bytes
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    """Bytes of data in the archive; the file is ``real_size`` long, with ``sparse`` telling where they go."""
    link: bytes
    major: int
    minor: int
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    sparse: list[tuple[int, int]] | None = None
    real_size: int = 0


class TarReader:
    """Entries one after the other; :meth:`data` gives the bytes of the one returned last.

    Raises InvalidImage for anything that is not a well-formed archive.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer = b""
        self._position = 0
        self._left = 0
        self._padding = 0
        self._taken = 0

    @property
    def offset(self) -> int:
        """Where in the stream the reader is: after a header, where the entry's data begins."""
        return self._taken - len(self._buffer) + self._position

    def _more(self) -> bytes:
        chunk = self._source.read(1 << 20)
        self._taken += len(chunk)
        return chunk

    def _exactly(self, count: int) -> bytes:
        end = self._position + count
        if end <= len(self._buffer):
            data = self._buffer[self._position : end]
            self._position = end
            return data
        parts = [self._buffer[self._position :]]
        missing = count - len(parts[0])
        self._buffer, self._position = b"", 0
        while missing > 0:
            chunk = self._more()
            if not chunk:
                raise InvalidImage("the archive is truncated")
            if len(chunk) > missing:
                self._buffer, self._position = chunk, missing
                chunk = chunk[:missing]
            parts.append(chunk)
            missing -= len(chunk)
        return b"".join(parts)

    def _skip(self, count: int) -> None:
        jump = getattr(self._source, "skip", None)
        buffered = len(self._buffer) - self._position
        if jump is not None and count > buffered:
            self._buffer, self._position = b"", 0
            self._taken += count - buffered
            jump(count - buffered)
            return
        while count > 0:
            step = min(count, 1 << 20)
            self._exactly(step)
            count -= step

    def data(self) -> Iterator[bytes | memoryview]:
        """The data of the current entry in pieces; once."""
        while self._left:
            available = len(self._buffer) - self._position
            if available == 0:
                self._buffer, self._position = self._more(), 0
                if not self._buffer:
                    raise InvalidImage("the archive is truncated")
                continue
            count = min(available, self._left)
            piece = memoryview(self._buffer)[self._position : self._position + count]
            self._position += count
            self._left -= count
            yield piece

    def _take(self, limit: int, what: str) -> bytes:
        if self._left > limit:
            raise InvalidImage(f"the archive is not valid: {what} of {self._left} bytes")
        data = self._exactly(self._left)
        self._left = 0
        return data

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    def next(self) -> Entry | None:
        """The next entry, or None at the end (two blocks of zeros, or the end of the stream at a
        boundary)."""
        pax: dict[bytes, bytes] = {}
        sparse_pairs: list[bytes] = []
        long_name: bytes | None = None
        long_link: bytes | None = None
        extensions = 0
        while True:
            block = self._header()
            if block is None:
                if extensions:
                    raise InvalidImage("the archive is not valid: an extended header without a file")
                return None
            entry = _parse_header(block)
            self._left = entry.size
            self._padding = -entry.size % BLOCK
            if entry.type in b"xgLKVMND" and entry.type:
                extensions += 1
                if extensions > 64:
                    raise InvalidImage("the archive is not valid: too many extended headers")
            match entry.type:
                case b"x":
                    pax, sparse_pairs = _parse_pax(self._take(PAX_LIMIT, "an extended header"))
                case b"L":
                    long_name = self._take(LONG_NAME_LIMIT, "a name").rstrip(b"\0")
                case b"K":
                    long_link = self._take(LONG_NAME_LIMIT, "a link").rstrip(b"\0")
                case b"g" | b"V" | b"M" | b"N" | b"D":
                    # Global headers are not applied: one entry must not change what later ones mean.
                    continue
                case _:
                    break
        if long_name is not None:
            entry.name = long_name
        if long_link is not None:
            entry.link = long_link
        old_sparse = entry.type == b"S"
        if pax:
            _apply_pax(entry, pax)
            self._left = entry.size
            self._padding = -entry.size % BLOCK
        if entry.type in (b"\0", b"7", b"S"):
            entry.type = REGULAR
        if entry.type == REGULAR and entry.name.endswith(b"/") and not entry.size:
            entry.type = DIRECTORY
        if entry.type in _HEADER_ONLY:
            entry.size = self._left = self._padding = 0
        entry.real_size = entry.size
        if old_sparse:
            self._old_sparse(entry, block)
        elif pax:
            self._pax_sparse(entry, pax, sparse_pairs)
        return entry

    def _header(self) -> bytes | None:
        self._skip(self._left + self._padding)
        self._left = self._padding = 0
        if self._position >= len(self._buffer):
            self._buffer, self._position = self._more(), 0
            if not self._buffer:
                return None
        block = self._exactly(BLOCK)
        if block == _ZERO:
            # A single block of zeros ends it as well, as for GNU tar; whatever follows is not part of the
            # archive.
            return None
        return block

    def _old_sparse(self, entry: Entry, block: bytes) -> None:
        pairs = _sparse_numbers(block[386:482])
        extended = block[482] not in (0, 0x30)
        entry.real_size = _number(block[483:495])
        while extended:
            more = self._exactly(BLOCK)
            pairs += _sparse_numbers(more[:504])
            if len(pairs) > SPARSE_LIMIT:
                raise InvalidImage("the archive is not valid: too many holes in one file")
            extended = more[504] not in (0, 0x30)
        entry.sparse = _checked_sparse(pairs, entry.size, entry.real_size)

    def _pax_sparse(self, entry: Entry, pax: dict[bytes, bytes], listed: list[bytes]) -> None:
        major, minor = pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor")
        size = pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size")
        if size is None:
            return
        entry.real_size = _decimal(size)
        entry.name = pax.get(b"GNU.sparse.name", entry.name)
        if (major, minor) == (b"1", b"0"):
            numbers = self._sparse_map(entry)
        elif b"GNU.sparse.map" in pax:
            numbers = [_decimal(item) for item in pax[b"GNU.sparse.map"].split(b",") if item]
        else:
            numbers = [_decimal(item) for item in listed]
        if len(numbers) % 2 or len(numbers) > 2 * SPARSE_LIMIT:
            raise InvalidImage("the archive is not valid: a sparse file with a bad map")
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        entry.sparse = _checked_sparse(pairs, self._left, entry.real_size)
        entry.size = self._left

    def _sparse_map(self, entry: Entry) -> list[int]:
        """Format 1.0: the map is decimal lines at the start of the data, padded to a block."""
        text = b""
        wanted = -1
        while True:
            if self._left < BLOCK or len(text) > PAX_LIMIT:
                raise InvalidImage("the archive is not valid: a sparse file with a bad map")
            text += self._exactly(BLOCK)
            self._left -= BLOCK
            lines = text.split(b"\n")
            if wanted < 0 and len(lines) > 1:
                wanted = _decimal(lines[0])
                if wanted > SPARSE_LIMIT:
                    raise InvalidImage("the archive is not valid: too many holes in one file")
            if wanted >= 0 and len(lines) > 2 * wanted + 1:
                return [_decimal(line) for line in lines[1 : 2 * wanted + 1]]


def _parse_header(block: bytes) -> Entry:
    name, mode, uid, gid, size, mtime, checksum, kind, link, magic, major, minor, prefix = _HEADER.unpack(
        block
    )
    _check_sum(block, checksum)
    name = name.partition(b"\0")[0]
    if magic == b"ustar\0" and (prefix := prefix.partition(b"\0")[0]):
        name = prefix + b"/" + name
    is_device = kind in (CHARACTER_DEVICE, BLOCK_DEVICE)
    return Entry(
        name=name,
        type=kind,
        mode=_number(mode) & 0o7777,
        uid=_number(uid),
        gid=_number(gid),
        mtime=_number(mtime, signed=True) * 1_000_000_000,
        size=_number(size),
        link=link.partition(b"\0")[0],
        major=_number(major) if is_device else 0,
        minor=_number(minor) if is_device else 0,
    )


def _check_sum(block: bytes, checksum: bytes) -> None:
    """Raises InvalidImage unless the bytes of a header, its checksum taken for blanks, add up to that; some old
    programs took bytes for signed ones."""
    try:
        wanted = _number(checksum)
    except InvalidImage:
        raise InvalidImage(_NO_HEADER) from None
    # The low half of Adler-32 is the sum itself while that is small, and takes a fiftieth of the time.
    plain = (zlib.adler32(block, 0) & 0xFFFF) - (zlib.adler32(block[148:156], 0) & 0xFFFF) + _BLANKS
    if plain == wanted:
        return
    plain = sum(block) - sum(block[148:156]) + _BLANKS
    signed = plain - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
    if wanted not in (plain, signed):
        raise InvalidImage(_NO_HEADER)


@functools.lru_cache(maxsize=4096)
def _number(raw: bytes, signed: bool = False) -> int:
    """An octal number, or GNU's base-256 (first bit set; two's complement)."""
    if raw[0] & 0x80:
        value = int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big")
        if raw[0] & 0x40:
            value -= 1 << (8 * len(raw) - 1)
        if value < 0 and not signed:
            raise InvalidImage("the archive is not valid: a negative number in a header")
        return value
    text = raw.partition(b"\0")[0].strip(b" ")
    if not text:
        return 0
    try:
        return int(text, 8)
    except ValueError:
        raise InvalidImage(f"the archive is not valid: {text!r} in a header is not a number") from None


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise InvalidImage(f"the archive is not valid: {text[:40]!r} is not a number")
    return int(text)


def _parse_pax(data: bytes) -> tuple[dict[bytes, bytes], list[bytes]]:
    """Records ``"%d %s=%s\\n"``; the repeated pairs of GNU's sparse format 0.0 come as a list of their
    own."""
    records: dict[bytes, bytes] = {}
    pairs: list[bytes] = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        length = data[position:space]
        if space < 0 or not length.isdigit():
            if not data[position:].strip(b"\0"):
                break
            raise InvalidImage("the archive is not valid: a malformed extended header")
        end = position + int(length)
        record = data[space + 1 : end]
        key, equals, value = record.partition(b"=")
        if end <= space or end > len(data) or not equals or not value.endswith(b"\n") or not key:
            raise InvalidImage("the archive is not valid: a malformed extended header")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            pairs.append(value[:-1])
        else:
            records[key] = value[:-1]
        position = end
    return records, pairs


def _apply_pax(entry: Entry, pax: dict[bytes, bytes]) -> None:
    for key, value in pax.items():
        match key:
            case b"path":
                if value:
                    entry.name = value
            case b"linkpath":
                if value:
                    entry.link = value
            case b"size":
                entry.size = _decimal(value)
            case b"uid":
                entry.uid = _decimal(value)
            case b"gid":
                entry.gid = _decimal(value)
            case b"mtime":
                entry.mtime = _pax_time(value)
            case _ if key.startswith(_PAX_XATTR):
                entry.xattrs[key[len(_PAX_XATTR) :]] = value
            case _ if key.startswith(_LIBARCHIVE_XATTR):
                try:
                    decoded = base64.b64decode(value + b"=" * (-len(value) % 4))
                except ValueError:
                    continue
                entry.xattrs.setdefault(key[len(_LIBARCHIVE_XATTR) :], decoded)


def _pax_time(value: bytes) -> int:
    seconds, _, fraction = value.partition(b".")
    sign = -1 if seconds.startswith(b"-") else 1
    digits = seconds.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 19 or (fraction and not fraction.isdigit()):
        raise InvalidImage(f"the archive is not valid: {value[:40]!r} is not a time")
    return sign * (int(digits) * 1_000_000_000 + int((fraction[:9] or b"0").ljust(9, b"0")))


def _sparse_numbers(raw: bytes) -> list[tuple[int, int]]:
    pairs = []
    for start in range(0, len(raw) - 23, 24):
        offset, length = raw[start : start + 12], raw[start + 12 : start + 24]
        if not offset.strip(b"\0 ") and not length.strip(b"\0 "):
            break
        pairs.append((_number(offset), _number(length)))
    return pairs


def _checked_sparse(pairs: list[tuple[int, int]], stored: int, size: int) -> list[tuple[int, int]]:
    """Pieces must be in order, apart, inside the file, and as long as what is stored."""
    end = 0
    for offset, length in pairs:
        if offset < end or offset + length > size:
            raise InvalidImage("the archive is not valid: a sparse file with a bad map")
        end = offset + length
    if sum(length for _, length in pairs) != stored:
        raise InvalidImage("the archive is not valid: a sparse file with a bad map")
    return [(offset, length) for offset, length in pairs if length]
