"""The files of an archive by name, wherever they are: in a directory, a tar, or a compressed tar."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from runtime.image import tar
from runtime.image.compression import Readable, decompressed, detect
from runtime.image.manifest import InvalidImage
from runtime.image.unpack import normalise
from runtime.kernel.syscalls import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2

_ENTRIES_LIMIT = 100_000
_LINKS = 8


class Members(Protocol):
    """Names are relative, with slashes; all methods block."""

    def __enter__(self) -> Members: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def __contains__(self, name: str) -> bool: ...
    def open(self, name: str) -> Part:
        """Raises InvalidImage when there is no such file."""


class Part:
    """A piece of a file, read from its beginning."""

    def __init__(self, fd: int, offset: int, size: int, *, owned: bool = False) -> None:
        self._fd = fd
        self._offset = offset
        self.size = size
        self._position = 0
        self._owned = owned

    def read(self, size: int, /) -> bytes:
        data = os.pread(self._fd, min(size, self.size - self._position), self._offset + self._position)
        self._position += len(data)
        return data

    def read_all(self, limit: int, what: str) -> bytes:
        """Raises InvalidImage when it is larger than ``limit``."""
        if self.size > limit:
            raise InvalidImage(f"{what} is larger than {limit} bytes")
        self._position = 0
        parts = []
        while piece := self.read(1 << 20):
            parts.append(piece)
        return b"".join(parts)

    def rewind(self) -> None:
        self._position = 0

    def close(self) -> None:
        if self._owned:
            os.close(self._fd)
            self._owned = False


class DirectoryMembers:
    """The files below a directory; links that lead out of it are not followed."""

    def __init__(self, path: Path) -> None:
        self._root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> DirectoryMembers:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def __contains__(self, name: str) -> bool:
        try:
            self.open(name).close()
        except InvalidImage:
            return False
        return True

    def open(self, name: str) -> Part:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = openat2(self._root, os.fsencode(name), flags, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
        except (OSError, ValueError):
            raise InvalidImage(f"the archive has no {name[:200]}") from None
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            raise InvalidImage(f"{name[:200]} in the archive is not a file")
        return Part(fd, 0, info.st_size, owned=True)


class _Skipping:
    """A tar in a file: data is jumped over, not read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, _: int, /) -> bytes:
        return self._file.read(1 << 16)

    def skip(self, count: int) -> None:
        self._file.seek(count, os.SEEK_CUR)


class TarMembers:
    """The files of a tar, found by one walk over its headers. A compressed one is first decompressed beside
    ``scratch`` (a path that does not exist; deleted at once, the descriptor keeps it)."""

    def __init__(self, path: Path, scratch: Path, limit: int) -> None:
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed by __exit__
        self._files: dict[bytes, tuple[int, int]] = {}
        self._links: dict[bytes, bytes] = {}
        try:
            head = self._file.read(6)
            self._file.seek(0)
            if detect(head):
                plain = open(scratch, "x+b")  # noqa: SIM115 - becomes the file itself
                os.unlink(scratch)
                _copy(decompressed(self._file), plain, limit)
                self._file.close()
                self._file = plain
            self._index(self._file)
        except BaseException:
            self._file.close()
            raise

    def _index(self, file: BinaryIO) -> None:
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        if size < tar.BLOCK:
            what = "there is nothing in it" if not size else "it is no tar"
            raise InvalidImage(f"the archive cannot be read: {what}", status=400)
        reader = tar.TarReader(_Skipping(file))
        for number, entry in enumerate(reader):
            if number > _ENTRIES_LIMIT:
                raise InvalidImage("the archive has too many files to be an image")
            name = normalise(entry.name)
            if entry.type == tar.REGULAR and entry.sparse is None:
                if reader.offset + entry.size > size:
                    raise InvalidImage("the archive is truncated")
                self._files[name] = (reader.offset, entry.size)
            elif entry.type == tar.SYMBOLIC_LINK:
                self._links[name] = posixpath.join(posixpath.dirname(name), entry.link)
            elif entry.type == tar.HARD_LINK:
                self._links[name] = entry.link

    def __enter__(self) -> TarMembers:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _find(self, name: str) -> tuple[int, int] | None:
        key = normalise(os.fsencode(name))
        for _ in range(_LINKS):
            if key in self._files:
                return self._files[key]
            if key not in self._links:
                break
            key = normalise(self._links[key])
        return None

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def open(self, name: str) -> Part:
        found = self._find(name)
        if found is None:
            raise InvalidImage(f"the archive has no {name[:200]}")
        return Part(self._file.fileno(), *found)

    def names(self) -> Iterable[bytes]:
        return self._files.keys()


def _copy(source: Readable, target: BinaryIO, limit: int) -> None:
    total = 0
    while chunk := source.read(1 << 20):
        total += len(chunk)
        if total > limit:
            raise InvalidImage(f"the archive is larger than {limit} bytes")
        target.write(chunk)
    target.flush()
