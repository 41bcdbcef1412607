"""From method and path to a handler, with Docker's rules for versions in paths."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from composer.api.messages import Handler
from runtime.errors import ComposerError, InvalidArgument, NotFound

API_VERSION = (1, 47)
MIN_API_VERSION = (1, 24)

_VERSIONED = re.compile(r"/v(\d{1,4})\.(\d{1,4})(?=/)")


def version_text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


@dataclass(frozen=True, slots=True)
class Route:
    """``pattern`` has literal segments, ``{name}`` for one segment and ``{name*}`` for one or more (image
    names)."""

    method: str
    pattern: str
    handler: Handler


class Router:
    """Finds routes. Patterns are tried in the order given, among those that begin with the same segment."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_first: dict[str, list[tuple[str, re.Pattern[str], Handler]]] = {}
        for route in routes:
            first = route.pattern.split("/", 2)[1]
            entry = (route.method, _compile(route.pattern), route.handler)
            self._by_first.setdefault(first, []).append(entry)

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """The handler and the named parts of ``path`` (decoded, without version). HEAD is answered by GET's
        route unless it has its own. Raises NotFound, or a ComposerError (405) for a wrong method."""
        allowed = set()
        parts = path.split("/", 2)
        routes = self._by_first.get(parts[1] if len(parts) > 1 else "", ())
        for wanted in (method, "GET") if method == "HEAD" else (method,):
            for candidate, pattern, handler in routes:
                if match := pattern.fullmatch(path):
                    if candidate == wanted:
                        return handler, match.groupdict()
                    allowed.add(candidate)
        if allowed:
            raise ComposerError(
                f"{method} is not possible for {path}",
                hint=f"Possible: {', '.join(sorted(allowed))}.",
                status=405,
            )
        raise NotFound("page not found")


def _compile(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern)
    text = re.sub(r"\\\{(\w+)\\\*\\\}", r"(?P<\1>.+)", text)
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", text))


def split_version(path: str) -> tuple[tuple[int, int], str]:
    """The version a path asks for (the newest if it has none) and the rest of it. Raises InvalidArgument with
    Docker's sentences for versions outside the range that is served."""
    match = _VERSIONED.match(path)
    if match is None:
        return API_VERSION, path
    version = (int(match[1]), int(match[2]))
    if version > API_VERSION:
        raise InvalidArgument(
            f"client version {version_text(version)} is too new. "
            f"Maximum supported API version is {version_text(API_VERSION)}"
        )
    if version < MIN_API_VERSION:
        raise InvalidArgument(
            f"client version {version_text(version)} is too old. Minimum supported API version is "
            f"{version_text(MIN_API_VERSION)}, please upgrade your client to a newer version"
        )
    return version, path[match.end() :]
