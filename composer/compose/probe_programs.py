"""Which programs a healthcheck's command is sure to execute, and where they would be. Nothing is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where a container's programs are looked for when its image does not say."""
_SHELL = "/bin/sh"
_FIRST_WORD = re.compile(r"\s*([A-Za-z0-9_./+-]+)(?=\s|$|[|&;])")
_BUILT_IN = frozenset(
    "alias bg break builtin case cd command continue declare do echo enable eval exec exit export false fg for "
    "function getopts hash if jobs kill let local printf pwd read readonly return select set shift source test time "
    "times trap true type typeset ulimit umask unalias unset until wait while .".split()
)
"""Words of the shell itself: POSIX.1-2017, shell command language 2.4 and 2.14, and what its descendants add."""


def probe_programs(test: Sequence[str], shell: Sequence[str] = ()) -> tuple[str, ...]:
    """The programs without which a healthcheck's ``test`` (``CMD`` …, ``CMD-SHELL`` text) cannot pass; ``shell`` is the
    image's own. Only what is plain is told: a shell's text may go on without its first command."""
    if len(test) < 2:
        return ()
    if test[0] == "CMD":
        return (str(test[1]),)
    if test[0] != "CMD-SHELL":
        return ()
    interpreter = shell[0] if shell else _SHELL
    word = _FIRST_WORD.match(str(test[1]))
    if word is None or word[1] in _BUILT_IN:
        return (interpreter,)
    return interpreter, word[1]


def candidates(program: str, path: Iterable[str] = PATH) -> list[str]:
    """Where a program can be: itself with a slash in it, else below each directory of ``path``. Relative places, which
    hang on the working directory, make it unknown: then there are none."""
    if "/" in program:
        return [program] if program.startswith("/") else []
    directories = list(path)
    if not all(directory.startswith("/") for directory in directories):
        return []
    return [f"{directory.rstrip('/')}/{program}" for directory in directories]


def is_below(place: str, targets: Iterable[str]) -> bool:
    """Whether one of the mounts' ``targets`` is in the place's way, so that an image does not tell what is there."""
    return any(place == target or place.startswith(f"{target.rstrip('/')}/") for target in targets if target)
