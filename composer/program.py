"""How a core is started, and which of two versions is the newer one. Imports little: the command's first steps.

The core is started from the package that this module is in, whatever else is installed, and says its version in its
command line: that is how a core sees that its keeper would start another one than itself.
"""

from __future__ import annotations

import os
import re
import sys

from composer import __version__


def core_argv() -> list[str]:
    """The command line of a core of this version, the interpreter's absolute path first."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    start = (
        "import gc, sys; gc.disable(); "  # a tenth of the time that imports take goes into looking for cycles
        f"{root!r} in sys.path or sys.path.insert(0, {root!r}); from composer.core import run; run()"
    )
    return [_interpreter(), "-P", "-c", start, "composer.core", __version__]


def _interpreter() -> str:
    """The path that it has by itself, whatever it was called by (``./python``, ``../bin/python``): one engine is told
    from another by it."""
    path = os.path.normpath(sys.executable)
    try:
        return path if os.path.samefile(path, sys.executable) else sys.executable
    except OSError:
        return sys.executable  # behind a link the way back leads somewhere else


def is_older(version: str, other: str) -> bool:
    """Whether ``version`` comes before ``other``: by their numbers, and what is before a release (``1.0rc1``) before it
    (PEP 440)."""
    return _order(version) < _order(other)


def _order(version: str) -> tuple[tuple[int, ...], bool, str]:
    numbers, rest = re.fullmatch(r"((?:\d+\.?)*)(.*)", version.partition("+")[0], re.DOTALL).groups()  # type: ignore[union-attr]
    release = [int(number) for number in numbers.split(".") if number]
    while release and not release[-1]:
        release.pop()
    return tuple(release), not rest or rest.startswith("post"), rest
