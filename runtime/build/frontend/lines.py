"""Dockerfile text to logical lines: comments, continuations, flags and heredocs (Dockerfile reference, "Format" and
"Here-documents")."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from runtime.build.frontend.expand import split_words
from runtime.build.steps import DockerfileError as DockerfileError
from runtime.build.steps import combined as combined
from runtime.build.steps import told
from runtime.nearest import nearest

INSTRUCTIONS = (
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL "
    "USER VOLUME WORKDIR"
).split()
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)")
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A file within the Dockerfile."""

    name: str
    content: str
    """Without leading tabs, when it is a ``<<-``."""
    is_expanded: bool
    """Variables in it are: its name was not quoted."""
    raw: str = ""
    """As written."""


@dataclass(frozen=True, slots=True)
class Line:
    """One instruction as written: its name in capitals, its flags, and the rest."""

    name: str
    flags: tuple[tuple[str, str], ...]
    """A flag without a value has ``true``."""
    rest: str
    number: int
    """Of its first line, from 1."""
    source: str
    """Its first line."""
    file: str
    heredocs: tuple[Heredoc, ...] = ()
    word: str = ""
    """Its name as written."""
    further: tuple[tuple[int, str], ...] = ()
    """The lines that continue the first one, with their numbers."""
    comments: tuple[str, ...] = ()
    """Those right above it."""
    has_empty_continuation: bool = False

    @property
    def bare(self) -> Line:
        """Without the ``<<NAME`` words."""
        return replace(self, rest=without_heredocs(self.rest)) if self.heredocs else self

    @property
    def text(self) -> str:
        """All behind its name, here-documents too, so that it can be read once more (ONBUILD)."""
        return "\n".join([self.rest, *(f"{doc.raw}{doc.name}" for doc in self.heredocs)])

    def place(self, part: str = "") -> tuple[int, int, str]:
        """Line, column (from 1) and that line's text, where ``part`` is in the source; else where it begins."""
        for number, text in ((self.number, self.source), *self.further) if part else ():
            if (column := text.find(part)) >= 0:
                return number, column + 1, text
        return self.number, len(self.source) - len(self.source.lstrip()) + 1, self.source

    @property
    def where(self) -> str:
        return f"{self.file}:{self.number}"

    def error(self, message: str, part: str = "", details: str = "") -> DockerfileError:
        """A mistake here; the caret points at ``part`` where the source has it, ``details`` come last."""
        number, column, text = self.place(part)
        return DockerfileError(
            f"{self.file}:{number}:{column}: {told(message)}\n{excerpt(number, column, text)}"
            + (f"\n{details}" if details else "")
        )


def excerpt(number: int, column: int, text: str) -> str:
    """A line with a caret below it."""
    prefix = f"{number} | "
    blank = re.sub(r"[^\t]", " ", text[: column - 1])
    return f"{prefix}{text}\n{' ' * len(prefix)}{blank}^"


def parse_lines(text: str, file: str = "Dockerfile", escape: str = "\\") -> tuple[Line, ...]:
    """All instructions of a Dockerfile, in order. Raises DockerfileError as :func:`read_lines` finds them."""
    lines, errors = read_lines(text, file, escape)
    if errors:
        raise combined(errors)
    return lines


def read_lines(
    text: str, file: str = "Dockerfile", escape: str = "\\", skipped: int = 0
) -> tuple[tuple[Line, ...], list[DockerfileError]]:
    """All instructions that can be read, and what is wrong: unknown instructions, flags that cannot be read,
    heredocs without end, a file without instructions. The first ``skipped`` lines are directives."""
    reader = _Reader(text, file, escape, skipped)
    found: list[Line] = []
    errors: list[DockerfileError] = []
    while (logical := reader.logical()) is not None:
        try:
            line = _line(logical, escape)
            found.append(reader.with_heredocs(line, escape))
        except DockerfileError as error:
            errors.append(error)
    if not found and not errors:
        errors.append(DockerfileError(f"{file}: file with no instructions"))
    return tuple(found), errors


def without_heredocs(rest: str) -> str:
    """The words of an instruction besides the ``<<NAME`` in it."""
    return " ".join(word for word in rest.split() if not _HEREDOC.fullmatch(word))


def heredoc_command(line: Line) -> str:
    """What the shell of a RUN with heredocs is given: the only one's content when there is nothing besides it."""
    if is_script(line):
        return line.heredocs[0].content
    return line.text + "\n"


def is_script(line: Line) -> bool:
    """Whether a RUN is one heredoc and nothing else."""
    return len(line.heredocs) == 1 and not without_heredocs(line.rest)


class _Reader:
    """The lines of a file, one after another."""

    def __init__(self, text: str, file: str, escape: str, skipped: int) -> None:
        self._lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
        self._file = file
        self._position = skipped
        self._continued = re.compile(rf"(?<!{re.escape(escape)}){re.escape(escape)}[ \t]*$")

    def logical(self) -> Line | None:
        """The next instruction, its continuations joined; its ``rest`` is the whole of it."""
        comments: list[str] = []
        while (first := self._next()) is not None:
            if first.lstrip().startswith("#"):
                comments.append(first.strip()[1:].strip())
                continue
            if not self._continued.sub("", first).strip():
                comments = []
                continue
            break
        if first is None:
            return None
        number = self._position
        joined, current = "", first.lstrip()
        further: list[tuple[int, str]] = []
        has_empty = False
        while match := self._continued.search(current):
            joined += current[: match.start()]
            current = ""
            while (following := self._next()) is not None:
                if following.lstrip().startswith("#"):
                    continue
                if following.strip():
                    further.append((self._position, following))
                    current = following
                    break
                has_empty = has_empty or self._position < len(self._lines)
        joined = (joined + current).strip()
        return Line(
            "",
            (),
            joined,
            number,
            first,
            self._file,
            (),
            "",
            tuple(further),
            tuple(comments),
            has_empty,
        )

    def with_heredocs(self, line: Line, escape: str) -> Line:
        """``line`` with the here-documents that follow it."""
        name, rest = line.name, line.rest
        if name == "ONBUILD":
            name, _, rest = rest.partition(" ")
        if name.upper() not in _WITH_HEREDOCS or "<<" not in rest:
            return line
        try:
            words = split_words(rest, escape)
        except ValueError:
            return line
        found: list[Heredoc] = []
        for word in words:
            if (match := _HEREDOC.fullmatch(word)) is None:
                continue
            title = re.sub(r"[\"']", "", match[2])
            if not title:
                continue
            raw = self._document(title, is_chomped=bool(match[1]))
            if raw is None:
                raise line.error(f"unterminated heredoc {title}", word)
            content = re.sub(r"^\t+", "", raw, flags=re.M) if match[1] else raw
            found.append(Heredoc(title, content, title == match[2], raw))
        return replace(line, heredocs=tuple(found))

    def _document(self, title: str, *, is_chomped: bool) -> str | None:
        """Up to its end; None when there is none: what follows is its text then, and nothing else is wrong with it."""
        body: list[str] = []
        while (text := self._next()) is not None:
            if (text.lstrip("\t") if is_chomped else text) == title:
                return "".join(body)
            body.append(text + "\n")
        return None

    def _next(self) -> str | None:
        if self._position >= len(self._lines):
            return None
        self._position += 1
        return self._lines[self._position - 1]


def _line(logical: Line, escape: str) -> Line:
    """An instruction's name, flags and rest."""
    word = logical.rest.split(maxsplit=1)[0]
    name, rest = word.upper(), logical.rest[len(word) :].strip()
    if name not in INSTRUCTIONS:
        near = nearest(name, INSTRUCTIONS)
        raise logical.error(
            f"unknown instruction: {word}" + (f" (did you mean {near}?)" if near else ""), word
        )
    flags: list[tuple[str, str]] = []
    while name != "ONBUILD" and rest.startswith("--"):
        text, rest = _flag(rest, escape)
        if text == "--":
            break
        flag, equals, value = text[2:].partition("=")
        flags.append((flag, value if equals else "true"))
    return replace(logical, name=name, word=word, flags=tuple(flags), rest=rest)


def _flag(text: str, escape: str) -> tuple[str, str]:
    """The first word, quotes and escapes removed, and what is behind it."""
    word, quote, position = "", "", 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == escape and quote != "'" and position < len(text):
            word += text[position]
            position += 1
        elif quote:
            word, quote = (word, "") if character == quote else (word + character, quote)
        elif character in "\"'":
            quote = character
        elif character.isspace():
            break
        else:
            word += character
    return word, text[position:].strip()
