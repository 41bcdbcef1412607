"""The order in which Compose prints the keys of a YAML mapping: runs of digits count as numbers, and what is no letter
comes before letters, unless a number has just ended (``a1`` < ``a2`` < ``a10``, ``DB_HOST`` < ``DBX``)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cmp_to_key
from typing import Any

_SIMPLE = re.compile(r"[a-z._\-/]*\Z")
"""Keys for which code points give the same order."""


def in_order(keys: Iterable[Any]) -> list[Any]:
    """The keys, sorted; what is no text counts as its text.

    >>> in_order(["s10", "s9", "s", "sa"])
    ['s', 's9', 's10', 'sa']
    """
    found = list(keys)
    if len(found) > 1:
        texts = [str(key) for key in found]
        if all(map(_SIMPLE.match, texts)):
            found.sort(key=str)
        else:
            found.sort(key=lambda key: _KEY(str(key)))
    return found


def compare(a: str, b: str) -> int:
    """Negative, 0 or positive, as ``a`` is before, equal to or behind ``b``."""
    after_digit = False
    for i, (one, other) in enumerate(zip(a, b, strict=False)):
        if one == other:
            after_digit = one.isdigit()
            continue
        if one.isalpha() and other.isalpha():
            return -1 if one < other else 1
        if one.isalpha() or other.isalpha():
            return -1 if one.isalpha() == after_digit else 1
        return _compare_numbers(a, b, i)
    return len(a) - len(b)


def _compare_numbers(a: str, b: str, start: int) -> int:
    """Two texts that differ at ``start``, where neither has a letter."""
    lead = 0
    if a[start] == "0" or b[start] == "0":
        # A zero inside a number that has begun before: it counts, unlike one that leads.
        before = start - 1
        while before >= 0 and a[before].isdigit():
            if a[before] != "0":
                lead = 1
                break
            before -= 1
    number, end = _number(a, start, lead)
    other, other_end = _number(b, start, lead)
    if number != other:
        return -1 if number < other else 1
    if end != other_end:
        return end - other_end
    return -1 if a[start] < b[start] else 1


def _number(text: str, start: int, lead: int) -> tuple[int, int]:
    end = start
    value = lead
    while end < len(text) and text[end].isdigit():
        value = value * 10 + (ord(text[end]) - ord("0"))
        end += 1
    return value, end


_KEY = cmp_to_key(compare)
