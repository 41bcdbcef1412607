"""Plain YAML scalars as Compose reads them: YAML 1.2's core schema, with 1.1's octal, binary and underscores.

``yes``, ``no``, ``on`` and ``off`` stay strings.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

_WORDS: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
    ".inf": float("inf"), ".Inf": float("inf"), ".INF": float("inf"),
    "+.inf": float("inf"), "+.Inf": float("inf"), "+.INF": float("inf"),
    "-.inf": float("-inf"), "-.Inf": float("-inf"), "-.INF": float("-inf"),
}  # fmt: skip
_NUMERIC = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[1-9][0-9]*|0)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
    r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?)?\Z"
)
MAX_DIGITS = 400
_INFINITE = float("inf")


def plain_scalar(text: str) -> Any:
    """The value of a plain scalar; ``NotImplemented`` for a date."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC:
        return text
    if _DATE.match(text):
        return NotImplemented
    digits = text.replace("_", "")
    if len(digits) > MAX_DIGITS:
        return text
    if _INTEGER.match(digits):
        value = _integer(digits)
        return value if -(2**63) <= value < 2**64 else float(value)
    if _FLOAT.match(digits):
        number = float(digits)
        return text if number in (_INFINITE, -_INFINITE) else number
    return text


def _integer(digits: str) -> int:
    sign = -1 if digits[0] == "-" else 1
    body = digits.lstrip("+-")
    if len(body) > 1 and body[0] == "0":
        kind = body[1]
        if kind in "xX":
            return sign * int(body[2:], 16)
        if kind in "bB":
            return sign * int(body[2:], 2)
        return sign * int(body[2:] if kind in "oO" else body[1:], 8)
    return sign * int(body)


def tagged_scalar(tag: str, text: str) -> Any:
    """The value under an explicit tag; ``NotImplemented`` when the text is none of it. Unknown tags are ignored."""
    if not tag.startswith("tag:yaml.org,2002:"):
        return text
    kind = tag[len("tag:yaml.org,2002:") :]
    if kind == "binary":
        try:
            return base64.b64decode(text, validate=False).decode("utf-8")
        except (binascii.Error, ValueError):
            return NotImplemented
    if kind not in ("int", "float", "bool", "null"):
        return text
    value = plain_scalar(text)
    if kind == "float" and type(value) is int:
        return float(value)
    wanted = {"int": int, "float": float, "bool": bool, "null": type(None)}[kind]
    return value if type(value) is wanted else NotImplemented
