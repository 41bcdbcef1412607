"""``--chmod``: octal numbers, or chmod(1)'s symbolic form. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

Modes = Callable[[int, bool], int]
"""From the bits of something, and whether it is a directory, to its new bits."""

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}


def parse_modes(text: str) -> Modes:
    """What ``text`` makes of modes. Raises ValueError."""
    if re.fullmatch(r"[0-7]{1,5}", text) and int(text, 8) <= 0o7777:
        bits = int(text, 8)
        return lambda _, is_directory: bits
    clauses = []
    for part in text.split(","):
        match = _CLAUSE.fullmatch(part)
        if match is None:
            raise ValueError(
                f"invalid chmod parameter: {text!r}. it should be octal or symbolic, as u=rwX,go=rX"
            )
        who = "ugo" if not match[1] or "a" in match[1] else match[1]
        clauses += [(who, item[0], item[1:]) for item in re.findall(r"[-+=][rwxXstugo]*", match[2])]

    def changed(bits: int, is_directory: bool) -> int:
        for who, sign, letters in clauses:
            bits = _changed(bits, who, sign, letters, is_directory)
        return bits

    return changed


def _changed(bits: int, who: str, sign: str, letters: str, is_directory: bool) -> int:
    if letters in _SHIFTS:  # what those have already
        kept = bits >> _SHIFTS[letters] & 7
        letters = "".join(letter for letter, bit in (("r", 4), ("w", 2), ("x", 1)) if kept & bit)
    runs = "x" in letters or ("X" in letters and (is_directory or bool(bits & 0o111)))
    basic = (4 if "r" in letters else 0) | (2 if "w" in letters else 0) | (1 if runs else 0)
    mask = named = 0
    for one in who:
        mask |= 7 << _SHIFTS[one]
        named |= basic << _SHIFTS[one]
    special = (0o4000 if "s" in letters and "u" in who else 0) | (
        0o2000 if "s" in letters and "g" in who else 0
    )
    special |= 0o1000 if "t" in letters else 0
    if sign == "-":
        return bits & ~(named | special)
    return (bits & ~mask if sign == "=" else bits) | named | special
