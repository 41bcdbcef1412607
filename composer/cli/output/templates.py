"""Go templates for ``--format``, rendered. ``template_parser`` takes them apart, ``template_functions`` has the
functions, ``template_values`` how Go prints values.

Source: pkg.go.dev/text/template. Data is what the API answers, told apart as Go's types by ``template_values.typed``:
a field that a struct does not have is an error, a key that a map does not have is ``<no value>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from composer.cli.output.template_functions import FUNCTIONS
from composer.cli.output.template_parser import Node, Parser
from composer.cli.output.template_parser import TemplateError as TemplateError
from composer.cli.output.template_values import MISSING, Failure, GoMap, Nil, absent, is_true, shown, typed
from runtime.errors import InvalidArgument

_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\\\": "\\"}


def unescape(text: str) -> str:
    """``\\t`` and ``\\n`` as people write them in shells, outside of actions."""
    parts = re.split(r"(\{\{.*?\}\})", text, flags=re.DOTALL)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"\\[tn\\]", lambda match: _ESCAPES[match.group()], parts[i])
    return "".join(parts)


def refused(error: TemplateError) -> InvalidArgument:
    """For people, with Docker's exit statuses of ``inspect``, ``info`` and ``events``."""
    status = 64 if error.is_parsing else 1
    return InvalidArgument(f"template parsing error: {error}", exit_status=status)


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Template:
    """A parsed template. Raises TemplateError."""

    def __init__(self, text: str) -> None:
        parser = Parser(text)
        self._nodes, _ = parser.block(())
        self._defined = parser.defined

    def render(self, data: Any, *, titles: bool = False) -> str:
        """The text for ``data``; with ``titles`` functions leave their argument as it is, for a table's header."""
        value = typed(data)
        run = _Run(self._defined, titles, value)
        try:
            return run.block(self._nodes, value, {"$": value})
        except Failure as failure:
            raise TemplateError(run.located(str(failure))) from None
        except (_Break, _Continue):
            raise TemplateError("template: break or continue outside of {{range}}") from None


class _Run:
    """One rendering."""

    def __init__(self, defined: dict[str, list[Node]], titles: bool, root: Any) -> None:
        self._defined = defined
        self._titles = titles
        self._root = root
        self._place: tuple[int, str] = (0, "")

    def located(self, message: str) -> str:
        """The message as Go has it. Its lines are always 1 here: a template is one argument."""
        at, text = self._place
        return f'template: :1:{at}: executing "" at <{text}>: {message}'

    def block(self, nodes: list[Node], dot: Any, names: dict[str, Any]) -> str:
        return "".join(self._pieces(nodes, dot, names))

    def _pieces(self, nodes: list[Node], dot: Any, names: dict[str, Any]) -> Iterator[str]:
        for node in nodes:
            match node[0]:
                case "text":
                    yield node[1]
                case "show":
                    value = self._pipe(node[1], dot, names)
                    if not node[1][1]:
                        yield shown(value)
                case "if" | "with":
                    inner = _Scope(names)
                    value = self._pipe(node[1], dot, inner)
                    if is_true(value):
                        yield from self._pieces(node[2], value if node[0] == "with" else dot, inner)
                    else:
                        yield from self._pieces(node[3], dot, inner)
                case "range":
                    yield from self._range(node, dot, names)
                case "template":
                    if node[1] not in self._defined:
                        raise Failure(f'template "{node[1]}" not defined')
                    value = self._pipe(node[2], dot, names) if node[2] else MISSING
                    yield from self._pieces(self._defined[node[1]], value, {"$": value})
                case "break":
                    raise _Break
                case _:
                    raise _Continue

    def _range(self, node: Node, dot: Any, names: dict[str, Any]) -> Iterator[str]:
        _, declared, _, commands = node[1]
        value = self._commands(commands, dot, names)
        if isinstance(value, Mapping):
            pairs = [(key, value[key]) for key in sorted(value)]
        elif isinstance(value, int) and not isinstance(value, bool):
            pairs = [(i, i) for i in range(value)]
        elif isinstance(value, list | tuple):
            pairs = list(enumerate(value))
        elif isinstance(value, Nil):
            pairs = []
        else:
            raise Failure(f"range can't iterate over {shown(value)}")
        if not pairs:
            yield from self._pieces(node[3], dot, names)
        for key, item in pairs:
            inner = _Scope(names)
            for name, bound in zip(declared, (key, item) if len(declared) > 1 else (item,), strict=False):
                inner.declare(name, bound)
            pieces = self._pieces(node[2], item, inner)
            try:
                yield from pieces
            except _Break:
                return
            except _Continue:
                continue

    def _pipe(self, pipeline: Node, dot: Any, names: dict[str, Any]) -> Any:
        _, declared, is_new, commands = pipeline
        value = self._commands(commands, dot, names)
        for name in declared:
            if is_new and isinstance(names, _Scope):
                names.declare(name, value)
            else:
                names[name] = value
        return value

    def _commands(self, commands: list[list[Node]], dot: Any, names: dict[str, Any]) -> Any:
        result: list[Any] = []
        for head, *rest in commands:
            if head[0] == "function":
                result = [self._call(head, rest, result, dot, names)]
                continue
            value = self._value(head, dot, names)
            if callable(value):
                given = [*(self._value(word, dot, names) for word in rest), *result]
                if len(given) != 1:
                    name = head[2][-1] if head[2] else head[1]
                    raise Failure(f"wrong number of args for {name}: want 1 got {len(given)}")
                value = value(*given)
            elif rest or result:
                raise Failure(f"can't give argument to non-function {head[1] or '.' + '.'.join(head[2])}")
            result = [value]
        return result[0]

    def _call(self, head: Node, rest: list[Node], piped: list[Any], dot: Any, names: dict[str, Any]) -> Any:
        name = head[1]
        if name in ("and", "or"):
            # What does not matter any more is not looked at.
            value: Any = MISSING
            for word in rest:
                value = self._value(word, dot, names)
                if is_true(value) == (name == "or"):
                    return value
            return piped[0] if piped else value
        arguments = [*(self._value(word, dot, names) for word in rest), *piped]
        if self._titles and arguments:
            return arguments[-1] if piped else arguments[0]
        self._place = (head[3], name)
        try:
            return FUNCTIONS[name](*arguments)
        except Failure as failure:
            raise Failure(f"error calling {name}: {failure}") from None
        except TypeError:
            raise Failure(f"wrong number or type of args for {name}: got {len(arguments)}") from None
        except (ValueError, IndexError, KeyError) as error:
            raise Failure(f"error calling {name}: {error}") from None

    def _value(self, operand: Node, dot: Any, names: dict[str, Any]) -> Any:
        kind, value, fields, at = operand
        if kind == "dot":
            start, base = dot, ""
        elif kind == "variable":
            if value not in names:
                raise Failure(f'undefined variable "{value}"')
            start, base = names[value], value
        elif kind == "pipe":
            start, base = self._pipe(value, dot, _Scope(names)), "(...)"
        elif kind == "function":
            return self._call(operand, [], [], dot, names)
        else:
            return value
        for index, name in enumerate(fields):
            start = self._field(start, name, (at + len(base), f"{base}.{'.'.join(fields)}"), fields[:index])
        return start

    def _field(self, value: Any, name: str, place: tuple[int, str], before: list[str]) -> Any:
        self._place = (place[0] + sum(len(one) + 1 for one in before), place[1])
        if isinstance(value, GoMap):
            return value.get(name, MISSING)
        if isinstance(value, Mapping):
            if name in value:
                return value[name]
            # Go's name of a field may differ from JSON's: ID and Id.
            for key in value:
                if key.lower() == name.lower():
                    return value[key]
            if (found := absent(value, name)) is not None:
                return found
            raise Failure(f'map has no entry for key "{name}"; there are {", ".join(map(str, value))}')
        if isinstance(value, Nil):
            raise Failure(f"nil pointer evaluating {name}")
        raise Failure(f"can't evaluate field {name} in {shown(value)!r}")


class _Scope(dict[str, Any]):
    """Variables of a block; those of the blocks around can be set from within."""

    def __init__(self, outer: dict[str, Any]) -> None:
        super().__init__()
        self._outer = outer

    def declare(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._outer

    def __missing__(self, name: str) -> Any:
        return self._outer[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if super().__contains__(name) or name not in self._outer:
            super().__setitem__(name, value)
        else:
            self._outer[name] = value
