"""Paths without links: what is opened is what was looked at, or nothing."""

from __future__ import annotations

import os

from runtime.kernel.syscalls import AT_FDCWD, RESOLVE_NO_SYMLINKS, openat2


def open_plainly(path: str, flags: int, told: str = "") -> int:
    """A descriptor of what is at ``path``, no part of which may be a link: a directory on the way that was exchanged
    for one leads nowhere. With O_PATH and O_NOFOLLOW the last name may be one, and is what is opened. Raises OSError
    (ELOOP) that calls it ``told``."""
    try:
        return openat2(AT_FDCWD, os.fsencode(path), flags, RESOLVE_NO_SYMLINKS)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), told or path) from None
