"""Whether a file system takes anything. Standard library only."""

from __future__ import annotations

import errno
import os

OF_ALL = (errno.EROFS, errno.ENOSPC, errno.EDQUOT)
"""What a file system refuses with, whoever asks: it is read-only, or full."""


def refusal(directory: str | os.PathLike[str], dir_fd: int | None = None) -> int:
    """The error number, one of :data:`OF_ALL`, with which the file system of ``directory`` takes nothing; else 0.

    Tried with a file that has no name (O_TMPFILE of open(2)): a file system that went read-only by itself after an
    error need not be mounted read-only (ext4, since Linux 6.15)."""
    try:
        fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
        try:
            os.posix_fallocate(fd, 0, 1)
        finally:
            os.close(fd)
    except OSError as error:
        return error.errno if error.errno in OF_ALL else 0
    return 0
