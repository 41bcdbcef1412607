"""Dockerfile text to logical lines: directives, comments, continuations and heredocs (Dockerfile reference,
"Parser directives" and "Here-documents")."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from runtime.errors import InvalidArgument

INSTRUCTIONS = (
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL "
    "USER VOLUME WORKDIR"
).split()
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(.*?)\s*$")
_DIRECTIVES = ("escape", "syntax", "check")
_HEREDOC = re.compile(r"<<(-?)\s*([\"']?)([A-Za-z_][A-Za-z0-9_.-]*)\2")
_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=((?:\"[^\"]*\"|'[^']*'|\S)*))?(?:\s+|$)")
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")


class DockerfileError(InvalidArgument):
    """A mistake in a Dockerfile, told with its place."""


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A file within the Dockerfile."""

    name: str
    content: str
    is_expanded: bool
    """Variables in it are: its name was not quoted."""


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

    @property
    def bare(self) -> Line:
        """Without the ``<<NAME`` words."""
        return replace(self, rest=without_heredocs(self.rest)) if self.heredocs else self

    def error(self, message: str, part: str = "", details: str = "") -> DockerfileError:
        """A mistake here; the caret points at ``part`` where the first line has it, ``details`` come last."""
        place = max(self.source.find(part), 0) if part else len(self.source) - len(self.source.lstrip())
        prefix = f"{self.number} | "
        return DockerfileError(
            f"{self.file}:{self.number}: {message}\n{prefix}{self.source}\n{' ' * (len(prefix) + place)}^"
            + (f"\n{details}" if details else "")
        )


def directives(text: str) -> Mapping[str, str]:
    """The parser directives at the top of a Dockerfile. Raises InvalidArgument for one given twice."""
    found: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").splitlines():
        match = _DIRECTIVE.match(line.strip())
        if match is None or match[1].lower() not in _DIRECTIVES:
            break
        name = match[1].lower()
        if name in found:
            raise DockerfileError(f"only one {name} parser directive can be used")
        found[name] = match[2]
    if found.get("escape", "\\") not in ("\\", "`"):
        raise DockerfileError(f"invalid ESCAPE {found['escape']!r}. Must be ` or \\")
    return found


def parse_lines(text: str, file: str = "Dockerfile", escape: str = "") -> tuple[Line, ...]:
    """All instructions of a Dockerfile, in order.

    ``escape`` is what the directive says unless given. Raises DockerfileError for an unknown instruction, a heredoc
    without end, or a file without instructions.
    """
    escape = escape or directives(text).get("escape", "\\")
    lines = text.removeprefix("\ufeff").split("\n")
    continued = re.compile(rf"(?<!{re.escape(escape)}){re.escape(escape)}[ \t\r]*$")
    found: list[Line] = []
    position = 0
    while position < len(lines):
        start = position
        first = lines[position].rstrip("\r")
        position += 1
        if not first.strip() or first.lstrip().startswith("#"):
            continue
        logical, current = "", first.lstrip()
        while match := continued.search(current):
            logical += current[: match.start()]
            current = ""
            while position < len(lines):
                following = lines[position].rstrip("\r")
                position += 1
                if not following.strip() or following.lstrip().startswith("#"):
                    continue
                current = following
                break
        logical = (logical + current).strip()
        line = _line(logical, start + 1, first, file)
        if line.name in _WITH_HEREDOCS and not line.rest.startswith("["):
            heredocs: list[Heredoc] = []
            for dash, quote, name in _HEREDOC.findall(line.rest):
                body: list[str] = []
                while True:
                    if position >= len(lines):
                        raise line.error(f"unterminated heredoc {name}", f"<<{dash}")
                    text_line = lines[position].rstrip("\r")
                    position += 1
                    text_line = text_line.lstrip("\t") if dash else text_line
                    if text_line == name:
                        break
                    body.append(text_line + "\n")
                heredocs.append(Heredoc(name, "".join(body), not quote))
            line = Line(
                line.name, line.flags, line.rest, line.number, line.source, line.file, tuple(heredocs)
            )
        found.append(line)
    if not found:
        raise DockerfileError(f"{file}: file with no instructions")
    return tuple(found)


def without_heredocs(rest: str) -> str:
    """The words of an instruction besides the ``<<NAME`` in it."""
    return _HEREDOC.sub(" ", rest).strip()


def heredoc_command(line: Line) -> str:
    """What the shell of a RUN with heredocs is given: the only one's content when there is nothing besides it."""
    if len(line.heredocs) == 1 and not without_heredocs(line.rest):
        return line.heredocs[0].content
    parts = [line.rest, *(f"{doc.content}{doc.name}" for doc in line.heredocs)]
    return "\n".join(parts) + "\n"


def _line(logical: str, number: int, source: str, file: str) -> Line:
    word = logical.split(maxsplit=1)[0]
    name, rest = word.upper(), logical[len(word) :].strip()
    line = Line(name, (), rest, number, source, file)
    if name not in INSTRUCTIONS:
        near = difflib.get_close_matches(name, INSTRUCTIONS, 1)
        raise line.error(
            f"unknown instruction: {word}" + (f" (did you mean {near[0]}?)" if near else ""), word
        )
    flags: list[tuple[str, str]] = []
    if name in ("ADD", "COPY", "FROM", "HEALTHCHECK", "RUN"):
        while match := _FLAG.match(rest):
            flags.append((match[1], match[2] if match[2] is not None else "true"))
            rest = rest[match.end() :]
    if not rest and name != "ARG":
        raise line.error(f"{name} requires at least one argument", word)
    return Line(name, tuple(flags), rest, number, source, file)
