"""YAML as Compose prints it: block style, two spaces, strings quoted where another reader could take them for
something else."""

from __future__ import annotations

import re
from typing import Any

from composer.compose.decoders import float_text
from composer.compose.yaml_scalars import plain_scalar

_OLD_BOOLEANS = frozenset("y Y yes Yes YES on On ON n N no No NO off Off OFF".split())
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_SAFE = re.compile(r"[A-Za-z/$_][A-Za-z0-9/$_.,=+-]*\Z")
_FIRST = frozenset("#,[]{}&*!|>'\"%@`")
_ESCAPES = {
    "\0": "\\0", "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r",
    "\x1b": "\\e", '"': '\\"', "\\": "\\\\", "\x85": "\\N", "\xa0": "\\_", "\u2028": "\\L", "\u2029": "\\P",
}  # fmt: skip
_BREAKS = "\n\r\x85\u2028\u2029"


def to_yaml(value: Any) -> str:
    """The document, with a line end at its end."""
    lines: list[str] = []
    if isinstance(value, dict) and value:
        _mapping(value, "", lines)
    elif isinstance(value, list) and value:
        _sequence(value, "", lines)
    else:
        lines.append(_scalar(value, ""))
    return "\n".join(lines) + "\n"


def _mapping(value: dict[str, Any], indent: str, lines: list[str], first: str | None = None) -> None:
    """``first``: what stands before the first key in place of the indent."""
    for key, inner in value.items():
        start = f"{indent if first is None else first}{_text(str(key), None)}:"
        first = None
        if isinstance(inner, dict) and inner:
            lines.append(start)
            _mapping(inner, indent + "  ", lines)
        elif isinstance(inner, list) and inner:
            lines.append(start)
            _sequence(inner, indent + "  ", lines)
        else:
            lines.append(f"{start} {_scalar(inner, indent + '  ')}")


def _sequence(value: list[Any], indent: str, lines: list[str], first: str | None = None) -> None:
    for inner in value:
        start = f"{indent if first is None else first}- "
        first = None
        if isinstance(inner, dict) and inner:
            _mapping(inner, indent + "  ", lines, start)
        elif isinstance(inner, list) and inner:
            _sequence(inner, indent + "  ", lines, start)
        else:
            lines.append(start + _scalar(inner, indent + "  "))


def _scalar(value: Any, indent: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value, indent)
    if isinstance(value, dict | list):
        return "{}" if isinstance(value, dict) else "[]"
    if isinstance(value, float):
        return _float(value)
    return str(int(value))


def _float(value: float) -> str:
    if value != value:
        return ".nan"
    if value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    return float_text(value)


def _text(text: str, indent: str | None) -> str:
    """A string; ``indent`` None: a key, which is on one line."""
    if _SAFE.match(text) and text not in _OLD_BOOLEANS and isinstance(plain_scalar(text), str):
        return text
    if text == "<<":
        return '"<<"' if indent is None else text
    if "\n" in text and indent is not None and _can_be_block(text):
        return _block(text, indent)
    if "\n" not in text and (
        not isinstance(plain_scalar(text), str) or text in _OLD_BOOLEANS or _BASE_60.match(text)
    ):
        return _double(text)
    if _is_special(text):
        return _double(text)
    return text if _can_be_plain(text) else "'" + text.replace("'", "''") + "'"


def _is_special(text: str) -> bool:
    """Characters that need escapes, or spaces beside line breaks."""
    return any(char in _BREAKS or char == "\t" or not _is_printable(char) for char in text)


def _is_printable(char: str) -> bool:
    code = ord(char)
    return 0x20 <= code <= 0x7E or (0xA0 <= code <= 0xFFFD and not 0xD800 <= code < 0xE000 and code != 0xFEFF)


def _can_be_plain(text: str) -> bool:
    if not text or text[0] in _FIRST or text[0] == " " or text[-1] == " ":
        return False
    if text.startswith(("---", "...")):
        return False
    if text[0] in "-?:" and (len(text) == 1 or text[1] == " "):
        return False
    return ": " not in text and " #" not in text and not text.endswith(":")


def _can_be_block(text: str) -> bool:
    if text.endswith(" ") or " \n" in text or text.startswith("\t") or "\n\t" in text:
        return False
    return all(char == "\n" or char == "\t" or (_is_printable(char) and char not in _BREAKS) for char in text)


def _block(text: str, indent: str) -> str:
    hint = "2" if text[0] in " \n" else ""
    chomp = "-" if not text.endswith("\n") else "+" if text == "\n" or text.endswith("\n\n") else ""
    body = text[:-1] if text.endswith("\n") else text
    lines = [f"|{hint}{chomp}"]
    lines.extend(indent + line if line else "" for line in body.split("\n"))
    return "\n".join(lines)


def _double(text: str) -> str:
    shown = []
    for char in text:
        if char in _ESCAPES:
            shown.append(_ESCAPES[char])
        elif _is_printable(char):
            shown.append(char)
        else:
            code = ord(char)
            shown.append(
                f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
            )
    return '"' + "".join(shown) + '"'
