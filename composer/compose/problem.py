"""What is wrong with a tree, said by a stage that knows the path and not the place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from composer.compose.errors import ComposeError
from composer.compose.trace import Origin, Path


class Problem(ComposeError):
    """A :class:`ComposeError` before its place is known: the pipeline looks the place up in ``tree``.

    ``path`` is where in the tree; ``at_key`` asks for the place of the key instead of the value's; ``at`` is the place
    itself when the raiser has it. ``more`` holds further problems found in the same run, ``led_by`` what led to the
    file that this is about, innermost first.
    """

    def __init__(
        self,
        message: str,
        path: Path = (),
        *,
        hint: str = "",
        tree: Any = None,
        at_key: bool = False,
        at: Origin | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.tree = tree
        self.at_key = at_key
        self.at = at
        self.more: tuple[Problem, ...] = ()
        self.led_by: tuple[Origin, ...] = ()

    def led(self, via: Origin | None) -> Problem:
        """Say what names the file that this is about (``include``, ``env_file``), and return self to be raised."""
        if via is not None:
            for one in (self, *self.more):
                one.led_by = (*one.led_by, via)
        return self


def raise_all(problems: Sequence[Problem]) -> None:
    """Raise the first with the rest attached; nothing for no problems."""
    if problems:
        first = problems[0]
        first.more = tuple(problems[1:])
        raise first
