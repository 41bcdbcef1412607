"""The known name that one which is wrong was probably meant to be: the one rule for every hint. Pure.

Standard library only: containers' inits have it with them.
"""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 64
_SHORTEST_BEGINNING = 3
_BEGINS = 1000
"""How far from a name one is that only begins with it: farther than any slip."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The likest of the known names, the first of several; "" when none can have been meant."""
    best, distance = "", None
    for candidate in known:
        found = distance_if_near(name, candidate)
        if found is not None and (distance is None or found < distance):
            best, distance = candidate, found
    return best


def distance_if_near(name: str, other: str) -> int | None:
    """How far ``other`` is from ``name``; None when ``name`` cannot have been meant to be it.

    Near is a slip of the fingers, one for each three characters (with more than one, the first character is right),
    and what begins with the whole of ``name``.
    """
    one, two = name.lower(), other.lower()
    slips = max(1, min(len(one), _LONGEST) // 3) if len(one) > 1 else 0
    if abs(len(one) - len(two)) <= slips:
        found = edit_distance(one, two, slips + 1)
        if found <= min(slips, 1) or (found <= slips and one[:1] == two[:1]):
            return found
    if len(one) >= _SHORTEST_BEGINNING and two.startswith(one):
        return _BEGINS + len(two) - len(one)
    return None


def edit_distance(a: str, b: str, limit: int) -> int:
    """Insertions, deletions, replacements and swaps of neighbours (optimal string alignment); ``limit`` for
    anything that is not less."""
    older: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i, *[0] * len(b)]
        for j, y in enumerate(b, 1):
            row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                row[j] = min(row[j], older[j - 2] + 1)
        if min(row) >= limit:
            return limit
        older, last = last, row
    return last[-1]
