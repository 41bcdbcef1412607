"""Which variables a tree names, and what stands in for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from composer.compose.interpolation import NAME, Malformed, closing_brace


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable as it is named first with a default, an alternative or a demand."""

    name: str
    default: str = ""
    alternative: str = ""
    is_required: bool = False


def variables_of(tree: Any) -> dict[str, Variable]:
    """Every variable of every value, in order, also those in defaults of others."""
    found: dict[str, Variable] = {}
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            waiting.extend(reversed(list(node.values())))
        elif isinstance(node, list):
            waiting.extend(reversed(node))
        elif isinstance(node, str) and "$" in node:
            _scan(str(node), found)
    return found


def _scan(text: str, found: dict[str, Variable]) -> None:
    position = text.find("$")
    while position >= 0:
        following = text[position + 1 : position + 2]
        end = position + 2 if following == "$" else position + 1
        if following == "{":
            try:
                end = closing_brace(text, position + 1)
            except Malformed:
                return
            _note(text[position + 2 : end], found)
        elif name := NAME.match(text, position + 1):
            found.setdefault(name.group(), Variable(name.group()))
            end = name.end()
        position = text.find("$", end)


def _note(expression: str, found: dict[str, Variable]) -> None:
    name = NAME.match(expression)
    if name is None:
        return
    rest = expression[name.end() :]
    operand = rest[2:] if rest.startswith(":") else rest[1:]
    kind = rest.removeprefix(":")[:1]
    variable = Variable(
        name.group(),
        default=operand if kind == "-" else "",
        alternative=operand if kind == "+" else "",
        is_required=kind == "?",
    )
    if found.get(variable.name, Variable(variable.name)) == Variable(variable.name):
        found[variable.name] = variable
    _scan(operand, found)
