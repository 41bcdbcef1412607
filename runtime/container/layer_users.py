"""Who a process of a container that does not run will be, by the files of its layers, without an overlay of them.

A short cut: what whiteouts, opaque directories and mounts make of these files is not followed, and where a link is on
the way this cannot tell. So what is found is only good when the container's own files turn out to be the ones that were
read (``runtime.container.scripting``).
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from runtime.container import scripting
from runtime.container.scripting import Seen
from runtime.kernel import syscalls, users
from runtime.kernel.users import Identity

_MOST_BYTES = 64 << 10
"""Of a file that is read here: larger ones are for the container's own process, and nobody waits for what they take."""
_BELOW = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS


class _File(NamedTuple):
    layer: str
    path: str
    inode: int
    changed: int
    """Nanoseconds of the last change."""


def find(upper: str, layers: Sequence[str], user: str, groups: Sequence[str]) -> tuple[Identity, Seen] | None:
    """``upper``, which need not be there, and ``layers``, which nobody changes: directories, topmost first. None where
    this cannot tell."""
    try:
        found = [_find(upper, layers, path) for path in scripting.USER_FILES]
        identity = _identify(user, tuple(groups), *found)
    except (OSError, users.UserNotFound):
        return None
    return identity, [_parts(file) for file in found]


def _find(upper: str, layers: Sequence[str], path: str) -> _File | None:
    """The file that an overlay shows. Raises OSError for what is no file, or behind a link."""
    if os.path.isdir(upper) and (own := _look(upper, path)) is not None:
        return own
    for layer in layers:
        state = os.stat(layer)
        if (found := _look_once(layer, path, state.st_ino, state.st_ctime_ns)) is not None:
            return found
    return None


@lru_cache(maxsize=256)
def _look_once(layer: str, path: str, inode: int, changed: int) -> _File | None:
    """``inode``, ``changed``: of the layer, which may be another one the next time that it has this name."""
    return _look(layer, path)


def _look(layer: str, path: str) -> _File | None:
    try:
        file = _open(layer, path, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        state = os.fstat(file)
    finally:
        os.close(file)
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, f"{path} is no regular file")
    return _File(layer, path, state.st_ino, state.st_ctime_ns)


def _open(layer: str, path: str, flags: int) -> int:
    directory = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return syscalls.openat2(directory, os.fsencode(path.lstrip("/")), flags, _BELOW)
    finally:
        os.close(directory)


@lru_cache(maxsize=64)
def _identify(user: str, groups: tuple[str, ...], passwd: _File | None, group: _File | None) -> Identity:
    return users.identify(user, groups, _read(passwd), _read(group))


def _read(file: _File | None) -> bytes:
    if file is None:
        return b""
    with open(_open(file.layer, file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb") as opened:
        state = os.fstat(opened.fileno())
        if (state.st_ino, state.st_ctime_ns) != (file.inode, file.changed):
            raise OSError(errno.ESTALE, f"{file.path} is another file")
        if state.st_size > _MOST_BYTES:
            raise OSError(errno.EFBIG, f"{file.path} is large")
        return opened.read(_MOST_BYTES)


def _parts(file: _File | None) -> tuple[tuple[tuple[int, int], bytes], ...]:
    if file is None:
        return ()
    return (
        (scripting.INODE, struct.pack("=Q", file.inode)),
        (scripting.CHANGED, scripting.changed_at(file.changed)),
    )
