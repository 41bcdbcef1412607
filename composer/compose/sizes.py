"""Sizes in bytes as Compose writes them: ``512m``, ``1.5GiB``, always powers of 1024."""

from __future__ import annotations

import re

from composer.compose.quantities import Size

_SIZE = re.compile(
    r"((?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?) ?([bkmgtp]|[kmgtp]i?b)?\Z",
    re.IGNORECASE,
)
_POWERS = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_LARGEST = 2**63 - 1
_LONGEST = 100
"""Characters; more is no size that anybody wrote."""


def parse_size(text: str) -> Size:
    """Bytes. Raises ValueError.

    >>> parse_size("1.5g")
    1610612736
    """
    if len(text) > _LONGEST:
        raise ValueError(f"invalid size {text[:_LONGEST]!r}…")
    if text.isascii() and text.isdigit():
        return _bounded(int(text), text)
    found = _SIZE.match(text)
    if found is None:
        raise ValueError(f"invalid size {text!r}, 512m and 1.5g would be some")
    factor = 1024 ** _POWERS[found[2][0].lower()] if found[2] else 1
    if found[1].isdigit():
        return _bounded(int(found[1]) * factor, text)
    number = float(found[1])
    if number > _LARGEST:
        raise ValueError(f"the size {text!r} is too large")
    return _bounded(int(number * factor), text)


def _bounded(value: int, text: str) -> Size:
    if value > _LARGEST:
        raise ValueError(f"the size {text!r} is too large")
    return Size(value)
