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
    from _json import encode_basestring as _spelled
    from _json import encode_basestring_ascii as _quoted
    from _json import make_scanner as _make_scanner
except ImportError:  # a Python without the accelerator
    from json.encoder import encode_basestring as _spelled
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


def indented(value: object, step: int) -> str:
    """``value`` for people: a member a line, ``step`` spaces deeper at each level, letters as they are."""
    parts: list[str] = []
    _lay_out(value, "\n", " " * step, parts)
    return "".join(parts)


def _lay_out(value: object, line: str, step: str, parts: list[str]) -> None:
    """``line`` is an end of line and the indentation of what ``value`` stands in."""
    if isinstance(value, str):
        parts.append(_spelled(value))
    elif isinstance(value, dict) and value:
        before = "{"
        for key, item in value.items():
            parts.append(f"{before}{line}{step}{_spelled(str(key))}: ")
            _lay_out(item, line + step, step, parts)
            before = ","
        parts.append(line + "}")
    elif isinstance(value, list | tuple) and value:
        before = "["
        for item in value:
            parts.append(f"{before}{line}{step}")
            _lay_out(item, line + step, step, parts)
            before = ","
        parts.append(line + "]")
    else:
        _write(value, parts)


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
