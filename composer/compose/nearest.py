"""The nearest known name to one that is wrong."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name at the smallest edit distance, "" when none is near enough to be meant."""
    best, distance = "", max(1, min(len(name), 64) // 3) + 1
    for candidate in known:
        if abs(len(candidate) - len(name)) >= distance:
            continue
        found = edit_distance(name.lower(), candidate.lower(), distance)
        if found < distance:
            best, distance = candidate, found
    return best


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
