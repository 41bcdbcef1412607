"""The nearest name to one that does not exist."""

from __future__ import annotations

from collections.abc import Sequence


def distance(left: str, right: str) -> int:
    """Edits (insert, delete, replace, swap neighbours) between two words: optimal string alignment."""
    rows = [list(range(len(right) + 1))]
    for i, a in enumerate(left, 1):
        row = [i]
        for j, b in enumerate(right, 1):
            cost = min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, rows[i - 2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


def nearest(name: str, known: Sequence[str]) -> str:
    """The known name that ``name`` was probably meant to be, or ""."""
    best, best_distance = "", 1 + max(1, len(name) // 3)
    for candidate in known:
        edits = distance(name.lower(), candidate.lower())
        if edits < best_distance:
            best, best_distance = candidate, edits
    if not best and len(name) >= 3:
        best = next((candidate for candidate in known if candidate.startswith(name)), "")
    return best
