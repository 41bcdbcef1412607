"""Parser directives: the ``# name=value`` lines at the top of a Dockerfile (reference, "Parser directives")."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runtime.build.frontend.lines import DockerfileError

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$")
_NAMES = ("escape", "syntax", "check")
CHECK_ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
"""Build argument that says what the directive ``check`` does, instead of it."""
SYNTAX_ARGUMENT = "BUILDKIT_SYNTAX"


@dataclass(frozen=True, slots=True)
class Checking:
    """What the directive ``check`` asks for."""

    skips: frozenset[str] = frozenset()
    """Names of checks in small letters, or ``all``."""
    experimental: frozenset[str] = frozenset()
    """Checks that run only when they are asked for, or ``all``."""
    is_error: bool = False
    """What is found ends the build."""


@dataclass(frozen=True, slots=True)
class Directives:
    """All of them, as given."""

    escape: str = "\\"
    syntax: str = ""
    check: str = ""
    lines: int = 0
    """How many lines they are."""


def read_directives(text: str, file: str = "Dockerfile") -> Directives:
    """The directives at the top of ``text``. Raises DockerfileError for one that is given twice, and for an escape
    character that there is not."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        match = _DIRECTIVE.match(line.strip())
        if match is None or (name := match[1].lower()) not in _NAMES:
            break
        place = f"{file}:{number}:1: "
        if name in found:
            raise DockerfileError(f"{place}only one {name} parser directive can be used")
        if name == "escape" and match[2] not in ("\\", "`"):
            raise DockerfileError(f"{place}invalid escape token {match[2]!r} does not match ` or \\")
        found[name] = match[2]
    return Directives(**found, lines=len(found))


def read_checking(text: str) -> Checking:
    """What ``check=`` says: ``skip=A,B;error=true``. Raises ValueError."""
    skips: set[str] = set()
    experimental: set[str] = set()
    is_error = False
    for part in filter(None, (part.strip() for part in text.split(";"))):
        key, equals, value = part.partition("=")
        key, names = key.strip().lower(), {name.strip().lower() for name in value.split(",")}
        if not equals:
            raise ValueError(f"invalid check option {part!r}: write skip=NAME,... or error=true")
        match key:
            case "skip":
                skips |= names
            case "experimental":
                experimental |= names
            case "error":
                if value.strip().lower() not in ("true", "false", "1", "0"):
                    raise ValueError(f"invalid check option {part!r}: true or false expected")
                is_error = value.strip().lower() in ("true", "1")
            case _:
                raise ValueError(f"invalid check option {key!r}: there are skip, error and experimental")
    return Checking(frozenset(skips), frozenset(experimental), is_error)
