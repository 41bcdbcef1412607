"""The functions of Go templates, and Docker's own.

Source: pkg.go.dev/text/template, and Docker's "Format command and log output".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

from composer.cli.output.template_values import (
    MISSING,
    Failure,
    GoMap,
    Nil,
    is_true,
    shown,
    sprintf,
    type_name,
)


def _print(*values: Any) -> str:
    """fmt.Sprint: spaces where neither neighbour is a string."""
    out = ""
    for i, value in enumerate(values):
        if i and not isinstance(value, str) and not isinstance(values[i - 1], str):
            out += " "
        out += shown(value)
    return out


def _json(value: Any) -> str:
    from composer.api.plain_json import dumps

    return dumps(_plain(value)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Nil):
        return None
    if isinstance(value, Mapping):
        members = sorted(value.items()) if isinstance(value, GoMap) else value.items()
        return {key: _plain(item) for key, item in members if not callable(item)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, "" if all(isinstance(v, str) for v in value.values()) else Nil("[]"))
        elif isinstance(value, Nil):
            if value.text == "map[]":
                return MISSING
            raise Failure("index of untyped nil" if value.text != "[]" else f"index out of range: {key}")
        elif not isinstance(key, int):
            raise Failure(f"cannot index slice/array with type {type_name(key)}")
        elif not 0 <= key < len(value):
            raise Failure(f"index out of range: {key}")
        else:
            value = value[key] if not isinstance(value, str) else ord(value[key])
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    """``slice x 1 2`` is Go's x[1:2], ``slice x 1`` its x[1:]; of three bounds the last is a capacity."""
    if not isinstance(value, str | list | tuple):
        if isinstance(value, Nil):
            raise Failure("slice of untyped nil")
        raise Failure(f"can't slice item of type {type_name(value)}")
    if len(bounds) > 3:
        raise Failure(f"too many slice indexes: {len(bounds)}")
    if isinstance(value, str) and len(bounds) == 3:
        raise Failure("cannot 3-index slice a string")
    whole = value.encode() if isinstance(value, str) else value
    for bound in bounds:
        if isinstance(bound, bool) or not isinstance(bound, int):
            raise Failure(f"cannot index slice/array with type {type_name(bound)}")
        if not 0 <= bound <= len(whole):
            raise Failure(f"index out of range: {bound}")
    for low, high in itertools.pairwise(bounds):
        if low > high:
            raise Failure(f"invalid slice index: {low} > {high}")
    part = whole[bounds[0] if bounds else 0 : bounds[1] if len(bounds) > 1 else None]
    return part.decode(errors="replace") if isinstance(part, bytes) else part


def _length(value: Any) -> int:
    if isinstance(value, int | float):
        raise Failure(f"len of type {type_name(value)}")
    return len(value.encode()) if isinstance(value, str) else len(value)


def _kind(value: Any) -> str:
    return (
        "nil"
        if isinstance(value, Nil)
        else "number"
        if type_name(value) in ("int", "float64")
        else type_name(value)
    )


def _equal(value: Any, *others: Any) -> bool:
    if not others:
        raise Failure("missing argument for comparison")
    for other in others:
        if isinstance(value, Nil) or isinstance(other, Nil):
            if isinstance(value, Nil) and isinstance(other, Nil):
                return True
            continue
        if _kind(value) != _kind(other):
            raise Failure("incompatible types for comparison")
        if value == other:
            return True
    return False


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(one: Any, other: Any) -> bool:
        if _kind(one) != _kind(other):
            raise Failure("incompatible types for comparison")
        return test(one, other)

    return compare


def _escaper(table: Mapping[str, str]) -> Callable[..., str]:
    characters = str.maketrans(dict(table))
    return lambda *values: _print(*values).translate(characters)


def _urlquery(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_print(*values), safe="-_.~")


def _call(function: Any, *arguments: Any) -> Any:
    if not callable(function):
        raise Failure(f"non-function of type {type_name(function)}")
    return function(*arguments)


def _truncate(text: Any, length: int) -> str:
    return str(text)[:length]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": _json,
    "upper": lambda text: str(text).upper(),
    "lower": lambda text: str(text).lower(),
    "title": lambda text: re.sub(r"(^|\s)(\S)", lambda m: m[1] + m[2].upper(), str(text)),
    "join": lambda items, separator: separator.join(map(shown, items or ())),
    "split": lambda text, separator: str(text).split(separator) if separator else list(text),
    "pad": lambda text, left, right: " " * left + text + " " * right if text else text,
    "truncate": _truncate,
    "print": _print,
    "printf": sprintf,
    "println": lambda *items: " ".join(map(shown, items)) + "\n",
    "len": _length,
    "index": _index,
    "slice": _slice,
    "call": _call,
    "and": lambda *values: values[-1],
    "or": lambda *values: values[-1],
    "not": lambda value: not is_true(value),
    "eq": _equal,
    "ne": lambda one, other: not _equal(one, other),
    "lt": _ordered(lambda a, b: a < b),
    "le": _ordered(lambda a, b: a <= b),
    "gt": _ordered(lambda a, b: a > b),
    "ge": _ordered(lambda a, b: a >= b),
    "html": _escaper({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"}),
    "js": _escaper({"\\": "\\\\", "'": "\\'", '"': '\\"', **{c: f"\\u{ord(c):04X}" for c in "<>&="}}),
    "urlquery": _urlquery,
}  # fmt: skip
