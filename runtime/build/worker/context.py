"""What a local directory has, by content, without reading again what has not changed.

Of each directory it is remembered what stat(2) said of its names (inode, time of change, size) and the digest of each
file. As long as stat says the same, the content is the same: every change of content, mode or attributes sets ctime.
What was changed in the moment that it was read in may be changed once more without a trace, so that is not remembered
(git's rule for "racily clean" entries). Blocking, all of it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from bisect import bisect_left
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

import msgspec

from runtime.build.ignore import Ignore, keep_all, reaches_into
from runtime.build.worker.looking import Row, look, mark
from runtime.build.worker.preloading import Preload, preloading
from runtime.errors import ComposerError
from runtime.files.plain_paths import open_plainly
from runtime.storage.files import write_atomically

_TICK = 50_000_000
"""ns: more than clocks of file systems stand still (a tick of the kernel), with room for a busy machine."""
_COARSE_TICK = 2_000_000_000
"""ns: of file systems that keep whole seconds (FAT keeps even ones)."""
_BLOCK = 1 << 20
_VERSION = 2
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""A directory that was there a moment ago, or that is something else by now."""
_MANY = 20_000
"""Names known, from which on another process that helps to look at them wins more than it costs."""


class _Directory(msgspec.Struct, array_like=True):
    """A directory as it was: ``digests`` has one for each row, b"" where it cannot be relied upon or is not needed.
    ``mark``: of the rows."""

    rows: list[Row]
    digests: list[bytes]
    mark: bytes


class _Saved(msgspec.Struct, array_like=True):
    version: int
    root: str
    directories: dict[str, _Directory]


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in a context. ``digest``: of a file's content and attributes, a link's target."""

    name: str
    mode: int
    digest: bytes

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


@dataclass
class ContextCache:
    """The digests of one directory's files, kept in ``file`` from one engine to the next."""

    root: str
    file: Path
    _directories: dict[str, _Directory] = field(default_factory=dict)
    _is_loaded: bool = False
    _is_changed: bool = False
    summaries: dict[tuple[str, Ignore], tuple[list[Row], bytes, list[Row]]] = field(default_factory=dict)
    """Of directories that have not changed since: their rows, the digest of what is no directory in them, and the
    directories to be gone into."""
    files_read: int = 0
    """How many files had to be read so far."""

    def scan(self, ignore: Ignore = keep_all) -> ContextScan:
        """Look at the directory as it is now."""
        self._load()
        return ContextScan(self, ignore)

    def _load(self) -> None:
        if self._is_loaded:
            return
        self._is_loaded = True
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            saved = msgspec.msgpack.decode(self.file.read_bytes(), type=_Saved)
            if saved.version == _VERSION and saved.root == self.root:
                self._directories = saved.directories

    def save(self) -> None:
        """Keep what was learnt. What cannot be written is learnt again."""
        if not self._is_changed:
            return
        try:
            data = msgspec.msgpack.encode(_Saved(_VERSION, self.root, self._directories))
        except UnicodeEncodeError:  # names that are no UTF-8: their directories are looked at again
            kept = {
                path: known
                for path, known in self._directories.items()
                if _is_utf8(path) and all(_is_utf8(row[0]) for row in known.rows)
            }
            if not _is_utf8(self.root):
                return
            data = msgspec.msgpack.encode(_Saved(_VERSION, self.root, kept))
        with contextlib.suppress(OSError, ComposerError):
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self.file, data)
            self._is_changed = False

    def listing(self, path: str, preload: Preload | None = None) -> tuple[list[Row], list[bytes]]:
        """What is in a directory, by name, with digests of all that is neither a directory nor something that has no
        content. Raises OSError."""
        known = self._directories.get(path)
        if known is not None and preload is not None and preload.mark(path) == known.mark:
            return known.rows, known.digests
        rows = look(self.root, path)
        if known is not None and rows == known.rows:
            return known.rows, known.digests
        old = dict(zip(known.rows, known.digests, strict=True)) if known is not None else {}
        digests = [old.get(row, b"") for row in rows]
        self._directories[path] = _Directory(rows, digests, mark(rows))
        self._is_changed = True
        return rows, digests

    def preloading(self, path: str, ignore: Ignore) -> AbstractContextManager[Preload | None]:
        """Help with looking at all that is known below a directory, if that is much."""
        prefix = f"{path}/" if path else ""
        if path in self._directories and sum(len(one.rows) for one in self._directories.values()) >= _MANY:
            reached = [
                name
                for name in self._directories
                if name.startswith(prefix) and (reaches_into(ignore) or not name or not ignore(name))
            ]
            if sum(len(self._directories[name].rows) for name in reached) >= _MANY:
                return preloading(self.root, reached)
        return nullcontext()

    def digest(self, path: str, number: int, rows: list[Row], digests: list[bytes]) -> bytes:
        """Of a file or link in the directory ``path``, read if it has to be. Raises OSError."""
        if known := digests[number]:
            return known
        name, mode, _, mtime, ctime, _ = rows[number]
        host = f"{self.root}/{path}/{name}" if path else f"{self.root}/{name}"
        now = time.time_ns()
        found = digest_file(host, mode)
        self.files_read += 1
        is_coarse = mtime % 1_000_000_000 == 0 and ctime % 1_000_000_000 == 0
        if max(mtime, ctime) < now - (_COARSE_TICK if is_coarse else _TICK):
            digests[number] = found
            self._is_changed = True
        return found

    def forget(self, path: str) -> None:
        """A directory is gone."""
        if self._directories.pop(path, None) is not None:
            self._is_changed = True


def _is_utf8(name: str) -> bool:
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)


def digest_file(host: str, mode: int) -> bytes:
    """Of a file's content and attributes, of where a link leads; of devices and the like there is none. Raises
    OSError, also when a link is on the way."""
    if stat.S_ISLNK(mode):
        fd = open_plainly(host, os.O_PATH | os.O_NOFOLLOW)
        try:
            return hashlib.sha256(b"link\0" + os.readlink(b"", dir_fd=fd)).digest()
        finally:
            os.close(fd)
    if not stat.S_ISREG(mode):
        return hashlib.sha256(b"other").digest()
    fd = open_plainly(host, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(5, "it was replaced while it was read", host)
        total = hashlib.sha256()
        while block := os.read(fd, _BLOCK):
            total.update(block)
        if attributes := file_attributes(fd):
            total.update(repr(sorted(attributes.items())).encode())
        return total.digest()
    finally:
        os.close(fd)


def file_attributes(fd: int) -> dict[str, bytes]:
    """The extended attributes that a copy has, too."""
    try:
        names = os.listxattr(fd)
        return {name: os.getxattr(fd, name) for name in names if is_copied_attribute(name)} if names else {}
    except OSError:
        return {}


def is_copied_attribute(name: str) -> bool:
    if name.startswith("user."):
        return not name.startswith("user.overlay.")
    return name == "security.capability"


class ContextScan:
    """A context as it is at one time: each directory is looked at once, when somebody asks for it."""

    def __init__(self, cache: ContextCache, ignore: Ignore) -> None:
        self._cache = cache
        self._ignore = ignore
        self._listed: dict[str, tuple[list[Row], list[bytes]]] = {}
        self._trees: dict[str, bytes] = {}
        self._preload: Preload | None = None

    def entries(self, path: str) -> list[Entry]:
        """What is in a directory and not ignored, by name."""
        rows, digests = self._rows(path)
        prefix = f"{path}/" if path else ""
        return [
            Entry(row[0], row[1], self._digest(path, number, rows, digests))
            for number, row in enumerate(rows)
            if not self._ignore(prefix + row[0]) or stat.S_ISDIR(row[1])
        ]

    def file(self, path: str, mode: int) -> bytes:
        """The digest of a single file or link."""
        above, _, name = path.rpartition("/")
        rows, digests = self._rows(above)
        number = bisect_left(rows, name, key=itemgetter(0))
        if number < len(rows) and rows[number][0] == name:
            return self._cache.digest(above, number, rows, digests)
        return digest_file(f"{self._cache.root}/{path}", mode)

    def tree(self, path: str) -> bytes:
        """The digest of all that is below a directory and not ignored; b"" when there is nothing."""
        found = self._trees.get(path)
        if found is None:
            with self._cache.preloading(path, self._ignore) as self._preload:
                found = self._tree(path)
            self._preload = None
        return found

    def _tree(self, path: str) -> bytes:
        found = self._trees.get(path)
        if found is None:
            found = self._trees[path] = self._whole(path)
        return found

    def _whole(self, path: str) -> bytes:
        rows, _ = self._rows(path)
        prefix = f"{path}/" if path else ""
        known = self._cache.summaries.get((path, self._ignore))
        if known is None or known[0] is not rows:
            known = (rows, *self._summary(path))
        _, summary, directories = known
        if not directories:
            return summary
        total = hashlib.sha256(summary)
        is_empty = not summary
        for row in directories:
            name = prefix + row[0]
            is_ignored = self._ignore(name)
            content = self._tree(name)
            if is_ignored and not content:
                continue
            is_empty = False
            total.update(b"%b\0%o %d " % (row[0].encode("utf-8", "surrogateescape"), row[1], is_ignored))
            total.update(content)
        return b"" if is_empty else total.digest()

    def _summary(self, path: str) -> tuple[bytes, list[Row]]:
        """The digest of what is in a directory itself (b"": nothing) and the directories in it that may have
        something."""
        rows, digests = self._rows(path)
        prefix = f"{path}/" if path else ""
        descends = reaches_into(self._ignore)
        total = hashlib.sha256()
        directories = []
        is_empty, is_certain = True, True
        for number, row in enumerate(rows):
            name, mode = row[0], row[1]
            is_ignored = self._ignore is not keep_all and self._ignore(prefix + name)
            if stat.S_ISDIR(mode):
                if not is_ignored or descends:
                    directories.append(row)
            elif not is_ignored:
                is_empty = False
                content = digests[number] or self._cache.digest(path, number, rows, digests)
                is_certain = is_certain and bool(digests[number])
                total.update(b"%b\0%o " % (name.encode("utf-8", "surrogateescape"), mode))
                total.update(content)
        summary = b"" if is_empty else total.digest()
        if is_certain:
            self._cache.summaries[path, self._ignore] = (rows, summary, directories)
        return summary, directories

    def _rows(self, path: str) -> tuple[list[Row], list[bytes]]:
        found = self._listed.get(path)
        if found is None:
            try:
                found = self._cache.listing(path, self._preload)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self._cache.forget(path)
                found = ([], [])
            self._listed[path] = found
        return found

    def _digest(self, path: str, number: int, rows: list[Row], digests: list[bytes]) -> bytes:
        if stat.S_ISDIR(rows[number][1]):
            return b""
        return self._cache.digest(path, number, rows, digests)
