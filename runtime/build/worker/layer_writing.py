"""Layers made where they stay: what COPY puts in place is written once, into the layer's directory and into its tar.
Blocking.

The directory is a stranger to what is copied: every name is reached by the descriptor of its directory, and no link is
followed on the way.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from runtime.build.worker import tar_writing
from runtime.build.worker.context import file_attributes
from runtime.build.worker.layer_tar import Placed
from runtime.errors import ComposerError, InvalidArgument
from runtime.files.tree import check_layer_name, open_node
from runtime.image.digest import Digest
from runtime.image.unpack import Unpacked
from runtime.kernel.syscalls import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SPECIAL = {
    stat.S_IFIFO: tar_writing.FIFO,
    stat.S_IFCHR: tar_writing.CHARACTER_DEVICE,
    stat.S_IFBLK: tar_writing.BLOCK_DEVICE,
}
_OPEN_DIRECTORIES = 64
_PIECE = 1 << 20


class ChangedMeanwhile(ComposerError):
    """A file is no longer what it was when the copy began."""


def write_placed_layer(
    items: Iterable[Placed], directory: Path, target: IO[bytes], now: int, latest: int | None = None
) -> Unpacked:
    """Put ``items`` into the empty ``directory`` and their tar into ``target``; ``now`` (s) is the time of what has
    none of its own, and nothing is newer than ``latest``. Raises ChangedMeanwhile, InvalidArgument, OSError."""
    writer = _Writer(directory, target, now, latest)
    try:
        for item in items:
            writer.add(item)
        return writer.finish()
    finally:
        writer.close()


class _Writer:
    def __init__(self, directory: Path, target: IO[bytes], now: int, latest: int | None) -> None:
        self._root = os.open(directory, _DIRECTORY)
        self._tar = tar_writing.TarWriter(target)
        self._now = now if latest is None else latest
        self._latest = latest
        self._open: OrderedDict[str, int] = OrderedDict()
        self._made: dict[str, tuple[int, int]] = {}
        """Directories: ns of their time, and whether they have an entry of their own."""
        self._links: dict[tuple[int, int], str] = {}
        self._size = 0

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
        os.close(self._root)

    def finish(self) -> Unpacked:
        for path, (moment, _) in reversed(self._made.items()):
            os.utime(self._directory(path), ns=(moment, moment))
        implied = tuple(path for path, (_, is_told) in self._made.items() if not is_told)
        return Unpacked(Digest.parse(f"sha256:{self._tar.finish()}"), self._size, implied)

    def add(self, item: Placed) -> None:
        check_layer_name(item.path)
        above, _, name = item.path.rpartition("/")
        kind = item.kind
        if kind == stat.S_IFDIR:
            self._add_directory(item, above, name)
            return
        parent = self._directory(above)
        try:
            if first := self._linked(item):
                self._add_hard_link(item, name, parent, first)
            elif kind == stat.S_IFREG:
                self._add_file(item, name, parent)
            elif kind == stat.S_IFLNK:
                self._add_link(item, name, parent)
            else:
                self._add_special(item, name, parent, kind)
        except FileExistsError:
            raise InvalidArgument(
                f"cannot copy to {item.path}: something else is copied there, too"
            ) from None

    def _add_directory(self, item: Placed, above: str, name: str) -> None:
        if not item.path:
            return
        if item.path not in self._made:
            parent = self._directory(above)
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
            except FileExistsError:
                raise InvalidArgument(
                    f"cannot copy to {item.path}: something else is copied there, too"
                ) from None
        status = item.node.status if item.node is not None else None
        moment = self._time(item, status.st_mtime) if status is not None else self._now
        self._made[item.path] = (moment * 10**9, 1)
        fd = self._directory(item.path)
        if item.uid or item.gid:
            os.fchown(fd, item.uid, item.gid)
        os.fchmod(fd, item.mode)
        self._tar.add(
            os.fsencode(item.path),
            tar_writing.DIRECTORY,
            mode=item.mode,
            uid=item.uid,
            gid=item.gid,
            mtime=moment,
        )

    def _add_file(self, item: Placed, name: str, parent: int) -> None:
        if item.node is None:
            content = item.content or b""
            source, size, moment, attributes = -1, len(content), self._now, {}
        else:
            source = open_node(item.node, _READ)
            found = os.fstat(source)
            if not stat.S_ISREG(found.st_mode):
                os.close(source)
                raise ChangedMeanwhile(f"{item.node.path} was replaced while it was copied")
            size, moment, attributes = (
                found.st_size,
                self._time(item, found.st_mtime),
                file_attributes(source),
            )
        try:
            fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
            try:
                self._tar.add(
                    os.fsencode(item.path),
                    tar_writing.REGULAR,
                    mode=item.mode,
                    uid=item.uid,
                    gid=item.gid,
                    mtime=moment,
                    size=size,
                    attributes=attributes,
                )
                if source < 0:
                    self._tar.data(content)
                    _write(fd, content)
                else:
                    self._copy(source, fd, size, item)
                self._tar.pad(size)
                if item.uid or item.gid:
                    os.fchown(fd, item.uid, item.gid)
                os.fchmod(fd, item.mode)
                for key, value in attributes.items():
                    os.setxattr(fd, key, value)
                os.utime(fd, ns=(moment * 10**9, moment * 10**9))
            finally:
                os.close(fd)
        finally:
            if source >= 0:
                os.close(source)
        self._size += size

    def _copy(self, source: int, target: int, size: int, item: Placed) -> None:
        left = size
        while left:
            piece = os.read(source, min(left, _PIECE))
            if not piece:
                raise ChangedMeanwhile(f"{item.path} became shorter while it was copied")
            self._tar.data(piece)
            _write(target, piece)
            left -= len(piece)

    def _add_link(self, item: Placed, name: str, parent: int) -> None:
        assert item.node is not None
        leads = os.readlink(item.node.hosts[0])
        moment = self._time(item, item.node.status.st_mtime)
        os.symlink(leads, name, dir_fd=parent)
        if item.uid or item.gid:
            os.chown(name, item.uid, item.gid, dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=(moment * 10**9, moment * 10**9), dir_fd=parent, follow_symlinks=False)
        self._size += len(os.fsencode(leads))
        self._tar.add(
            os.fsencode(item.path),
            tar_writing.SYMBOLIC_LINK,
            mode=0o777,
            uid=item.uid,
            gid=item.gid,
            mtime=moment,
            link=os.fsencode(leads),
        )

    def _add_special(self, item: Placed, name: str, parent: int, kind: int) -> None:
        assert item.node is not None
        device = item.node.status.st_rdev if kind != stat.S_IFIFO else 0
        if kind == stat.S_IFCHR and not device:
            return  # overlayfs would take it for a whiteout
        moment = self._time(item, item.node.status.st_mtime)
        os.mknod(name, kind | 0o600, device, dir_fd=parent)
        os.chown(name, item.uid, item.gid, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, item.mode, dir_fd=parent)
        os.utime(name, ns=(moment * 10**9, moment * 10**9), dir_fd=parent, follow_symlinks=False)
        self._tar.add(
            os.fsencode(item.path),
            _SPECIAL[kind],
            mode=item.mode,
            uid=item.uid,
            gid=item.gid,
            mtime=moment,
            device=(os.major(device), os.minor(device)),
        )

    def _time(self, item: Placed, seconds: float) -> int:
        if self._latest is None:
            return int(seconds)
        return self._now if item.is_undated else min(int(seconds), self._latest)

    def _linked(self, item: Placed) -> str:
        """The earlier path of the same file in the source, "" when there is none."""
        if item.node is None or item.kind != stat.S_IFREG or item.node.status.st_nlink < 2:
            return ""
        key = (item.node.status.st_dev, item.node.status.st_ino)
        first = self._links.setdefault(key, item.path)
        return "" if first == item.path else first

    def _add_hard_link(self, item: Placed, name: str, parent: int, first: str) -> None:
        above, _, other = first.rpartition("/")
        pinned = os.dup(parent)
        try:
            os.link(other, name, src_dir_fd=self._directory(above), dst_dir_fd=pinned, follow_symlinks=False)
        finally:
            os.close(pinned)
        self._tar.add(
            os.fsencode(item.path),
            tar_writing.HARD_LINK,
            mode=item.mode,
            uid=item.uid,
            gid=item.gid,
            mtime=self._time(item, item.node.status.st_mtime) if item.node is not None else self._now,
            link=os.fsencode(first),
        )

    def _directory(self, path: str) -> int:
        """A descriptor of a directory, made if it is not there: then the layers below have it."""
        if not path:
            return self._root
        fd = self._open.get(path)
        if fd is not None:
            self._open.move_to_end(path)
            return fd
        try:
            fd = openat2(self._root, os.fsencode(path), _DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        except FileNotFoundError:
            parent = self._directory(posixpath.dirname(path))
            os.mkdir(posixpath.basename(path), 0o755, dir_fd=parent)
            self._made[path] = (self._now * 10**9, 0)
            fd = os.open(posixpath.basename(path), _DIRECTORY, dir_fd=parent)
            os.fchmod(fd, 0o755)
        except OSError:
            raise InvalidArgument(f"cannot copy to {path}: something else is copied there, too") from None
        self._open[path] = fd
        if len(self._open) > _OPEN_DIRECTORIES:
            os.close(self._open.popitem(last=False)[1])
        return fd


def _write(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])
