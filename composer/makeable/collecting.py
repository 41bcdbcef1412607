"""Checks that raise, gathered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from runtime.errors import ComposerError

Check = tuple[str, Callable[[], object]]
"""What it is about, below the thing that is looked at ("": it says so itself, or it is the thing)."""


def of_each(path: str, checks: Iterable[Check]) -> Iterator[ComposerError]:
    """What the checks of the thing at ``path`` raise, each about its place in the file."""
    for about, check in checks:
        try:
            check()
        except ComposerError as error:
            yield placed(error, f"{path}.{about}" if about else path)


def placed(error: ComposerError, path: str) -> ComposerError:
    """``error`` about the value at ``path``, or below it, unless it knows its place in the file already."""
    if error.about.startswith(("services.", "networks.", "volumes.")):
        return error
    return error.pointing_at(path)
