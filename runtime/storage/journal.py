"""What is in the database, once more, in the runtime directory: when the database's file is damaged or gone, what runs
is still known. One file that is added to and now and then written anew; lasts until the machine is started again.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

Documents = dict[tuple[str, str], bytes]

_ENTRY = struct.Struct("=IIII")
"""Checksum of what follows, lengths of kind, key and body."""
_DELETED = 0xFFFFFFFF
"""In place of a body's length."""
_SLACK = 8 << 20
"""Bytes that are added before the file is written anew."""


def _head() -> bytes:
    """It is worth nothing after a reboot: nobody has waited for it to be on the disk."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    return b"composer journal 1 " + boot + b"\n"


class Journal:
    """Never raises: without room for it there is none, and the database is as good as ever."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._room = 0

    def begin(self, documents: Iterable[tuple[str, str, bytes]]) -> None:
        """Write it anew."""
        self.close()
        unfinished = f"{self._path}.new"
        try:
            fd = os.open(
                unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
        except OSError:
            self._give_up()
            return
        self._fd, self._room = fd, _SLACK
        try:
            self._add(_head() + encoded(documents))
            os.rename(unfinished, self._path)
        except OSError:
            self._give_up()

    def note(self, kind: str, key: str, body: bytes | None) -> None:
        """A document is written, or (None) deleted."""
        if self._fd < 0:
            return
        try:
            self._room -= self._add(_encoded(kind, key, body))
        except OSError:
            self._give_up()

    @property
    def is_long(self) -> bool:
        """Whether it should be written anew."""
        return self._fd >= 0 and self._room < 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _add(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        return len(data)

    def _give_up(self) -> None:
        """One that lacks something is none."""
        self.close()
        for path in (self._path, f"{self._path}.new"):
            with contextlib.suppress(OSError):
                os.unlink(path)


def read_journal(path: Path) -> Documents | None:
    """All documents, as far as they can be read; None when there is no journal."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    head = _head()
    if not data.startswith(head):
        return None
    return decoded(data, len(head))


def encoded(documents: Iterable[tuple[str, str, bytes | None]]) -> bytes:
    """Documents one after the other, each with its checksum; None is one that is deleted."""
    return b"".join(_encoded(*document) for document in documents)


def decoded(data: bytes, at: int) -> Documents:
    """What :func:`encoded` has written from ``at`` on, as far as it is whole."""
    found: Documents = {}
    while at + _ENTRY.size <= len(data):
        checksum, *lengths = _ENTRY.unpack_from(data, at)
        is_deleted = lengths[2] == _DELETED
        end = at + _ENTRY.size + lengths[0] + lengths[1] + (0 if is_deleted else lengths[2])
        if end > len(data) or zlib.crc32(data[at + 4 : end]) != checksum:
            break  # who wrote it was killed over it
        start = at + _ENTRY.size
        kind = data[start : start + lengths[0]].decode()
        key = data[start + lengths[0] : start + lengths[0] + lengths[1]].decode()
        if is_deleted:
            found.pop((kind, key), None)
        else:
            found[kind, key] = data[start + lengths[0] + lengths[1] : end]
        at = end
    return found


def _encoded(kind: str, key: str, body: bytes | None) -> bytes:
    names = (kind.encode(), key.encode())
    length = _DELETED if body is None else len(body)
    rest = struct.pack("=III", len(names[0]), len(names[1]), length) + names[0] + names[1] + (body or b"")
    return struct.pack("=I", zlib.crc32(rest)) + rest
