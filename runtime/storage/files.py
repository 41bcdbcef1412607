"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import ComposerError

TEMPORARY_PREFIX = ".tmp-"


class StorageError(ComposerError):
    """The file system does not do what it is asked for: a full disk, one that is read-only."""


def storage_error(error: OSError, step: str, path: str | os.PathLike[str]) -> StorageError:
    """Turn an OSError into one with the step and the path in it, and a hint where a person can act."""
    number = error.errno or 0
    return StorageError(f"{step} {os.fspath(path)}: {os.strerror(number)}", hint=hint_for(number))


def hint_for(number: int) -> str:
    """What to do where the system lacks what an error number tells of; "" where nobody knows."""
    if number in (errno.ENOSPC, errno.EDQUOT):
        return (
            "Free some disk space: `composer system df` shows what is used, `composer system prune` frees it."
        )
    if number == errno.EROFS:
        return "The file system is mounted read-only; set COMPOSER_ROOT to a directory that can be written."
    if number in (errno.EACCES, errno.EPERM):
        return "Check the owner and permissions, or set COMPOSER_ROOT to a directory that can be written."
    if number == errno.ENOMEM:
        return (
            "There is no more memory for it: see `free`, `ulimit -v`, sysctl vm.overcommit_memory, and memory.max of "
            "the cgroup that the engine is in."
        )
    if number == errno.EAGAIN:
        return "No more processes may be made: see `ulimit -u`, and pids.max of the cgroup that the engine is in."
    return ""


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make the names in a directory durable (fsync(2): syncing a file does not sync its entry)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomically(path: str | os.PathLike[str], data: bytes, *, mode: int = 0o644) -> None:
    """Replace the file at ``path``: temporary file, fsync, rename, fsync of the directory.

    A reader sees the old content or the new, also after a power cut. Raises ComposerError naming the path.
    """
    target = Path(path)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{target.name}-{secrets.token_hex(6)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            os.fchmod(fd, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, target)
        sync_directory(target.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise storage_error(error, "write", target) from error


def read_regular(path: str | os.PathLike[str], *, limit: int, dir_fd: int | None = None) -> bytes:
    """The content of a regular file of at most ``limit`` bytes; never blocks on a FIFO, follows no last link.

    Raises OSError when it cannot be opened, ComposerError when it is not a regular file or too large.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=dir_fd)
    with open(fd, "rb") as file:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise ComposerError(f"{os.fspath(path)}: not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ComposerError(f"{os.fspath(path)}: larger than {limit} bytes")
    return data


def directory_size(path: str | os.PathLike[str]) -> int:
    """Bytes on disk below ``path``, each inode once, on its own file system only (as ``du -sx``)."""
    try:
        root = os.lstat(path)
    except FileNotFoundError:
        return 0
    seen: set[int] = set()
    total = root.st_blocks * 512
    pending = [os.fspath(path)]
    while pending:
        try:
            entries = os.scandir(pending.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                try:
                    info = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if info.st_dev != root.st_dev:
                    continue
                if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                    if info.st_ino in seen:
                        continue
                    seen.add(info.st_ino)
                total += info.st_blocks * 512
                if stat.S_ISDIR(info.st_mode):
                    pending.append(entry.path)
    return total


def apparent_size(path: str | os.PathLike[str]) -> int:
    """Bytes of the contents of files below ``path``, each inode once, and of symbolic links: what a layer's size is.

    Unlike :func:`directory_size` it does not depend on the file system.
    """
    seen: set[int] = set()
    total = 0
    for info in _contents(path):
        if info.st_nlink > 1:
            if info.st_ino in seen:
                continue
            seen.add(info.st_ino)
        total += info.st_size
    return total


def exclusive_size(path: str | os.PathLike[str]) -> int:
    """The part of :func:`apparent_size` that goes when all below ``path`` is removed: no hard link elsewhere."""
    links: dict[int, int] = {}
    total = 0
    for info in _contents(path):
        if info.st_nlink > 1:
            links[info.st_ino] = links.get(info.st_ino, 0) + 1
            if links[info.st_ino] < info.st_nlink:
                continue
        total += info.st_size
    return total


def _contents(path: str | os.PathLike[str]) -> Iterator[os.stat_result]:
    """Each name of a file or a symbolic link below ``path``."""
    pending = [os.fspath(path)]
    while pending:
        try:
            entries = os.scandir(pending.pop())
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
                    yield info
