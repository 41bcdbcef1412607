"""``.dockerignore``: which files of a context do not exist for the build (Dockerfile reference, ".dockerignore
file"). Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

from runtime.errors import InvalidArgument

Ignore = Callable[[str], bool]
"""Whether a path (relative, ``/`` between names) is left out."""


_ONE = r"(?:\\.|[^\\\]\-])"
_VALID = re.compile(rf"(?:\\.|\[\^?{_ONE}(?:-{_ONE})?(?:{_ONE}(?:-{_ONE})?)*\]|[^\\\[])*", re.DOTALL)
"""Escapes and classes are complete (Go, path/filepath, Match)."""


def keep_all(_: str) -> bool:
    """Ignores nothing."""
    return False


def reaches_into(ignore: Ignore) -> bool:
    """Whether something may be kept in a directory that is left out: not without a rule that begins with ``!``."""
    return ignore is not keep_all and not isinstance(ignore, _Plain)


class _Plain:
    """Rules without exceptions: one expression for all."""

    def __init__(self, patterns: list[str]) -> None:
        self._regex = re.compile("|".join(f"(?:{pattern})(?:/.*)?" for pattern in patterns), re.DOTALL)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Plain) and self._regex == other._regex

    def __hash__(self) -> int:
        return hash(self._regex)

    def __call__(self, path: str) -> bool:
        return self._regex.fullmatch(path) is not None


class _Rules:
    """The last rule that matches counts."""

    def __init__(self, rules: tuple[tuple[re.Pattern[str], bool], ...]) -> None:
        self._rules = rules

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rules) and self._rules == other._rules

    def __hash__(self) -> int:
        return hash(self._rules)

    def __call__(self, path: str) -> bool:
        parts = path.split("/")
        parents = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        result = False
        for pattern, ignores in self._rules:
            if result != ignores and any(pattern.fullmatch(parent) for parent in parents):
                result = ignores
        return result


def parse_ignore(text: str, file: str = "") -> Ignore:
    """The rules of an ignore file: the last one that matches a path, or a directory that it is in, counts. Raises
    InvalidArgument for a pattern that is none, with its place in ``file``."""
    rules: list[tuple[re.Pattern[str], bool]] = []
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        is_kept = line.startswith("!")
        place = f"{file}:{number}: " if file else ""
        text_of_pattern = line.removeprefix("!").strip()
        if not text_of_pattern:
            raise InvalidArgument(f'{place}illegal exclusion pattern: "!"')
        pattern = posixpath.normpath(text_of_pattern).lstrip("/")
        if pattern and pattern != ".":
            try:
                rules.append((compiled(pattern), not is_kept))
            except InvalidArgument as error:
                raise InvalidArgument(f"{place}{error.message}") from None
    if not rules:
        return keep_all
    if all(ignores for _, ignores in rules):
        return _Plain([pattern.pattern for pattern, _ in rules])

    return _Rules(tuple(rules))


def compiled(pattern: str) -> re.Pattern[str]:
    """Raises InvalidArgument for a pattern that cannot match anything, as ``[z-a]`` and ``[a``."""
    if not _VALID.fullmatch(pattern):
        raise InvalidArgument(f"syntax error in pattern {pattern!r}")
    try:
        return re.compile(pattern_regex(pattern), re.DOTALL)
    except re.error:
        raise InvalidArgument(f"syntax error in pattern {pattern!r}") from None


def pattern_regex(pattern: str) -> str:
    """A pattern as Go's filepath.Match reads it, and ``**`` for any number of directories, as an expression: also
    where no ``/`` follows, so that ``a/**.md`` is ``a/**/.md``; but what begins with ``**`` and has no other sign in it
    is an ending (moby/patternmatcher)."""
    if pattern.startswith("**") and not pattern.startswith("**/") and not set("*?[\\") & set(pattern[2:]):
        return ".*" + re.escape(pattern[2:])
    out, position = "", 0
    while position < len(pattern):
        character = pattern[position]
        if pattern.startswith("**", position):
            position += 2
            position += pattern.startswith("/", position)
            out += "(?:.*/)?" if position < len(pattern) else ".*"
            continue
        if character == "*":
            out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif character == "[" and (end := pattern.find("]", position + 2)) > 0:
            inner = re.sub(r"[\\\[&~|]", r"\\\g<0>", pattern[position + 1 : end])
            out += f"[{inner}]"
            position = end
        elif character == "\\" and position + 1 < len(pattern):
            position += 1
            out += re.escape(pattern[position])
        else:
            out += re.escape(character)
        position += 1
    return out
