"""Searching a registry by a word: ``/v1/search``, which Docker Hub and some others have (Docker Engine API,
"ImageSearch")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import msgspec

from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.image.manifest import InvalidImage, decode_json
from runtime.image.reference import DEFAULT_DOMAIN, parse_reference
from runtime.image.registry.authentication import CredentialSource
from runtime.image.registry.configuration import RegistryConfiguration
from runtime.image.registry.connection import Connection, read

_LIMIT = 4 << 20
_HUB = "https://index.docker.io"
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
MOST = 100
"""How many results may be asked for at once."""


class Found(msgspec.Struct, frozen=True):
    """One repository that was found."""

    name: str = ""
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Answer(msgspec.Struct):
    results: list[Found] | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """What results must be; None: whatever."""

    is_official: bool | None = None
    is_automated: bool | None = None
    stars: int = 0

    def admits(self, item: Found) -> bool:
        return (
            self.is_official in (None, item.is_official)
            and self.is_automated in (None, item.is_automated)
            and item.star_count >= self.stars
        )


def parse_condition(filters: Mapping[str, Sequence[str]]) -> Condition:
    """Docker's filters. Raises InvalidArgument. Pure."""
    condition = Condition()
    for name, texts in filters.items():
        for text in texts:
            if name == "stars":
                if not (text.isascii() and text.isdigit()):
                    raise InvalidArgument(f"invalid filter 'stars={text}'")
                condition = replace(condition, stars=max(condition.stars, int(text[:18])))
            elif name in ("is-official", "is-automated"):
                if text.lower() not in _FLAGS:
                    raise InvalidArgument(f"invalid filter '{name}={text}'")
                flag = _FLAGS[text.lower()]
                condition = (
                    replace(condition, is_official=flag)
                    if name == "is-official"
                    else replace(condition, is_automated=flag)
                )
            else:
                raise InvalidArgument(f"invalid filter '{name}'")
    return condition


def place_of(term: str) -> tuple[str, str]:
    """The registry to search, and for what. Raises InvalidArgument. Pure."""
    if "://" in term:
        raise InvalidArgument(f"invalid repository name: repository name ({term}) should not have a scheme")
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        domain = parse_reference(f"{first}/x").domain
        return domain, rest
    return DEFAULT_DOMAIN, term.removeprefix("library/")


async def search(
    configuration: RegistryConfiguration,
    term: str,
    limit: int,
    condition: Condition,
    credentials: CredentialSource,
) -> list[Found]:
    """At most ``limit`` repositories that a registry finds, those with most stars first. Raises InvalidArgument,
    Unreachable, and NotFound when the registry cannot search."""
    if not 1 <= limit <= MOST:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, {MOST}]")
    domain, word = place_of(term)
    if not word:
        raise InvalidArgument("a word to search for expected")
    connection = Connection(
        domain,
        configuration,
        url=_HUB if domain == DEFAULT_DOMAIN else "",
        credentials=lambda: credentials(domain),
    )
    anybody = parse_reference("search")

    async def attempt() -> bytes:
        path = "/v1/search?" + urlencode({"q": word, "n": limit})
        headers = {"Accept": "application/json"}
        async with connection.response(
            "GET", path, anybody, headers, scopes=("",), expected=frozenset((200, 404))
        ) as answer:
            if answer.status_code == 404:
                raise NotFound(f"{domain} cannot be searched: it has no /v1/search")
            return await read(answer, _LIMIT, "the list of results")

    try:
        data = await connection.retrying(attempt)
    finally:
        await connection.aclose()
    try:
        answer = decode_json(data, _Answer, _LIMIT, "the list of results")
    except InvalidImage as error:
        raise ComposerError(f"{domain}: {error.message}") from None
    found = [item for item in answer.results or () if condition.admits(item)]
    return sorted(found[:limit], key=lambda item: -item.star_count)
