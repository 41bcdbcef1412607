"""Requests and answers as the routes see them, free of sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, unquote

import msgspec

from runtime.errors import ComposerError, InvalidArgument

JSON = "application/json"
NDJSON = "application/x-ndjson"
TAR = "application/x-tar"
RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"

JSON_LIMIT = 32 << 20
"""Bytes of a JSON body: inline configs and ``-f -`` may be large, but are not files."""

_TRUE = frozenset({"1", "true", "True", "TRUE", "t", "T", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "False", "FALSE", "f", "F", "no", "off", "none"})

T = TypeVar("T")


class Query:
    """The decoded part of a target behind ``?``. Accessors raise InvalidArgument for values of the wrong
    type."""

    __slots__ = ("_values",)

    def __init__(self, text: str) -> None:
        self._values = parse_qs(text, keep_blank_values=True) if text else {}

    def text(self, name: str, default: str = "") -> str:
        values = self._values.get(name)
        return values[0] if values else default

    def all(self, name: str) -> list[str]:
        """Every value of a key that may be repeated."""
        return self._values.get(name, [])

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def flag(self, name: str, default: bool = False) -> bool:
        """Docker's booleans: anything but ``""``, ``0``, ``false``, ``no`` and ``none`` is true."""
        values = self._values.get(name)
        if not values:
            return default
        return values[0].strip().lower() not in _FALSE

    def integer(self, name: str, default: int | None = None) -> int | None:
        text = self.text(name)
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise InvalidArgument(f'{name}: "{text}" is not a whole number') from None

    def number(self, name: str) -> float | None:
        text = self.text(name)
        if not text:
            return None
        try:
            return float(text)
        except ValueError:
            raise InvalidArgument(f'{name}: "{text}" is not a number') from None

    def time_ns(self, name: str) -> int | None:
        """A point in time as Docker's clients send it (``1700000000.000000123``); None when absent or 0."""
        text = self.text(name)
        if text in ("", "0"):
            return None
        whole, _, fraction = text.partition(".")
        try:
            seconds = int(whole)
            return seconds * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or "0")
        except ValueError:
            raise InvalidArgument(f'{name}: "{text}" is not a time (seconds since the epoch)') from None

    def filters(self, known: frozenset[str] | None = None) -> dict[str, list[str]]:
        """Docker's ``filters``: JSON ``{"label": ["a=b"]}``, or the older ``{"label": {"a=b": true}}``.

        Raises InvalidArgument when it is neither, or has a key that is not in ``known``.
        """
        text = self.text("filters")
        if not text:
            return {}
        try:
            document = msgspec.json.decode(text.encode())
        except msgspec.DecodeError as error:
            raise InvalidArgument(f"invalid filters: {error}") from None
        if not isinstance(document, dict):
            raise InvalidArgument("invalid filters: an object expected")
        found: dict[str, list[str]] = {}
        for key, values in document.items():
            if isinstance(values, dict):
                values = [value for value, is_set in values.items() if is_set]
            if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
                raise InvalidArgument(f"invalid filters: a list of strings expected for {key}")
            if known is not None and key not in known:
                raise InvalidArgument(f"invalid filter '{key}'", hint=f"Known: {', '.join(sorted(known))}.")
            if values:
                found[key] = values
        return found


class BodyReader(Protocol):
    """The body of a request while it arrives."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def read(self, limit: int) -> bytes:
        """All of it; raises a ComposerError (status 413) when it is more than ``limit`` bytes."""


@dataclass(slots=True)
class Request:
    """One request. ``path`` is without the version and decoded; ``headers`` have lower-case names."""

    method: str
    path: str
    query: Query
    headers: Mapping[str, str]
    body: BodyReader
    version: tuple[int, int]
    """The API version that was asked for, or the newest."""
    params: dict[str, str] = field(default_factory=dict)
    """The named parts of the path."""

    async def json(self, type_: type[T]) -> T:
        """The body decoded as ``type_``; an empty one counts as ``{}``. Raises InvalidArgument with the path
        of the value that does not fit."""
        return decode_json(await self.body.read(JSON_LIMIT) or b"{}", type_)

    def wants_upgrade(self) -> bool:
        return "upgrade" in self.headers.get("connection", "").lower() and "upgrade" in self.headers


def decode_json(body: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid request body: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(f"the request body is not valid JSON: {error}") from None


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class Sink(Protocol):
    """Where a streaming answer goes."""

    async def send(self, data: bytes) -> None:
        """Send a piece; the first call (also with ``b""``) sends the head of the answer."""


@dataclass(frozen=True, slots=True)
class Streaming:
    """An answer that is made while it is sent.

    ``produce`` is cancelled when the client goes away. What it raises before it sent anything becomes an
    ordinary error answer; after that the connection breaks off, so a protocol with error messages has to send
    its own.
    """

    produce: Callable[[Sink], Awaitable[None]]
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class Duplex(Protocol):
    """A hijacked connection."""

    async def accept(self) -> None:
        """Tell the client that the protocol has changed."""

    async def receive(self) -> bytes:
        """What the client sends; ``b""`` once when it has sent all. Raises BrokenResourceError when it is
        gone."""

    async def send(self, data: bytes) -> None: ...
    async def wait_gone(self) -> None:
        """Return when the client has closed its end for reading too."""


@dataclass(frozen=True, slots=True)
class Hijack:
    """The connection is to become a raw stream: ``converse`` has it from now on and must ``accept`` first."""

    converse: Callable[[Duplex], Awaitable[None]]
    content_type: str = RAW_STREAM


Answer = Response | Streaming | Hijack
Handler = Callable[[Request], Awaitable[Answer]]

encode_json = msgspec.json.Encoder().encode

NO_CONTENT = Response(204)
NOT_MODIFIED = Response(304)


def json_response(value: object, status: int = 200) -> Response:
    return Response(status, encode_json(value) + b"\n", JSON)


def error_fields(error: ComposerError) -> dict[str, Any]:
    """What an error tells a client, Docker's ``message`` first."""
    fields: dict[str, Any] = {"message": error.message}
    if error.hint:
        fields["hint"] = error.hint
    if error.locations:
        fields["locations"] = [location_fields(location) for location in error.locations]
    if error.exit_status != 1:
        fields["exit_status"] = error.exit_status
    if error.errors:
        fields["errors"] = [error_fields(one) for one in error.errors]
    return fields


def location_fields(location: Any) -> dict[str, Any]:
    """A ``runtime.errors.Location`` as a JSON object."""
    return {
        name: value
        for name in ("file", "line", "column", "path", "text")
        if (value := getattr(location, name))
    }


def error_response(error: ComposerError) -> Response:
    if error.status == 304:  # nothing to do
        return NOT_MODIFIED
    status = error.status if 400 <= error.status < 600 else 500
    return json_response(error_fields(error), status)


def decode_path(path: str) -> str:
    return unquote(path)
