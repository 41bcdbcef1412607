"""Framing: headers, attributes, and what the kernel answers (linux/netlink.h). Bytes in, values out; no
I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3

NLM_F_REQUEST = 0x01
NLM_F_MULTI = 0x02
NLM_F_ACK = 0x04
NLM_F_DUMP_INTR = 0x10
NLM_F_ROOT = 0x100
NLM_F_MATCH = 0x200
NLM_F_DUMP = NLM_F_ROOT | NLM_F_MATCH
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLM_F_CAPPED = 0x100
"""In an error: the failed request's payload is not repeated."""
NLM_F_ACK_TLVS = 0x200
"""In an error: attributes follow (extended acknowledgement)."""

NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF

NLMSGERR_ATTR_MSG = 1
NLMSGERR_ATTR_OFFS = 2

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class Request(NamedTuple):
    """One message to send. ``label`` says in words what it does, for errors; ``ignore`` lists errno values
    that count as success (EEXIST of something that may be there already); ``reasons`` has words that say more on an
    errno than the kernel does."""

    type: int
    flags: int
    body: bytes
    label: str = ""
    ignore: tuple[int, ...] = ()
    reasons: Mapping[int, str] = MappingProxyType({})


class Reply(NamedTuple):
    """One message received; ``body`` starts after the netlink header."""

    type: int
    flags: int
    sequence: int
    body: bytes


class Acknowledgement(NamedTuple):
    """What an NLMSG_ERROR says: ``error`` 0 is success; ``text`` is the kernel's own explanation, often
    empty."""

    error: int
    text: str


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = len(data)
    return _ATTRIBUTE.pack(length + 4, kind) + data + _PADDING[length & 3]


def nested(kind: int, *children: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(children))


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=B", value))


def u16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def be16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!H", value))


def be32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


def text(kind: int, value: str) -> bytes:
    """A string with its final NUL."""
    return attribute(kind, value.encode() + b"\0")


def encode(request: Request, sequence: int, flags: int) -> bytes:
    """The whole message; ``flags`` are added to the request's own."""
    body = request.body
    length = len(body)
    return (
        _HEADER.pack(16 + length, request.type, request.flags | flags | NLM_F_REQUEST, sequence, 0)
        + body
        + _PADDING[length & 3]
    )


def decode(data: bytes) -> Iterator[Reply]:
    """The messages of one datagram. A message cut short ends the iteration."""
    offset, end = 0, len(data)
    while offset + 16 <= end:
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < 16 or offset + length > end:
            return
        yield Reply(kind, flags, sequence, data[offset + 16 : offset + length])
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(type without flags, payload) of the attributes from ``offset`` on. Nonsense ends the iteration."""
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            return
        yield kind & _NLA_TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attribute_map(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Like :func:`attributes` as a dict; of a repeated type the last one counts."""
    return dict(attributes(data, offset))


def decode_text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "replace")


def acknowledgement(reply: Reply) -> Acknowledgement:
    """Decode an NLMSG_ERROR or the errno in an NLMSG_DONE."""
    if len(reply.body) < 4:
        return Acknowledgement(0, "")
    error = -int.from_bytes(reply.body[:4], "little" if _LITTLE else "big", signed=True)
    message = ""
    if reply.flags & NLM_F_ACK_TLVS:
        offset = 4
        if reply.type == NLMSG_ERROR:
            offset = 20
            if not reply.flags & NLM_F_CAPPED and len(reply.body) >= 8:
                (length,) = struct.unpack_from("=I", reply.body, 4)
                offset = 4 + ((length + 3) & ~3)
        message = decode_text(attribute_map(reply.body, offset).get(NLMSGERR_ATTR_MSG, b""))
    return Acknowledgement(error, message)


_LITTLE = struct.pack("=H", 1) == b"\1\0"
