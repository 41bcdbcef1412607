"""Environment files: ``NAME=value`` lines with quotes, escapes, comments and variables, as Docker Compose reads them.

``export`` in front is ignored, ``NAME: value`` works too, and a name alone takes its value from the environment. In
unquoted and double-quoted values variables are replaced (from the environment first, then from lines above).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from composer.compose.interpolation import Malformed, Required, Variables, substitute
from composer.compose.problem import Problem
from composer.compose.trace import Origin

Lookup = Callable[[str], str | None]

_BLANKS = "\t\v\f\r \x85\xa0"
_EXPORT = re.compile(r"export[\t\v\f\r \x85\xa0]+")
_ESCAPE = re.compile(r'\\(?:[abcfnrtv$"\\]|0\d{0,3})')
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "$": "$$",
}  # fmt: skip


def parse_dotenv(
    data: bytes,
    file: str,
    lookup: Lookup,
    earlier: Mapping[str, str] | None = None,
    unset: dict[str, str] | None = None,
) -> dict[str, str]:
    """Names and values in order. ``lookup`` is the environment, ``earlier`` what files before this one have said.

    Variables that are not set are added to ``unset``, with the ``FILE:LINE:COLUMN`` of their first use.
    Raises :class:`Problem` with the place.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Problem("the file is not UTF-8", at=Origin(file, line, 1), hint="save it as UTF-8") from None
    parser = _Parser(text.replace("\r\n", "\n"), file, lookup, earlier or {})
    found = parser.parse()
    if unset is not None:
        for name, place in parser.unset.items():
            unset.setdefault(name, place)
    return found


def parse_raw(data: bytes, file: str, lookup: Lookup) -> dict[str, str]:
    """``format: raw``: each line is a name and its value, taken as it is."""
    found: dict[str, str] = {}
    text = data.decode("utf-8-sig", "surrogateescape")
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        stripped = line.lstrip(" \t")
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if not name or " " in name or "\t" in name:
            raise Problem(
                f"variable '{name}' contains whitespaces"
                if name
                else f"no variable name on line '{stripped}'",
                at=Origin(file, number, 1),
            )
        if equals:
            found[name] = value
        elif (inherited := lookup(name)) is not None:
            found[name] = inherited
    return found


class _Layered(Mapping[str, str]):
    """The environment, then what the file has said so far, then earlier files."""

    def __init__(self, lookup: Lookup, own: dict[str, str], earlier: Mapping[str, str]) -> None:
        self._lookup = lookup
        self._own = own
        self._earlier = earlier

    def __getitem__(self, name: str) -> str:
        value = self._lookup(name)
        if value is None:
            value = self._own.get(name)
        return self._earlier[name] if value is None else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)


class _Parser:
    def __init__(self, text: str, file: str, lookup: Lookup, earlier: Mapping[str, str]) -> None:
        self.text = text
        self.file = file
        self.lookup = lookup
        self.position = 0
        self.found: dict[str, str] = {}
        self.unset: dict[str, str] = {}
        self.variables = Variables(_Layered(lookup, self.found, earlier))

    def parse(self) -> dict[str, str]:
        while self._find_statement():
            name, is_alone = self._name()
            if is_alone:
                if (value := self.lookup(name)) is not None:
                    self.found[name] = value
            else:
                self.found[name] = self._value()
        return self.found

    def _problem(self, message: str, position: int) -> Problem:
        return Problem(message, at=Origin(self.file, *self._place(position)))

    def _place(self, position: int) -> tuple[int, int]:
        """Line and column, from 1."""
        return self.text.count("\n", 0, position) + 1, position - self.text.rfind("\n", 0, position)

    def _find_statement(self) -> bool:
        """Go to the next line that says something."""
        text = self.text
        while self.position < len(text):
            if text[self.position].isspace():
                self.position += 1
            elif text[self.position] == "#":
                end = text.find("\n", self.position)
                self.position = len(text) if end < 0 else end + 1
            else:
                return True
        return False

    def _name(self) -> tuple[str, bool]:
        """The name at the position, and whether it stands alone on its line."""
        text = self.text
        if exported := _EXPORT.match(text, self.position):
            self.position = exported.end()
        start = position = self.position
        while position < len(text) and text[position] not in "=:\n":
            character = text[position]
            if not (character.isalnum() or character in "_.-[]" or character in _BLANKS):
                line = text[start:].partition("\n")[0]
                raise self._problem(f'unexpected character "{character}" in variable name "{line}"', position)
            position += 1
        name = text[start:position].rstrip()
        if " " in name:
            raise self._problem("key cannot contain a space", start)
        is_alone = position >= len(text) or text[position] == "\n"
        position = min(position + 1, len(text))
        while not is_alone and position < len(text) and text[position] in _BLANKS:
            position += 1
        self.position = position
        return name, is_alone

    def _value(self) -> str:
        quote = self.text[self.position : self.position + 1]
        if quote in ("'", '"') and quote:
            return self._quoted(quote)
        start = self.position
        end = self.text.find("\n", start)
        end = len(self.text) if end < 0 else end
        self.position = min(end + 1, len(self.text))
        value = self.text[start:end].partition(" #")[0].rstrip()
        return self._expanded(value, start)

    def _quoted(self, quote: str) -> str:
        start = self.position
        characters: list[str] = []
        is_escaped = False
        for position in range(start + 1, len(self.text)):
            character = self.text[position]
            if character != quote:
                if not is_escaped and character == "\\":
                    is_escaped = True
                    continue
                if is_escaped:
                    is_escaped = False
                    characters.append("\\")
                characters.append(character)
                continue
            if is_escaped:
                is_escaped = False
                characters.append(character)
                continue
            self.position = position + 1
            value = "".join(characters)
            return self._expanded(_unescaped(value), start) if quote == '"' else value
        line = self.text[start:].partition("\n")[0]
        raise self._problem(f"unterminated quoted value {line}", start)

    def _expanded(self, value: str, position: int) -> str:
        if "$" not in value:
            return value
        try:
            made = substitute(value, self.variables)
        except Required as error:
            raise self._problem(f"required variable {error}", position) from None
        except Malformed:
            raise self._problem(f'invalid template: "{value}"', position) from None
        for name in self.variables.unset:
            if name not in self.unset:
                use = re.compile(rf"\$\{{?{re.escape(name)}(?![A-Za-z0-9_])").search(self.text, position)
                line, column = self._place(use.start() if use else position)
                self.unset[name] = f"{self.file}:{line}:{column}"
        return made


def _unescaped(value: str) -> str:
    if "\\" not in value:
        return value
    return _ESCAPE.sub(_escape, value)


def _escape(match: re.Match[str]) -> str:
    body = match.group()[1:]
    if body[0] == "0":
        digits = body[1:]
        if len(digits) == 3 and all(d in "01234567" for d in digits) and int(digits, 8) < 256:
            return chr(int(digits, 8))
        return "\\" + digits
    return _ESCAPES.get(body, match.group())


_SETTING = re.compile(r"\s*(?:export\s+)?([^\s=:#]+)\s*(?:[=:]|$)")


def lines_of(text: str) -> dict[str, int]:
    """By name the last line of an env file that sets it.

    >>> lines_of("A=1\\nexport B = 2\\nA: 3\\nC\\n")
    {'A': 3, 'B': 2, 'C': 4}
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if match := _SETTING.match(line):
            found[match[1]] = number
    return found


def line_of(name: str, text: str) -> int:
    """The last line of an env file that sets ``name``; 0 when none does."""
    return lines_of(text).get(name, 0)
