"""Answers of other name servers, kept as long as they say themselves (RFC 2308 for those that say "no")."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

from runtime.network.dns import (
    NOERROR,
    NXDOMAIN,
    TYPE_OPT,
    Malformed,
    is_truncated,
    response_code,
    skip_name,
    with_id,
)

TYPE_SOA = 6
LONGEST = 3600
"""Seconds that an answer is kept at most."""
LONGEST_NEGATIVE = 300
ENTRIES = 4096


class _Entry(NamedTuple):
    response: bytes
    ttls: tuple[int, ...]
    """Where in the response the records' times to live are."""
    begin: float
    end: float


class AnswerCache:
    """Responses by question. ``now`` is in seconds of any clock that only goes forward."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._limit = entries

    def get(self, servers: tuple[str, ...], message: bytes, now: float) -> bytes | None:
        """The response to ``message`` from ``servers``, with what is left of its times to live."""
        key = (servers, message[2:])
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.end:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        aged = bytearray(with_id(entry.response, int.from_bytes(message[:2], "big")))
        elapsed = int(now - entry.begin)
        for offset in entry.ttls:
            (ttl,) = struct.unpack_from("!I", aged, offset)
            struct.pack_into("!I", aged, offset, max(ttl - elapsed, 0))
        return bytes(aged)

    def put(self, servers: tuple[str, ...], message: bytes, response: bytes, now: float) -> None:
        """Keep ``response`` if it may be kept: not truncated, and either with answers or with the word of
        the zone that there are none."""
        try:
            lifetime, ttls = lifetime_of(response)
        except (Malformed, struct.error, IndexError):
            return
        if lifetime <= 0:
            return
        self._entries[(servers, message[2:])] = _Entry(response, ttls, now, now + lifetime)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)


def lifetime_of(response: bytes) -> tuple[int, tuple[int, ...]]:
    """(seconds that a response may be kept, offsets of its records' TTLs). 0 seconds: not at all.

    Raises Malformed, struct.error or IndexError for what is no whole message.
    """
    if is_truncated(response) or response_code(response) not in (NOERROR, NXDOMAIN):
        return 0, ()
    _, _, questions, answers, authorities, additional = struct.unpack_from("!HHHHHH", response)
    offset = 12
    for _ in range(questions):
        offset = skip_name(response, offset) + 4
    ttls: list[int] = []
    found: list[int] = []
    negative = 0
    for number in range(answers + authorities + additional):
        offset = skip_name(response, offset)
        kind, _, ttl, length = struct.unpack_from("!HHIH", response, offset)
        ttl = 0 if ttl >> 31 else ttl
        if offset + 10 + length > len(response):
            raise Malformed("record cut short")
        if kind != TYPE_OPT:
            ttls.append(offset + 4)
            found.append(ttl)
            if kind == TYPE_SOA and answers <= number < answers + authorities:
                (minimum,) = struct.unpack_from("!I", response, offset + 10 + length - 4)
                negative = min(ttl, minimum, LONGEST_NEGATIVE)
        offset += 10 + length
    if answers and response_code(response) == NOERROR:
        return min([*found, LONGEST]), tuple(ttls)
    return negative, tuple(ttls)
