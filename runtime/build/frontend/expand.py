"""Words of an instruction: quotes, escapes and variables (Dockerfile reference, "Environment replacement")."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]|[@*#?!$-]")
_OPERATOR = re.compile(r":?[-+?]|##?|%%?|//?")


def expand(text: str, variables: Mapping[str, str], escape: str = "\\", unset: set[str] | None = None) -> str:
    """``text`` as one word: quotes and escapes removed, variables replaced. Raises ValueError.

    ``unset`` learns the names of variables that are used without a value, and without saying what to do then.
    """
    return _Expansion(text, variables, escape, unset).until()


def expand_text(
    text: str, variables: Mapping[str, str], escape: str = "\\", unset: set[str] | None = None
) -> str:
    """A here-document: variables are replaced and escapes removed, quotes are text. Raises ValueError."""
    return _Expansion(text, variables, escape, unset, keeps_quotes=True).until()


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
    """The JSON form of an instruction; None when it is the shell form. Raises ValueError for a JSON array of other
    things than strings."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(item, str) for item in value):
        raise ValueError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(value)


class _Expansion:
    """One pass over a text; ``position`` is how far it has come."""

    def __init__(
        self,
        text: str,
        variables: Mapping[str, str],
        escape: str,
        unset: set[str] | None,
        *,
        keeps_quotes: bool = False,
    ) -> None:
        self.text = text
        self.variables = variables
        self.escape = escape
        self.unset = unset
        self.keeps_quotes = keeps_quotes
        self.position = 0

    def until(self, end: str = "", *, keeps_escapes: bool = False) -> str:
        """Process up to an unquoted ``end`` (with it), or to the end of the text."""
        out: list[str] = []
        while self.position < len(self.text):
            character = self.text[self.position]
            self.position += 1
            if end and character == end:
                return "".join(out)
            if character == self.escape:
                following = self.text[self.position : self.position + 1]
                self.position += 1
                out.append(character + following if keeps_escapes else following)
            elif character == "'" and not self.keeps_quotes:
                close = self.text.find("'", self.position)
                if close < 0:
                    raise ValueError("unexpected end of statement while looking for matching single-quote")
                out.append(self.text[self.position : close])
                self.position = close + 1
            elif character == '"' and not self.keeps_quotes:
                out.append(self._quoted())
            elif character == "$":
                out.append(self._variable())
            else:
                out.append(character)
        if end:
            raise ValueError(f"unexpected end of statement while looking for matching {end}")
        return "".join(out)

    def _quoted(self) -> str:
        out: list[str] = []
        while self.position < len(self.text):
            character = self.text[self.position]
            self.position += 1
            if character == '"':
                return "".join(out)
            if character == "$":
                out.append(self._variable())
                continue
            following = self.text[self.position : self.position + 1]
            if character == self.escape and following in ('"', "$", self.escape) and following:
                character = following
                self.position += 1
            out.append(character)
        raise ValueError("unexpected end of statement while looking for matching double-quote")

    def _variable(self) -> str:
        """What follows a ``$``."""
        is_braced = self.text[self.position : self.position + 1] == "{"
        match = _NAME.match(self.text, self.position + is_braced)
        if match is None:
            if is_braced:
                raise ValueError("syntax error: bad substitution")
            return "$"
        name, self.position = match[0], match.end()
        if not is_braced:
            return self._value(name)
        if self.text[self.position : self.position + 1] == "}":
            self.position += 1
            return self._value(name)
        operator = _OPERATOR.match(self.text, self.position)
        if operator is None:
            if self.position >= len(self.text):
                raise ValueError("syntax error: missing '}'")
            modifier = self.text[self.position : self.position + 1]
            modifier += self.text[self.position + 1 : self.position + 2] if modifier == ":" else ""
            raise ValueError(f"unsupported modifier ({modifier}) in substitution")
        self.position = operator.end()
        return self._operated(name, operator[0])

    def _operated(self, name: str, operator: str) -> str:
        if operator[0] == "/":
            regex = _regex(self.until("/", keeps_escapes=True))
            replacement = self.until("}", keeps_escapes=True)
            return re.sub(
                regex, lambda _: replacement, self._value(name), count=1 if operator == "/" else 0, flags=re.S
            )
        if operator[0] in "#%":
            pattern = self.until("}", keeps_escapes=True)
            return _trimmed(self._value(name), pattern, operator)
        word = self.until("}")
        value = self.variables.get(name)
        is_set = bool(value) if operator[0] == ":" else value is not None
        if operator[-1] == "-":
            return (value or "") if is_set else word
        if operator[-1] == "+":
            return word if is_set else ""
        if not is_set:
            why = "is not allowed to be unset" if value is None else "is not allowed to be empty"
            raise ValueError(f"{name}: {word or why}")
        return value or ""

    def _value(self, name: str) -> str:
        value = self.variables.get(name)
        if value is None and self.unset is not None and (name[0].isalpha() or name[0] == "_"):
            self.unset.add(name)
        return value or ""


def _trimmed(value: str, pattern: str, operator: str) -> str:
    """Without the shortest (``#``, ``%``) or longest (``##``, ``%%``) match at the beginning or end."""
    regex = re.compile(_regex(pattern), re.S)
    lengths = range(len(value) + 1)
    for length in reversed(lengths) if len(operator) == 2 else lengths:
        if operator[0] == "#" and regex.fullmatch(value[:length]):
            return value[length:]
        if operator[0] == "%" and regex.fullmatch(value[len(value) - length :]):
            return value[: len(value) - length]
    return value


def _regex(pattern: str) -> str:
    """A pattern (``*``, ``?``, and a backslash before what is meant as it is) as a regular expression."""
    out, position = "", 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "\\" and position < len(pattern):
            out += re.escape(pattern[position])
            position += 1
        else:
            out += {"*": ".*", "?": "."}.get(character) or re.escape(character)
    return out
