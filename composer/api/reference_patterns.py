"""Docker's ``reference`` filter: globs over the names of images. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from runtime.errors import InvalidArgument
from runtime.image.model import Image


def with_names(image: Image, patterns: Sequence[str]) -> Image:
    """An image with those of its names only that match one of the patterns. Raises InvalidArgument."""

    def chosen(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in names if any(matches_reference(name, text) for text in patterns))

    return replace(image, tags=chosen(image.tags), digests=chosen(image.digests))


def matches_reference(name: str, pattern: str) -> bool:
    """Whether a pattern stands for a whole tag or digest, or for its repository alone. Raises InvalidArgument."""
    bare = name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
    expression = _translated(pattern)
    return bool(expression.fullmatch(name) or expression.fullmatch(bare))


@lru_cache(maxsize=16)
def _translated(pattern: str) -> re.Pattern[str]:
    """A glob of Go's ``path.Match`` (https://pkg.go.dev/path#Match): no wildcard stands for a slash."""
    found, position = "", 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            found += "[^/]*"
        elif char == "?":
            found += "[^/]"
        elif char == "[":
            text, position = _class(pattern, position)
            found += text
        else:
            if char == "\\":
                char, position = _literal(pattern, position - 1)
            found += re.escape(char)
    return re.compile(found, re.DOTALL)


def _class(pattern: str, position: int) -> tuple[str, int]:
    """A character class that begins after its bracket, and where the pattern goes on."""
    is_negated = pattern[position : position + 1] == "^"
    position += is_negated
    ranges = ""
    while pattern[position : position + 1] != "]" or not ranges:
        low, position = _bound(pattern, position)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _bound(pattern, position + 1)
        if low <= high:
            ranges += f"{re.escape(low)}-{re.escape(high)}"
        else:
            ranges += "\0-\0"
    return f"[{'^' if is_negated else ''}{ranges}]", position + 1


def _bound(pattern: str, position: int) -> tuple[str, int]:
    if position >= len(pattern) or pattern[position] in "-]":
        raise InvalidArgument("syntax error in pattern")
    return _literal(pattern, position)


def _literal(pattern: str, position: int) -> tuple[str, int]:
    """A character, with a backslash before it the next one."""
    if pattern[position] == "\\":
        position += 1
    if position >= len(pattern):
        raise InvalidArgument("syntax error in pattern")
    return pattern[position], position + 1
