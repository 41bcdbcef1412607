"""What mounts leave behind in a step's layer: the empty files and directories that they stood on."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable

from runtime.files.tree import Tree
from runtime.kernel.syscalls import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def remove_stubs(upper: str, below: Tree, targets: Iterable[str]) -> None:
    """Take ``targets``, and the directories on the way to them, out of an upper directory where they are empty and
    ``below`` does not have them. Blocking.

    The step's program could put links there: none is followed.
    """
    root = os.open(upper, _DIRECTORY | os.O_NOFOLLOW)
    try:
        for target in targets:
            parts = [part for part in target.split("/") if part not in ("", ".", "..")]
            while parts:
                if below.resolve("/".join(parts))[1] is not None or not _remove_empty(root, parts):
                    break
                parts.pop()
    finally:
        os.close(root)


def _remove_empty(root: int, parts: list[str]) -> bool:
    """Remove an empty file or directory; whether it is gone."""
    above = "/".join(parts[:-1]) or "."
    try:
        parent = openat2(root, os.fsencode(above), _DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    except OSError:
        return False
    try:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                os.rmdir(parts[-1], dir_fd=parent)
            elif stat.S_ISREG(status.st_mode) and not status.st_size:
                os.unlink(parts[-1], dir_fd=parent)
            else:
                return False
        return True
    except OSError:
        return False
    finally:
        os.close(parent)
