"""What a step's container has changed, as a layer: its upper directory becomes the layer's, and is written as a tar.
Blocking."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from runtime.build.worker import tar_writing
from runtime.files.archive import hides_all_below
from runtime.files.tree import OPAQUE, check_layer_name, is_whiteout
from runtime.image.digest import Digest
from runtime.image.unpack import Unpacked

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 1 << 20
_OVERLAY = ("trusted.overlay.", "user.overlay.")
_SPECIAL = {
    stat.S_IFIFO: tar_writing.FIFO,
    stat.S_IFCHR: tar_writing.CHARACTER_DEVICE,
    stat.S_IFBLK: tar_writing.BLOCK_DEVICE,
}


def take_changes(upper: Path, directory: Path, target: IO[bytes], latest: int | None = None) -> Unpacked:
    """Write the tar of ``upper`` to ``target``, and let it become ``directory``, which is empty. Nothing may write to
    it any more. What overlayfs has noted for itself goes; nothing is newer than ``latest`` (s). Raises OSError."""
    root = os.open(upper, _DIRECTORY)
    try:
        taking = _Taking(target, latest)
        taking.add_all(root)
        os.fchown(root, 0, 0)
        os.fchmod(root, 0o755)
        _strip(root)
    finally:
        os.close(root)
    os.rename(upper, directory)
    return Unpacked(Digest.parse(f"sha256:{taking.tar.finish()}"), taking.size, ())


class _Taking:
    def __init__(self, target: IO[bytes], latest: int | None) -> None:
        self._latest = latest
        self.tar = tar_writing.TarWriter(target)
        self.size = 0
        self._links: dict[tuple[int, int], str] = {}

    def add_all(self, root: int) -> None:
        waiting: list[tuple[int, str, Iterator[str]]] = [_listing(root, "")]
        try:
            while waiting:
                directory, prefix, names = waiting[-1]
                name = next(names, None)
                if name is None:
                    os.close(waiting.pop()[0])
                    continue
                path = f"{prefix}{name}"
                inner = self._add(directory, name, path)
                if inner is not None:
                    waiting.append(_listing(inner, f"{path}/"))
                    os.close(inner)
        finally:
            for directory, _, _ in waiting:
                os.close(directory)

    def _add(self, directory: int, name: str, path: str) -> int | None:
        """Write one entry; a descriptor of it when it is a directory."""
        status = os.lstat(name, dir_fd=directory)
        if self._latest is not None and status.st_mtime > self._latest and not is_whiteout(status):
            moment = self._latest * 10**9
            os.utime(name, ns=(moment, moment), dir_fd=directory, follow_symlinks=False)
            status = os.lstat(name, dir_fd=directory)
        kind = stat.S_IFMT(status.st_mode)
        if is_whiteout(status):
            above, _, hidden = path.rpartition("/")
            self.tar.add(os.fsencode(f"{above}/.wh.{hidden}".lstrip("/")), tar_writing.REGULAR)
            return None
        check_layer_name(path)
        if kind == stat.S_IFDIR:
            fd = os.open(name, _DIRECTORY, dir_fd=directory)
            self._header(path, tar_writing.DIRECTORY, status, attributes=_strip(fd))
            if hides_all_below(fd):
                self.tar.add(os.fsencode(f"{path}/.wh..wh..opq"), tar_writing.REGULAR)
            return fd
        if kind == stat.S_IFREG:
            self._add_file(directory, name, path, status)
        elif kind == stat.S_IFLNK:
            leads = os.fsencode(os.readlink(name, dir_fd=directory))
            self.size += len(leads)
            self._header(path, tar_writing.SYMBOLIC_LINK, status, link=leads)
        elif kind in _SPECIAL:
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
            self._header(path, _SPECIAL[kind], status, device=device)
        return None

    def _add_file(self, directory: int, name: str, path: str, status: os.stat_result) -> None:
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                self._header(path, tar_writing.HARD_LINK, status, link=os.fsencode(first))
                return
        fd = os.open(name, _READ, dir_fd=directory)
        try:
            self._header(path, tar_writing.REGULAR, status, size=status.st_size, attributes=_strip(fd))
            left = status.st_size
            while left and (piece := os.read(fd, min(left, _PIECE))):
                self.tar.data(piece)
                left -= len(piece)
            while left:
                self.tar.data(bytes(min(left, _PIECE)))
                left -= min(left, _PIECE)
            self.tar.pad(status.st_size)
        finally:
            os.close(fd)
        self.size += status.st_size

    def _header(
        self,
        path: str,
        kind: bytes,
        status: os.stat_result,
        *,
        size: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        attributes: dict[str, bytes] | None = None,
    ) -> None:
        self.tar.add(
            os.fsencode(path),
            kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=int(status.st_mtime),
            size=size,
            link=link,
            device=device,
            attributes=attributes,
        )


def _listing(fd: int, prefix: str) -> tuple[int, str, Iterator[str]]:
    directory = os.dup(fd)
    return directory, prefix, iter(sorted(os.listdir(directory)))


def _strip(fd: int) -> dict[str, bytes]:
    """The attributes that a layer has; overlayfs' own are removed, but for what hides lower layers."""
    found: dict[str, bytes] = {}
    try:
        names = os.listxattr(fd)
    except OSError:
        return found
    for name in names:
        if name.startswith(_OVERLAY):
            if name not in OPAQUE:
                with contextlib.suppress(OSError):
                    os.removexattr(fd, name)
        else:
            with contextlib.suppress(OSError):
                found[name] = os.getxattr(fd, name)
    return found
