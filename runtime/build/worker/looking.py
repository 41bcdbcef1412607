"""What stat(2) says of a directory's names; the program of the process that helps with it (preloading.py).

It has half of the work to win, a tenth of a second: what it imports is what a bare interpreter has at hand.
"""

from __future__ import annotations

import os
import sys
from _blake2 import blake2b
from _struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

Row = tuple[str, int, int, int, int, int]
"""Name, mode, inode, ns of mtime and ctime, size."""
MARK = 16
"""Bytes of a mark. One of zeros is none."""
_PACK = Struct("=QQqqq").pack
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def look(root: str, path: str) -> list[Row]:
    """What is in a directory below ``root`` now, by name. Raises OSError, also when a link is on the way."""
    rows: list[Row] = []
    add, lstat = rows.append, os.lstat
    directory = _opened(root, path)
    try:
        names = os.listdir(directory)
        names.sort()
        for name in names:  # by descriptor: the kernel has less of a path to walk
            try:
                info = lstat(name, dir_fd=directory)
            except FileNotFoundError:
                continue
            add((name, info[0], info[1], info.st_mtime_ns, info.st_ctime_ns, info[6]))
    finally:
        os.close(directory)
    return rows


def _opened(root: str, path: str) -> int:
    above = os.open(root, _STEP)
    *parts, last = path.split("/") if path else (".",)
    try:
        for name in parts:
            following = os.open(name, _STEP, dir_fd=above)
            os.close(above)
            above = following
        return os.open(last, _READ, dir_fd=above)
    finally:
        os.close(above)


def mark(rows: Sequence[Row]) -> bytes:
    """A digest: the same for the same rows, and for no others."""
    total = blake2b("\0".join([row[0] for row in rows]).encode("utf-8", "surrogateescape"), digest_size=MARK)
    total.update(b"\0")
    total.update(b"".join([_PACK(*row[1:]) for row in rows]))
    return total.digest()


def main() -> None:
    """Looks at directories from the last one on, and writes their marks to where both processes see them. Arguments:
    the descriptor of that (marks, then names), how many there are, who asked."""
    import mmap

    fd, count, parent = map(int, sys.argv[1:])
    root, *paths = map(os.fsdecode, os.pread(fd, os.fstat(fd).st_size, count * MARK).split(b"\0"))
    marks = mmap.mmap(fd, count * MARK)
    for number in range(count - 1, -1, -1):
        if os.getppid() != parent:
            return
        try:
            found = mark(look(root, paths[number]))
        except OSError:
            continue
        marks[number * MARK : (number + 1) * MARK] = found
