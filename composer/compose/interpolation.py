"""Variables in values: the grammar of the Compose Specification's chapter on interpolation.

``$NAME``, ``${NAME}``, ``${NAME:-default}``, ``-``, ``:?``, ``?``, ``:+``, ``+``, nested, ``$$`` for a dollar sign.
As in Docker Compose a default is evaluated whether it is needed or not, a ``$`` in front of anything else stays as it
is, and keys are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from composer.compose.problem import Problem
from composer.compose.trace import Key, Path, like, taking

NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_BRACE = re.compile(r"[{}]")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
MAX_NESTED = 100


class Malformed(ValueError):
    """A value that is not of the grammar."""


class Required(ValueError):
    """``${NAME:?message}`` whose condition does not hold."""


@dataclass
class Variables:
    """Values of variables, and what was asked for: names that are not set, and the names that took part."""

    values: Mapping[str, str]
    unset: dict[str, None] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        self.used[name] = None
        return self.values.get(name)

    def warnings(self) -> list[str]:
        """Docker Compose's sentence for each name that is not set."""
        return [f'The "{name}" variable is not set. Defaulting to a blank string.' for name in self.unset]


def interpolate(tree: Any, variables: Variables) -> Any:
    """``tree`` with variables replaced in all values, in place where it is a mapping or a list.

    Raises :class:`Problem` with the path of a value that is malformed or lacks a required variable.
    """
    return _walk(tree, (), variables)


def _walk(value: Any, path: Path, variables: Variables) -> Any:
    if isinstance(value, str):
        if "$" not in value:
            return value
        try:
            if not hasattr(value, "at"):
                return substitute(value, variables)
            return _traced(value, variables)
        except Required as error:
            raise Problem(f"required variable {error}", path) from None
        except Malformed as error:
            raise Problem(
                f'invalid interpolation format: "{value}"{_explained(error)}',
                path,
                hint="write $$ for a dollar sign that is none of a variable",
            ) from None
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str):
                if "$" in inner:
                    value[key] = made = _walk(inner, (*path, key), variables)
                    if isinstance(key, Key):
                        key.value_at = getattr(made, "at", key.value_at)
            elif isinstance(inner, dict | list):
                _walk(inner, (*path, key), variables)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if isinstance(inner, str):
                if "$" in inner:
                    value[index] = _walk(inner, (*path, index), variables)
            elif isinstance(inner, dict | list):
                _walk(inner, (*path, index), variables)
    return value


def _traced(value: Any, variables: Variables) -> Any:
    """One value that has a place, with the variables that took part in it."""
    before, variables.used = variables.used, {}
    try:
        return taking(like(value, substitute(value, variables)), variables.used, variables.values)
    finally:
        variables.used = {**before, **variables.used}


def _explained(error: Malformed) -> str:
    return f": {error}" if str(error) else ""


def substitute(text: str, variables: Variables) -> str:
    """One value. Raises :class:`Malformed`, :class:`Required`."""
    return _substitute(text, variables, 0)


def _substitute(text: str, variables: Variables, depth: int) -> str:
    if depth > MAX_NESTED:
        raise Malformed("nested too deeply")
    parts: list[str] = []
    position = 0
    while True:
        dollar = text.find("$", position)
        if dollar < 0:
            parts.append(text[position:])
            return "".join(parts)
        parts.append(text[position:dollar])
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            parts.append("$")
            position = dollar + 2
        elif following == "{":
            end = closing_brace(text, dollar + 1)
            parts.append(_braced(text[dollar + 2 : end], variables, depth))
            position = end + 1
        elif name := NAME.match(text, dollar + 1):
            parts.append(_plain(name.group(), variables))
            position = name.end()
        else:
            parts.append("$")
            position = dollar + 1


def closing_brace(text: str, opening: int) -> int:
    """Where the expression whose ``{`` is at ``opening`` ends.

    All braces of its line count, so that a default may be JSON, but not one right behind an opening one. When they
    do not come out even, it is the last of the line. Raises :class:`Malformed` when there is none.
    """
    plain = NAME.match(text, opening + 1)
    if plain is not None and text.startswith("}", plain.end()):
        return plain.end()
    depth = last = 0
    skipped = -1
    newline = text.find("\n", opening)
    for found in _BRACE.finditer(text, opening, len(text) if newline < 0 else newline):
        position = found.start()
        if found.group() == "}":
            last = position
        if position == skipped:
            continue
        if found.group() == "{":
            depth += 1
            if depth > MAX_NESTED:
                raise Malformed("nested too deeply")
            skipped = position + 1
            continue
        depth -= 1
        if not depth:
            return position
    if not last:
        raise Malformed("a brace is not closed" + (" on its line" if newline >= 0 else ""))
    return last


def _plain(name: str, variables: Variables) -> str:
    value = variables.get(name)
    if value is None:
        variables.unset[name] = None
        return ""
    return value


def _braced(expression: str, variables: Variables, depth: int) -> str:
    found = NAME.match(expression)
    if found is None:
        raise Malformed("there is no name")
    name, rest = found.group(), expression[found.end() :]
    if not rest:
        return _plain(name, variables)
    operator = next((o for o in _OPERATORS if rest.startswith(o)), None)
    if operator is None:
        raise Malformed(f"{rest[0]!r} behind the name {name}")
    operand = _substitute(rest[len(operator) :], variables, depth + 1)
    value = variables.get(name)
    is_there = value is not None and (value != "" or not operator.startswith(":"))
    match operator[-1]:
        case "-":
            return value if is_there and value is not None else operand
        case "+":
            return operand if is_there else ""
        case _:
            if is_there and value is not None:
                return value
            raise Required(f"{name} is missing a value" + (f": {operand}" if operand else ""))
