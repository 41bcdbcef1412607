"""Whether the package on the disk is still the one that this process was started from.

An upgrade puts other files in the place of those that a running core has not imported yet, and takes some away. Half of
one version and half of another is nobody's program: from then on nothing of it (nor of what came with it) is imported
any more, and who needs that is told what to do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

import composer
from composer import __version__
from runtime.errors import ComposerError

Stamp = tuple[int, int, int]


class Guard(MetaPathFinder):
    """The first of ``sys.meta_path``: finds nothing itself."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp = _stamp(path)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Raises ComposerError when the package was replaced or removed."""
        if name.partition(".")[0] in sys.stdlib_module_names:
            return  # the interpreter's own
        now = _stamp(self._path)
        if now != self._stamp:
            what = "removed" if now is None else "replaced"
            raise ComposerError(
                f"composer was {what} on the disk while this engine ({__version__}) runs, and {name} is not loaded yet",
                hint="composer engine stop: the next command starts the engine that is installed, and containers go on",
                status=503,
            )


def guard() -> Guard:
    """For this process's package: what every installation writes anew is the file that has the version."""
    return Guard(os.path.abspath(composer.__file__))


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
