"""Words of an instruction: quotes, escapes and variables (Dockerfile reference, "Environment replacement")."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]|[@*#?!$-]")


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """``text`` as one word: quotes and escapes removed, variables replaced. Raises ValueError."""
    return _until(text, 0, variables, escape, "")[0]


def split_words(text: str, escape: str = "\\") -> tuple[str, ...]:
    """The words between blanks, quotes and escapes still in them. Raises ValueError for an open quote."""
    words: list[str] = []
    current, quote, position = "", "", 0
    while position < len(text):
        character = text[position]
        if character == escape and quote != "'" and position + 1 < len(text):
            current += text[position : position + 2]
            position += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character.isspace():
            words += [current] if current else []
            current = ""
            position += 1
            continue
        current += character
        position += 1
    if quote:
        raise ValueError(f"unexpected end of statement while looking for matching {quote}")
    return (*words, current) if current else tuple(words)


def json_words(text: str) -> tuple[str, ...] | None:
    """The JSON form of an instruction; None when it is the shell form."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return tuple(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _until(text: str, position: int, variables: Mapping[str, str], escape: str, end: str) -> tuple[str, int]:
    """Process up to an unquoted ``end``; the result and the place behind it."""
    out: list[str] = []
    while position < len(text):
        character = text[position]
        if end and character == end:
            return "".join(out), position + 1
        if character == escape:
            if position + 1 < len(text):
                out.append(text[position + 1])
            position += 2
        elif character == "'":
            close = text.find("'", position + 1)
            if close < 0:
                raise ValueError("unexpected end of statement while looking for matching single-quote")
            out.append(text[position + 1 : close])
            position = close + 1
        elif character == '"':
            piece, position = _quoted(text, position + 1, variables, escape)
            out.append(piece)
        elif character == "$":
            piece, position = _variable(text, position + 1, variables, escape)
            out.append(piece)
        else:
            out.append(character)
            position += 1
    if end:
        raise ValueError(f"syntax error: missing '{end}'")
    return "".join(out), position


def _quoted(text: str, position: int, variables: Mapping[str, str], escape: str) -> tuple[str, int]:
    out: list[str] = []
    while position < len(text):
        character = text[position]
        if character == '"':
            return "".join(out), position + 1
        if character == "$":
            piece, position = _variable(text, position + 1, variables, escape)
            out.append(piece)
            continue
        if character == escape and text[position + 1 : position + 2] in ('"', "$", escape):
            position += 1
            character = text[position]
        out.append(character)
        position += 1
    raise ValueError("unexpected end of statement while looking for matching double-quote")


def _variable(text: str, position: int, variables: Mapping[str, str], escape: str) -> tuple[str, int]:
    if text[position : position + 1] != "{":
        match = _NAME.match(text, position)
        if match is None:
            return "$", position
        return variables.get(match[0], ""), match.end()
    match = _NAME.match(text, position + 1)
    if match is None:
        raise ValueError("bad substitution")
    name, position = match[0], match.end()
    value = variables.get(name)
    if text[position : position + 1] == "}":
        return value or "", position + 1
    operator = re.compile(r":?[-+?]|##?|%%?|//?").match(text, position)
    if operator is None:
        raise ValueError(f"unsupported modifier ({text[position : position + 1]}) in substitution")
    kind, position = operator[0], operator.end()
    if kind.startswith("/"):
        pattern, after = _until(text, position, variables, escape, "/")
        replacement, position = _until(text, after, variables, escape, "}")
        regex = re.compile(_pattern(pattern))
        return regex.sub(lambda _: replacement, value or "", count=1 if kind == "/" else 0), position
    word, position = _until(text, position, variables, escape, "}")
    is_set = bool(value) if kind.startswith(":") else value is not None
    match kind[-1]:
        case "-":
            return (value or "") if is_set else word, position
        case "+":
            return word if is_set else "", position
        case "?":
            if not is_set:
                raise ValueError(f"{name}: {word or 'not allowed to be unset'}")
            return value or "", position
    return _trimmed(value or "", word, kind), position


def _trimmed(value: str, pattern: str, kind: str) -> str:
    """Without the shortest (``#``, ``%``) or longest (``##``, ``%%``) match at the beginning or end."""
    regex = re.compile(_pattern(pattern))
    lengths = range(len(value) + 1)
    for length in reversed(lengths) if len(kind) == 2 else lengths:
        if kind[0] == "#" and regex.fullmatch(value[:length]):
            return value[length:]
        if kind[0] == "%" and regex.fullmatch(value[len(value) - length :]):
            return value[: len(value) - length]
    return value


def _pattern(glob: str) -> str:
    """A shell pattern (``*`` and ``?``) as a regular expression."""
    return fnmatch.translate(glob.replace("[", "[[]")).removesuffix("\\Z").removesuffix("\\z")
