"""Tars of layers: what a container has changed, and what COPY puts in place (OCI image-spec, layer.md)."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, BinaryIO

from runtime.files.archive import write_layer
from runtime.files.tree import Node

_KINDS = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}


@dataclass(frozen=True, slots=True)
class Placed:
    """Something that COPY or WORKDIR puts into an image: ``node`` (or ``content``, or a new directory) at
    ``path``."""

    path: str
    mode: int
    uid: int = 0
    gid: int = 0
    node: Node | None = None
    content: bytes | None = None
    is_undated: bool = False
    """The time of ``node`` is when somebody got it, no content: with SOURCE_DATE_EPOCH it does not count."""

    @property
    def kind(self) -> int:
        if self.node is not None:
            return stat.S_IFMT(self.node.status.st_mode)
        return stat.S_IFDIR if self.content is None else stat.S_IFREG


def digest_placed(items: Iterable[Placed]) -> str:
    """What identifies the content, names, modes and owners of what is placed; times do not count. Blocking."""
    total = hashlib.sha256()
    links: dict[tuple[int, int], str] = {}
    for item in items:
        if first := _linked(item, links):
            total.update(repr((item.path, "link", first)).encode("utf-8", "replace"))
            continue
        total.update(repr((item.path, item.kind, item.mode, item.uid, item.gid)).encode("utf-8", "replace"))
        if item.content is not None:
            total.update(hashlib.sha256(item.content).digest())
        elif item.node is not None and item.kind == stat.S_IFLNK:
            total.update(os.fsencode(os.readlink(item.node.hosts[0])))
        elif item.node is not None and item.kind == stat.S_IFREG:
            total.update(b"%d\0" % item.node.status.st_size)
            with _open(item.node.hosts[0]) as source:
                while block := source.read(1 << 20):
                    total.update(block)
    return total.hexdigest()


def write_placed(items: Iterable[Placed], target: IO[bytes], now: int) -> None:
    """The layer of what is placed; ``now`` (s) is the time of what has none of its own. Names of one file in the
    source are names of one file in the layer. Blocking."""
    links: dict[tuple[int, int], str] = {}
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for item in items:
            info = tarfile.TarInfo(item.path)
            info.type = _KINDS[item.kind]
            info.mode, info.uid, info.gid = item.mode, item.uid, item.gid
            info.mtime = int(item.node.status.st_mtime) if item.node is not None else now
            if item.kind == stat.S_IFLNK and item.node is not None:
                info.linkname = os.readlink(item.node.hosts[0])
            if first := _linked(item, links):
                info.type, info.linkname = tarfile.LNKTYPE, first
                tar.addfile(info)
            elif item.content is not None:
                info.size = len(item.content)
                tar.addfile(info, _Bytes(item.content))
            elif item.kind == stat.S_IFREG and item.node is not None:
                with _open(item.node.hosts[0]) as source:
                    info.size = os.fstat(source.fileno()).st_size
                    tar.addfile(info, source)
            else:
                if item.node is not None and item.kind in (stat.S_IFCHR, stat.S_IFBLK):
                    info.devmajor = os.major(item.node.status.st_rdev)
                    info.devminor = os.minor(item.node.status.st_rdev)
                tar.addfile(info)


def _linked(item: Placed, links: dict[tuple[int, int], str]) -> str:
    """The earlier path of the same file, "" when there is none; ``links`` learns of this one."""
    if item.node is None or item.kind != stat.S_IFREG or item.node.status.st_nlink < 2:
        return ""
    key = (item.node.status.st_dev, item.node.status.st_ino)
    first = links.setdefault(key, item.path)
    return "" if first == item.path else first


def write_changes(upper: str, target: IO[bytes]) -> None:
    """The layer of what is in an overlay's upper directory. Blocking."""
    root = os.open(upper, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        write_layer(root, target)
    finally:
        os.close(root)


class _Bytes:
    """Reads from memory."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def read(self, size: int = -1, /) -> bytes:
        size = len(self._data) if size < 0 else size
        piece, self._data = self._data[:size], self._data[size:]
        return bytes(piece)


def _open(path: str) -> BinaryIO:
    return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
