"""More mistakes of the same files: what is known to be wrong is left out, and the rest is looked at again.

Each stage tells all that it finds, but a stage that found something ends the load. So that one run shows what has to be
mended, later stages see the files without what earlier ones refused. Relations between services are not looked at then:
what was left out would be missed everywhere. Only a load that has failed pays for it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from composer.compose.trace import Key, Origin

ROUNDS = 5
"""How often it is tried again; each round finds all that one stage has to say."""
Place = tuple[str, int, int]
"""File, line and column."""


def leave_out(tree: Any, places: Collection[Place]) -> bool:
    """Remove keys and items written at ``places`` from a traced tree, in place; whether there were any.

    The innermost counts: a mapping in block style begins where its first key does.
    """
    found = False
    if isinstance(tree, dict):
        for key in list(tree):
            if leave_out(tree[key], places):
                found = True
            elif isinstance(key, Key) and (_place(key.at) in places or _place(key.value_at) in places):
                del tree[key]
                found = True
    elif isinstance(tree, list):
        for index in range(len(tree) - 1, -1, -1):
            if leave_out(tree[index], places):
                found = True
            elif _place(getattr(tree[index], "at", None)) in places:
                del tree[index]
                found = True
    return found


def _place(origin: Origin | None) -> Place | None:
    return (origin.file, origin.line, origin.column) if origin is not None else None
