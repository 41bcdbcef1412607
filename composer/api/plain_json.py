"""JSON for the command line, where every import is on the user's clock.

``import json`` brings ``re`` and ``enum`` with it, more than half of what a short command may take.
CPython's accelerator ``_json`` has the scanner and the string encoder without them; where it is missing,
``json`` itself serves.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

try:
    from _json import encode_basestring_ascii as _quoted
    from _json import make_scanner as _make_scanner
except ImportError:  # a Python without the accelerator
    from json.encoder import encode_basestring_ascii as _quoted

    _make_scanner = None  # type: ignore[assignment,misc]


class _Context:
    """What the scanner asks of a ``JSONDecoder``: the standard's defaults."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: Mapping[str, str] = {}


def loads(text: str | bytes) -> Any:
    """The value of a JSON document. Raises ``ValueError`` for anything else."""
    if isinstance(text, bytes):
        text = text.decode()
    if _make_scanner is None:
        import json

        return json.loads(text)
    start = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        value, end = _make_scanner(_Context)(text, start)  # type: ignore[arg-type]
    except StopIteration as stop:
        raise ValueError(f"JSON expected at character {stop.value}") from None
    if text[end:].strip(" \t\r\n"):
        raise ValueError(f"unexpected text behind the JSON value at character {end}")
    return value


def dumps(value: object) -> bytes:
    """``value`` (None, bool, int, float, str, and lists, tuples and dicts of them) as compact JSON."""
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts).encode()


def _write(value: object, parts: list[str]) -> None:
    if isinstance(value, str):
        parts.append(_quoted(value))
    elif value is None:
        parts.append("null")
    elif value is True:
        parts.append("true")
    elif value is False:
        parts.append("false")
    elif isinstance(value, int | float):
        parts.append(repr(value))
    elif isinstance(value, dict):
        parts.append("{")
        for index, (key, item) in enumerate(value.items()):
            parts.append(("," if index else "") + _quoted(str(key)) + ":")
            _write(item, parts)
        parts.append("}")
    elif isinstance(value, list | tuple):
        parts.append("[")
        for index, item in enumerate(value):
            if index:
                parts.append(",")
            _write(item, parts)
        parts.append("]")
    else:
        raise TypeError(f"{type(value).__name__} has no JSON form")
