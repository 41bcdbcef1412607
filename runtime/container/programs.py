"""Which file a container's command is, and what it may have been meant to be.

Runs inside the container, as its user: nothing is imported late, and what directories hold is bounded and printable.
Standard library only.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence

from runtime.container.failure import CANNOT_EXECUTE, NOT_FOUND, Failure
from runtime.nearest import distance_if_near

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_LISTED = 20_000
"""Files that are looked at for one that is similar."""
MAX_SHOWN = 3
_SHORTEST = 3
"""Letters that a name has to have: every other program is like one of two."""


def search_path(env: Sequence[str]) -> list[str]:
    """Directories in which programs are looked for; "" is the working directory."""
    return next((item[5:] for item in reversed(env) if item.startswith("PATH=")), DEFAULT_PATH).split(":")


def find_program(name: str, env: list[str], image: str = "") -> str:
    """What ``name`` means: itself with a slash in it, else the first executable file on PATH. Raises Failure."""
    if "/" in name:
        try:
            state = os.stat(name)
        except OSError as error:
            text = os.strerror(error.errno or 0).lower()
            code = CANNOT_EXECUTE if error.errno == errno.EACCES else NOT_FOUND
            raise Failure("exec", error.errno or 0, f'exec: "{name}": stat {name}: {text}', code) from None
        if stat.S_ISDIR(state.st_mode):
            raise Failure(
                "exec", errno.EACCES, f'exec: "{name}": is a directory: permission denied', CANNOT_EXECUTE
            )
        if not state.st_mode & 0o111:
            raise Failure("exec", errno.EACCES, f'exec: "{name}": permission denied', CANNOT_EXECUTE)
        return name
    search = search_path(env)
    found_unusable = False
    for directory in search:
        candidate = f"{directory or '.'}/{name}"
        try:
            state = os.stat(candidate)
        except OSError as error:
            found_unusable = found_unusable or error.errno == errno.EACCES
            continue
        if stat.S_ISREG(state.st_mode) and state.st_mode & 0o111:
            return candidate
    if not name:
        raise Failure("exec", errno.ENOENT, 'exec: "": no command specified', NOT_FOUND)
    if found_unusable:
        raise Failure("exec", errno.EACCES, f'exec: "{name}": permission denied', CANNOT_EXECUTE)
    text = f'exec: "{name}": executable file not found in $PATH'
    if image:
        text += f" of image {image}"
    if alike := similar_programs(name, search):
        text += f"; similar: {', '.join(alike)}"
    raise Failure("exec", errno.ENOENT, text, NOT_FOUND)


def similar_programs(name: str, directories: Iterable[str]) -> list[str]:
    """Executable files whose names are like ``name``, the likest first; each name once, as PATH would find it."""
    if len(name) < _SHORTEST:
        return []
    found: dict[str, tuple[int, str]] = {}
    listed = 0
    for directory in directories:
        try:
            entries = os.listdir(directory)
        except OSError:
            continue
        for entry in entries[: MAX_LISTED - listed]:
            distance = None if entry in found else distance_if_near(name, entry)
            if distance is None or not entry.isprintable():
                continue
            path = f"{directory.rstrip('/')}/{entry}"
            try:
                state = os.stat(path)
            except OSError:
                continue
            if stat.S_ISREG(state.st_mode) and state.st_mode & 0o111:
                found[entry] = (distance, path)
        listed += len(entries)
        if listed >= MAX_LISTED:
            break
    return [path for _, path in sorted(found.values())[:MAX_SHOWN]]
