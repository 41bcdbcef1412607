"""Streams of layers: decompression by what the bytes are (never by what a name or media type claims), and
hashing."""

from __future__ import annotations

import bz2
import contextlib
import hashlib
import io
import lzma
import queue
import threading
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, Protocol, cast

from isal import igzip, isal_zlib

from runtime.image.manifest import InvalidImage, OverLimit

try:
    import zstandard
except ImportError:  # Python 3.14 has it in the standard library (PEP 784)
    zstandard = None  # type: ignore[assignment]

Compression = Literal["", "gzip", "zstd", "xz", "bzip2"]
_CHUNK = 1 << 20
_ISAL_ERROR: Any = isal_zlib.IsalError
_ZSTD_WINDOW = 1 << 27
"""128 MiB: what the zstd tool accepts by default; a frame that asks for more memory is refused."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def detect(head: bytes) -> Compression:
    """What a stream is that begins with ``head`` (at least 6 bytes of it)."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd") or (
        head[:1] and 0x50 <= head[0] <= 0x5F and head[1:4] == b"\x2a\x4d\x18"
    ):
        return "zstd"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if head.startswith(b"BZh"):
        return "bzip2"
    return ""


class _Prefixed(io.RawIOBase):
    """A stream with bytes put back before it."""

    def __init__(self, head: bytes, rest: Readable) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._head:
            if size < 0:
                data, self._head = self._head, b""
                return data + self._rest.read(-1)
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._rest.read(size)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def decompressed(source: Readable) -> Readable:
    """A stream of what is in ``source``, whatever it is compressed with; concatenated members are one stream.

    Reading raises InvalidImage when the compressed data is damaged.
    """
    head = b""
    while len(head) < 6:
        piece = source.read(6 - len(head))
        if not piece:
            break
        head += piece
    whole = cast("BinaryIO", _Prefixed(head, source))
    kind = detect(head)
    if kind == "gzip":
        open_gzip: Any = igzip.IGzipFile
        return _Guarded(open_gzip(fileobj=whole, mode="rb"))
    if kind == "zstd":
        return _Guarded(_zstd(whole))
    if kind == "xz":
        return _Guarded(lzma.LZMAFile(whole, "rb"))
    if kind == "bzip2":
        return _Guarded(bz2.BZ2File(whole, "rb"))
    return whole


def _zstd(source: BinaryIO) -> Readable:
    if zstandard is None:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]

        return cast("Readable", zstd.ZstdFile(source, "rb"))
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    return cast("Readable", decompressor.stream_reader(source, read_size=_CHUNK, read_across_frames=True))


class _Guarded:
    """Turns what decompressors raise about their input into InvalidImage."""

    def __init__(self, inner: Readable) -> None:
        self._inner = inner

    def read(self, size: int, /) -> bytes:
        try:
            return self._inner.read(size)
        except (EOFError, zlib.error, _ISAL_ERROR, lzma.LZMAError, igzip.BadGzipFile) as error:
            raise InvalidImage(f"the compressed data is damaged: {error}") from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise InvalidImage(f"the compressed data is damaged: {error}") from None
        except Exception as error:
            if type(error).__name__ in ("ZstdError", "error"):
                raise InvalidImage(f"the compressed data is damaged: {error}") from None
            raise


class Compressing:
    """The gzip form of a stream: without a name or time, so that the same content has the same digest."""

    def __init__(self, source: Readable, level: int | None = None) -> None:
        self._source = source
        if level is None:
            self._deflate: Any = isal_zlib.compressobj(2, isal_zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        else:
            self._deflate = zlib.compressobj(min(level, 9), zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self._is_ended = False

    def read(self, _: int, /) -> bytes:
        """The next piece of whatever size, b"" at the end.

        What is compressed at once always has the same length, whatever pieces the source gives: isal's result
        depends on it.
        """
        while not self._is_ended:
            chunk = self._chunk()
            if chunk:
                data: bytes = self._deflate.compress(chunk)
            else:
                data, self._is_ended = self._deflate.flush(), True
            if data:
                return data
        return b""

    def _chunk(self) -> bytes:
        """As long as all others, but the last."""
        pieces, missing = [], _CHUNK
        while missing and (piece := self._source.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)


class HashingStream:
    """Reads, decompresses and hashes in a thread of its own, a few MiB ahead of the consumer.

    ``read`` returns pieces of any size. After the last, ``digest`` is the sha256 of all that was read and
    ``count`` its length. More than ``limit`` bytes raise InvalidImage. Use as a context manager, so that the
    thread ends.
    """

    def __init__(self, source: Readable, limit: int, on_read: Callable[[int], None] | None = None) -> None:
        self._source = source
        self._limit = limit
        self._on_read = on_read
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(maxsize=8)
        self._stop = threading.Event()
        self._ended = False
        self.count = 0
        self.digest = ""
        self._thread = threading.Thread(target=self._pump, name="layer-stream", daemon=True)

    def __enter__(self) -> HashingStream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                while True:
                    self._queue.get_nowait()
            self._thread.join(0.05)

    def _pump(self) -> None:
        hasher = hashlib.sha256(usedforsecurity=False)
        total = 0
        try:
            stream = decompressed(self._source)
            while not self._stop.is_set():
                chunk = stream.read(_CHUNK)
                if not chunk:
                    break
                total += len(chunk)
                if total > self._limit:
                    raise OverLimit(f"the layer is larger than the limit of {self._limit} bytes")
                hasher.update(chunk)
                self._queue.put(chunk)
                if self._on_read is not None:
                    self._on_read(total)
            self.count = total
            self.digest = "sha256:" + hasher.hexdigest()
            self._queue.put(b"")
        except BaseException as error:
            self._queue.put(error)

    def read(self, size: int, /) -> bytes:
        """The next piece (``size`` is not kept to), b"" at the end."""
        if self._ended:
            return b""
        item = self._queue.get()
        if isinstance(item, BaseException):
            self._ended = True
            raise item
        if not item:
            self._ended = True
        return item

    def drain(self) -> None:
        """Read to the end, so that ``digest`` covers everything."""
        while self.read(_CHUNK):
            pass
