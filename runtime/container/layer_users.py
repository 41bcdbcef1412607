"""Who a process of a container that does not run will be, by the files of its layers, without an overlay of them.

A short cut: what links, whiteouts or mounts make of these files is not followed, so what is found is only good for as
long as the container's own files turn out to be the ones that were read (``runtime.container.scripting``).
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence
from functools import lru_cache

from runtime.container import scripting
from runtime.container.scripting import Seen
from runtime.kernel import users
from runtime.kernel.users import Identity

_File = tuple[str, int, int]
"""Path, inode, nanoseconds of the last change."""


def find(layers: Sequence[str], user: str, groups: Sequence[str]) -> tuple[Identity, Seen] | None:
    """``layers``: directories, topmost first. None where this cannot tell."""
    found: list[_File | None] = []
    for path in scripting.USER_FILES:
        try:
            found.append(_find(layers, path))
        except OSError:
            return None
    try:
        identity = _identify(user, tuple(groups), *found)
    except (OSError, users.UserNotFound):
        return None
    return identity, [_parts(file) for file in found]


def _find(layers: Sequence[str], path: str) -> _File | None:
    """The file that an overlay shows. Raises OSError for what is no file."""
    for layer in layers:
        try:
            state = os.lstat(layer + path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISREG(state.st_mode):
            raise FileNotFoundError(path)
        return layer + path, state.st_ino, state.st_ctime_ns
    return None


@lru_cache(maxsize=64)
def _identify(user: str, groups: tuple[str, ...], passwd: _File | None, group: _File | None) -> Identity:
    return users.identify(user, groups, _read(passwd), _read(group))


def _read(file: _File | None) -> bytes:
    if file is None:
        return b""
    with open(file[0], "rb") as opened:
        state = os.fstat(opened.fileno())
        if (state.st_ino, state.st_ctime_ns) != file[1:]:
            raise FileNotFoundError(file[0])
        return opened.read(users.FILE_LIMIT)


def _parts(file: _File | None) -> tuple[tuple[tuple[int, int], bytes], ...]:
    if file is None:
        return ()
    return (
        (scripting.INODE, struct.pack("=Q", file[1])),
        (scripting.CHANGED, scripting.changed_at(file[2])),
    )
