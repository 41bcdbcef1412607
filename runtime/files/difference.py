"""What a container has changed of its image: its own layer compared with those below (``docker diff``)."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from runtime.files.archive import hides_all_below
from runtime.files.tree import Node, Tree, is_whiteout

MODIFIED, ADDED, DELETED = 0, 1, 2


def differences(upper: str, layers: Sequence[Path]) -> list[tuple[int, str]]:
    """Kind and path of each change, by path. ``layers``: what is below, topmost first. Blocking.

    A directory counts when it was changed itself or when something in it was."""
    try:
        root = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    tree = Tree(layers)
    found: dict[str, int] = {}
    waiting: list[tuple[int, str, Node | None]] = [(root, "", tree.root)]
    while waiting:
        directory, prefix, below = waiting.pop()
        try:
            names = sorted(os.listdir(directory))
            if below is not None and prefix and hides_all_below(directory):
                for hidden in tree.children(below):
                    if hidden.name not in names:
                        found[f"{prefix}/{hidden.name}"] = DELETED
                below = None
            for name in names:
                path = f"{prefix}/{name}"
                old = tree.child(below, name) if below is not None and below.is_directory else None
                try:
                    status = os.lstat(name, dir_fd=directory)
                except FileNotFoundError:
                    continue
                if is_whiteout(status):
                    if old is not None:
                        found[path] = DELETED
                elif stat.S_ISDIR(status.st_mode):
                    if old is None or not old.is_directory or not _is_same(status, old.status):
                        found[path] = ADDED if old is None else MODIFIED
                    with contextlib.suppress(OSError):
                        inner = os.open(
                            name,
                            os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                            dir_fd=directory,
                        )
                        waiting.append((inner, path, old))
                else:
                    found[path] = ADDED if old is None else MODIFIED
        finally:
            os.close(directory)
    for path in list(found):
        above = path.rpartition("/")[0]
        while above and above not in found:
            found[above] = MODIFIED
            above = above.rpartition("/")[0]
    return sorted(((kind, path) for path, kind in found.items()), key=lambda change: change[1])


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_mtime_ns) == (other.st_mode, other.st_mtime_ns)
