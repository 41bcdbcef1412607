"""Being told about changes in a directory. inotify(7)."""

from __future__ import annotations

import ctypes
import os

from runtime.kernel import kernel_limits

IN_MODIFY = 0x2
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_ONLYDIR = 0x01000000

_libc = ctypes.CDLL(None, use_errno=True)


def open_inotify() -> int:
    """A non-blocking, close-on-exec inotify descriptor. Raises OSError."""
    fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise _error("inotify_init1")
    return fd


def add_watch(inotify: int, path: str | os.PathLike[str], mask: int) -> int:
    """Watch ``path`` for the events of ``mask``."""
    watch: int = _libc.inotify_add_watch(inotify, os.fsencode(path), ctypes.c_uint32(mask))
    if watch < 0:
        raise _error(f"inotify_add_watch {os.fspath(path)}")
    return watch


def discard_events(inotify: int) -> None:
    """Forget what has happened until now."""
    try:
        while os.read(inotify, 65536):
            pass
    except BlockingIOError:
        pass


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return kernel_limits.of_inotify(OSError(number, f"{what}: {os.strerror(number)}"))
