"""Go templates, taken apart: text and actions, pipelines, operands. pkg.go.dev/text/template"""

from __future__ import annotations

import re
from typing import Any

from composer.cli.output.template_functions import FUNCTIONS
from composer.cli.output.template_values import Nil, unquoted

_OPEN = re.compile(r"\{\{(-\s)?")
_TOKEN = re.compile(
    r"""(?P<end>\s+-\}\}|\s*\}\})|\s*(?:(?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)+')"""
    r"""|(?P<mark>:=|=|[|(),])|(?P<word>\.?[^\s|(),="`'{}:]+))"""
)
_COMMENT = re.compile(r"\{\{(-\s+)?/\*.*?\*/(\s+-)?\}\}", re.DOTALL)


class TemplateError(ValueError):
    """What is no template (``is_parsing``), or asks for a field that is not there."""

    def __init__(self, message: str, *, is_parsing: bool = False) -> None:
        super().__init__(message)
        self.is_parsing = is_parsing


Node = tuple[Any, ...]
"""("text", str) or (keyword, ...); an operand is (kind, value, fields, place)."""


class Parser:
    def __init__(self, text: str) -> None:
        self.defined: dict[str, list[Node]] = {}
        self._text = text
        self._parts = self._split(text)
        self._at = 0

    def _fail(self, message: str, position: int = 0) -> TemplateError:
        line = self._text.count("\n", 0, position) + 1
        return TemplateError(f"template: :{line}: {message}", is_parsing=True)

    def _split(self, text: str) -> list[tuple[Any, int]]:
        """Text as it is and actions as lists of (token, position), each with its position."""
        parts: list[tuple[Any, int]] = []
        position = 0
        trims = False
        while True:
            opened = _OPEN.search(text, position)
            before = text[position : opened.start() if opened else len(text)]
            if trims:
                before = before.lstrip()
            if opened and opened[1]:
                before = before.rstrip()
            if before:
                parts.append((before, position))
            if opened is None:
                return parts
            if comment := _COMMENT.match(text, opened.start()):
                position, trims = comment.end(), bool(comment[2])
                continue
            tokens, position, trims = self._tokens(text, opened.end())
            parts.append((tokens, opened.start()))

    def _tokens(self, text: str, position: int) -> tuple[list[tuple[str, int]], int, bool]:
        tokens: list[tuple[str, int]] = []
        while match := _TOKEN.match(text, position):
            position = match.end()
            if match["end"]:
                return tokens, position, "-" in match["end"]
            token = match["text"] or match["mark"] or match["word"]
            tokens.append((token, match.start(match.lastgroup or 0)))
        rest = text[position:].lstrip()
        if rest[:1] in ('"', "'", "`"):
            raise self._fail("unterminated quoted string", position)
        if rest and not rest.startswith("{") and "}}" in rest:
            raise self._fail(f"unexpected {rest[0]!r} in command", position)
        raise self._fail("unclosed action", position)

    def block(self, ends: tuple[str, ...]) -> tuple[list[Node], list[tuple[str, int]]]:
        """Nodes up to an action that begins with one of ``ends``, and that action's tokens."""
        nodes: list[Node] = []
        while self._at < len(self._parts):
            part, position = self._parts[self._at]
            self._at += 1
            if isinstance(part, str):
                nodes.append(("text", part))
                continue
            if not part:
                raise self._fail("missing value for command", position)
            word = part[0][0]
            if word in ends:
                return nodes, part
            if word in ("end", "else"):
                raise self._fail(f"unexpected {{{{{word}}}}}", position)
            nodes += self._action(word, part, position)
        if ends:
            raise self._fail("unexpected EOF", len(self._text))
        return nodes, []

    def _action(self, word: str, tokens: list[tuple[str, int]], position: int) -> list[Node]:
        match word:
            case "if" | "with" | "range":
                return [self._branch(word, tokens[1:], position)]
            case "break" | "continue":
                return [(word,)]
            case "define" | "block":
                name = unquoted(tokens[1][0]) if len(tokens) > 1 else ""
                body, _ = self.block(("end",))
                self.defined[name] = body
                if word == "define":
                    return []
                return [("template", name, self._pipeline(tokens[2:], position))]
            case "template":
                name = unquoted(tokens[1][0]) if len(tokens) > 1 else ""
                return [("template", name, self._pipeline(tokens[2:], position) if tokens[2:] else None)]
            case _:
                return [("show", self._pipeline(tokens, position))]

    def _branch(self, word: str, tokens: list[tuple[str, int]], position: int) -> Node:
        pipeline = self._pipeline(tokens, position)
        body, ended = self.block(("end", "else"))
        other: list[Node] = []
        if ended[0][0] == "else":
            if len(ended) > 1:
                # {{else if x}} … {{end}} is {{else}}{{if x}} … {{end}}{{end}}.
                other = [self._branch(ended[1][0], ended[2:], position)]
            else:
                other, _ = self.block(("end",))
        return (word, pipeline, body, other)

    def _pipeline(self, tokens: list[tuple[str, int]], position: int) -> Node:
        """("pipeline", names, whether they are new, commands)"""
        words = [token for token, _ in tokens]
        names: list[str] = []
        is_new = False
        for mark in (":=", "="):
            if mark in words and words[0].startswith("$"):
                index = words.index(mark)
                names = [word for word in words[:index] if word != ","]
                tokens, is_new = tokens[index + 1 :], mark == ":="
                break
        commands, rest = self._commands(tokens, position)
        if rest:
            raise self._fail(f"unexpected {rest[0][0]!r} in operand", rest[0][1])
        return ("pipeline", names, is_new, commands)

    def _commands(
        self, tokens: list[tuple[str, int]], position: int
    ) -> tuple[list[list[Node]], list[tuple[str, int]]]:
        commands: list[list[Node]] = [[]]
        while tokens and tokens[0][0] != ")":
            (token, at), *tokens = tokens
            if token == "|":
                commands.append([])
            elif token == "(":
                inner, tokens = self._commands(tokens, at)
                if not tokens:
                    raise self._fail("unclosed left paren", at)
                end = tokens[0][1] + 1
                tokens = tokens[1:]
                fields: list[str] = []
                if tokens and tokens[0][0].startswith(".") and tokens[0][1] == end:
                    fields = tokens[0][0][1:].split(".")
                    tokens = tokens[1:]
                commands[-1].append(("pipe", ("pipeline", [], False, inner), fields, at))
            else:
                commands[-1].append(self._operand(token, at))
        if not all(commands):
            raise self._fail("missing value for command", position)
        return commands, tokens

    def _operand(self, token: str, at: int) -> Node:
        if token[0] in "\"`'":
            value = unquoted(token)
            return ("value", ord(value) if token[0] == "'" and len(value) == 1 else value, [], at)
        if token == ".":
            return ("dot", None, [], at)
        if token[0] == ".":
            return ("dot", None, token[1:].split("."), at)
        if token[0] == "$":
            name, *fields = token.split(".")
            return ("variable", name, fields, at)
        if token in ("true", "false"):
            return ("value", token == "true", [], at)
        if token == "nil":
            return ("value", Nil("<nil>"), [], at)
        for read in (lambda text: int(text, 0), float):
            try:
                return ("value", read(token), [], at)
            except ValueError:
                pass
        if token not in FUNCTIONS:
            raise self._fail(f'function "{token}" not defined', at)
        return ("function", token, [], at)
