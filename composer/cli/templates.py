"""Go templates, as far as ``--format`` of Docker's commands uses them: fields, ``json``, string functions, pipes,
``if``/``else``/``end``, ``range``, ``with``, comparisons, ``index``, ``len``, ``printf`` and variables' dots.

Source: pkg.go.dev/text/template, and the functions in Docker's "Format command and log output".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|[|()]|[^\s|()"]+')
_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\\\": "\\"}


def unescape(text: str) -> str:
    """``\\t`` and ``\\n`` as people write them in shells."""
    return re.sub(r"\\[tn\\]", lambda match: _ESCAPES[match.group()], text)


class TemplateError(ValueError):
    """What is no template, or asks for a field that is not there."""


class Template:
    """A parsed template. Raises TemplateError."""

    def __init__(self, text: str) -> None:
        self._nodes, rest = _parse(_split(text), 0, ())
        if rest != len(_split(text)):
            raise TemplateError("template: unexpected {{end}}")

    def render(self, data: Any, *, titles: bool = False) -> str:
        """The text for ``data``; with ``titles`` functions leave their argument as it is, for a table's header."""
        return _render(self._nodes, data, data, titles)


Node = Any


def _split(text: str) -> list[tuple[str, str]]:
    """("text", …) and ("do", …) in turn."""
    parts: list[tuple[str, str]] = []
    position = 0
    for match in _ACTION.finditer(text):
        before = text[position : match.start()]
        if match.group().startswith("{{-"):
            before = before.rstrip()
        if before:
            parts.append(("text", before))
        parts.append(("do", match.group(1)))
        position = match.end()
        if match.group().endswith("-}}"):
            position += len(text[position:]) - len(text[position:].lstrip())
    rest = text[position:]
    if "{{" in rest:
        raise TemplateError("template: unclosed action")
    if rest:
        parts.append(("text", rest))
    return parts


def _parse(parts: list[tuple[str, str]], at: int, ends: tuple[str, ...]) -> tuple[list[Node], int]:
    nodes: list[Node] = []
    while at < len(parts):
        kind, text = parts[at]
        at += 1
        if kind == "text":
            nodes.append(text)
            continue
        word, _, rest = text.partition(" ")
        if word.startswith("/*"):
            continue
        if word in ends or (word == "else" and "else" in ends):
            return nodes, at - 1
        if word in ("if", "range", "with"):
            body, at = _parse(parts, at, ("end", "else"))
            other: list[Node] = []
            if at < len(parts) and parts[at][1].startswith("else"):
                if parts[at][1] != "else":
                    parts[at] = ("do", parts[at][1].removeprefix("else "))
                    other, at = _parse([*parts[:at], *parts[at:]], at, ("end",))
                else:
                    other, at = _parse(parts, at + 1, ("end",))
            if at >= len(parts) or parts[at][1] != "end":
                raise TemplateError(f"template: {{{{{word}}}}} without {{{{end}}}}")
            at += 1
            nodes.append((word, _pipeline(rest), body, other))
            continue
        if word in ("end", "else"):
            raise TemplateError(f"template: unexpected {{{{{word}}}}}")
        nodes.append(("show", _pipeline(text)))
    if ends:
        raise TemplateError("template: {{end}} is missing")
    return nodes, at


def _pipeline(text: str) -> list[list[Any]]:
    """Commands between pipes; each a list of words, a list within being what parentheses hold."""
    tokens = _TOKEN.findall(text)
    if not tokens:
        raise TemplateError("template: missing value for command")
    commands, position = _commands(tokens, 0)
    if position != len(tokens):
        raise TemplateError(f"template: unexpected {tokens[position]!r}")
    return commands


def _commands(tokens: list[str], at: int) -> tuple[list[list[Any]], int]:
    commands: list[list[Any]] = [[]]
    while at < len(tokens) and tokens[at] != ")":
        token = tokens[at]
        at += 1
        if token == "|":
            commands.append([])
        elif token == "(":
            inner, at = _commands(tokens, at)
            if at >= len(tokens):
                raise TemplateError("template: unclosed parenthesis")
            at += 1
            commands[-1].append(inner)
        else:
            commands[-1].append(token)
    if not all(commands):
        raise TemplateError("template: missing value for command")
    return commands, at


def _render(nodes: list[Node], data: Any, root: Any, titles: bool) -> str:
    out = []
    for node in nodes:
        if isinstance(node, str):
            out.append(node)
            continue
        kind, pipeline = node[0], node[1]
        value = _evaluate(pipeline, data, root, titles)
        if kind == "show":
            out.append(_shown(value))
        elif kind == "if":
            out.append(_render(node[2] if _truth(value) else node[3], data, root, titles))
        elif kind == "with":
            out.append(
                _render(node[2], value, root, titles)
                if _truth(value)
                else _render(node[3], data, root, titles)
            )
        else:
            items = list(value.values()) if isinstance(value, Mapping) else list(value or ())
            if not items:
                out.append(_render(node[3], data, root, titles))
            out.extend(_render(node[2], item, root, titles) for item in items)
    return "".join(out)


def _evaluate(commands: list[list[Any]], data: Any, root: Any, titles: bool) -> Any:
    result: Any = None
    for position, command in enumerate(commands):
        words = [_word(word, data, root, titles) if i else word for i, word in enumerate(command)]
        extra = [result] if position else []
        head = command[0]
        if isinstance(head, str) and head in _FUNCTIONS:
            arguments = [*words[1:], *extra]
            result = arguments[-1] if titles and arguments else _call(head, arguments)
        else:
            result = _word(head, data, root, titles)
            if len(words) > 1 or extra:
                raise TemplateError(f"template: {head} is not a function")
    return result


def _word(word: Any, data: Any, root: Any, titles: bool) -> Any:
    if isinstance(word, list):
        return _evaluate(word, data, root, titles)
    if word[0] in '"`':
        return unescape(word[1:-1]).replace('\\"', '"')
    if word in (".", "$"):
        return data if word == "." else root
    if word.startswith(("$.", ".")):
        return _field(root if word[0] == "$" else data, word.lstrip("$").lstrip(".").split("."))
    if word in ("true", "false"):
        return word == "true"
    if word == "nil":
        return None
    try:
        return int(word)
    except ValueError:
        pass
    if word in _FUNCTIONS:
        return _call(word, [])
    raise TemplateError(f'template: function "{word}" not defined')


def _field(value: Any, names: list[str]) -> Any:
    for name in names:
        if isinstance(value, Mapping):
            if name not in value:
                found = next((key for key in value if str(key).lower() == name.lower()), None)
                if found is None:
                    raise TemplateError(
                        f"template: can't evaluate field {name}; there are {', '.join(map(str, value))}"
                    )
                name = found
            value = value[name]
        else:
            raise TemplateError(f"template: can't evaluate field {name}")
    return value


def _call(name: str, arguments: list[Any]) -> Any:
    try:
        return _FUNCTIONS[name](*arguments)
    except TemplateError:
        raise
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise TemplateError(f"template: error calling {name}: {error}") from None


def _json(value: Any) -> str:
    from composer.api.plain_json import dumps

    return dumps(value).decode()


def _printf(text: str, *arguments: Any) -> str:
    return re.sub(r"%(-?\d*)v", r"%\1s", text) % arguments


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key, "") if isinstance(value, Mapping) else value[key]
    return value


def _compare(test: str) -> Any:
    tests = {
        "eq": lambda a, *b: any(a == other for other in b),
        "ne": lambda a, b: a != b,
        "lt": lambda a, b: a < b,
        "le": lambda a, b: a <= b,
        "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b,
    }
    return tests[test]


_FUNCTIONS: dict[str, Any] = {
    "json": _json,
    "upper": lambda text: str(text).upper(),
    "lower": lambda text: str(text).lower(),
    "title": lambda text: str(text).title(),
    "join": lambda items, separator: str(separator).join(map(str, items)),
    "split": lambda text, separator: str(text).split(separator),
    "println": lambda *items: " ".join(map(_plain, items)) + "\n",
    "print": lambda *items: "".join(map(_plain, items)),
    "printf": _printf,
    "pad": lambda text, left, right: " " * left + str(text) + " " * right,
    "truncate": lambda text, length: str(text)[:length],
    "len": len,
    "index": _index,
    "not": lambda value: not _truth(value),
    "and": lambda *values: next((v for v in values if not _truth(v)), values[-1]),
    "or": lambda *values: next((v for v in values if _truth(v)), values[-1]),
    "slice": lambda text, *bounds: text[slice(*bounds)],
    **{name: _compare(name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
}


def _truth(value: Any) -> bool:
    return bool(value)


def _plain(value: Any) -> str:
    return _shown(value)


def _shown(value: Any) -> str:
    """As Go prints values."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{_shown(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(_shown, value)) + "]"
    return str(value)
