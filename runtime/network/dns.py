"""DNS messages as far as a stub's questions and our own answers go (RFC 1035, RFC 6891). Bytes in, values
out.

Messages that are forwarded are never taken apart beyond their question, so this stays small, and fast
enough to answer in well under a tenth of a millisecond.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from typing import NamedTuple

TYPE_A = 1
TYPE_PTR = 12
TYPE_AAAA = 28
TYPE_SRV = 33
TYPE_OPT = 41
TYPE_ANY = 255
CLASS_IN = 1

NOERROR = 0
SERVFAIL = 2
NXDOMAIN = 3
NOTIMP = 4
REFUSED = 5

_QR = 0x8000
_AA = 0x0400
_TC = 0x0200
_RD = 0x0100
_RA = 0x0080
_CD = 0x0010

MINIMUM_SIZE = 512
OWN_SIZE = 4096
"""What we take and give over UDP: it only ever crosses loopback."""

_HEADER = struct.Struct("!HHHHHH")
_FIXED = struct.Struct("!HHIH")
_QUESTION_POINTER = b"\xc0\x0c"
_MAXIMUM_TCP = 65535


class Malformed(ValueError):
    """Not a DNS message that can be answered."""


class Query(NamedTuple):
    """One question."""

    id: int
    flags: int
    name: str
    """Lower case, without the final dot; what is not ASCII is escaped as ``\\ddd``."""
    type: int
    class_: int
    question: bytes
    """As it came, to be sent back unchanged."""
    udp_size: int
    """How large an answer may be over UDP."""
    has_edns: bool

    @property
    def opcode(self) -> int:
        return self.flags >> 11 & 15


class Record(NamedTuple):
    """One answer; its name is the question's."""

    type: int
    data: bytes


def parse_query(message: bytes) -> Query:
    """Raises Malformed for what is no query with exactly one question."""
    if len(message) < 17:
        raise Malformed("too short")
    number, flags, questions, answers, authorities, additional = _HEADER.unpack_from(message)
    if flags & _QR:
        raise Malformed("a response")
    if questions != 1 or answers or authorities:
        raise Malformed("not one question")
    name, offset = _parse_name(message, 12)
    if offset + 4 > len(message):
        raise Malformed("question cut short")
    kind, class_ = struct.unpack_from("!HH", message, offset)
    offset += 4
    question = message[12:offset]
    udp_size, has_edns = MINIMUM_SIZE, False
    if additional and message[offset : offset + 3] == b"\0\0\x29" and offset + 11 <= len(message):
        (size,) = struct.unpack_from("!H", message, offset + 3)
        udp_size, has_edns = min(max(size, MINIMUM_SIZE), OWN_SIZE), True
    return Query(number, flags, name, kind, class_, question, udp_size, has_edns)


def _parse_name(message: bytes, offset: int) -> tuple[str, int]:
    """A name without compression, as questions have it, and where it ends."""
    labels = []
    start = offset
    while True:
        if offset >= len(message):
            raise Malformed("name cut short")
        length = message[offset]
        offset += 1
        if not length:
            break
        if length > 63 or offset + length > len(message) or offset - start > 255:
            raise Malformed("bad label")
        labels.append(message[offset : offset + length])
        offset += length
    name = b".".join(labels)
    if name.isascii() and b"\\" not in name and all(b"." not in label for label in labels):
        return name.decode().lower(), offset
    return ".".join(_escape(label) for label in labels).lower(), offset


def _escape(label: bytes) -> str:
    return "".join(chr(b) if 32 < b < 127 and b not in b".\\" else f"\\{b:03d}" for b in label)


def encode_name(name: str) -> bytes:
    """Without compression. Raises ValueError for a label that is empty or too long."""
    encoded = bytearray()
    for label in name.rstrip(".").split("."):
        data = label.encode()
        if not 0 < len(data) < 64:
            raise ValueError(f"bad label in {name!r}")
        encoded.append(len(data))
        encoded += data
    encoded.append(0)
    return bytes(encoded)


def respond(
    query: Query,
    rcode: int = NOERROR,
    records: Sequence[Record] = (),
    *,
    ttl: int = 0,
    limit: int | None = None,
) -> bytes:
    """The answer to ``query``. What does not fit in ``limit`` bytes (None: what the query allows over UDP)
    is left out and the answer marked as truncated, so that the client asks again over TCP or takes what
    there is."""
    size = query.udp_size if limit is None else limit
    flags = _QR | query.flags & (0x7800 | _RD | _CD) | _RA | rcode
    if rcode in (NOERROR, NXDOMAIN):
        flags |= _AA
    tail = b"\0" + struct.pack("!HHIH", TYPE_OPT, OWN_SIZE, 0, 0) if query.has_edns else b""
    room = size - _HEADER.size - len(query.question) - len(tail)
    parts = []
    if room < 0:
        flags |= _TC
    for record in records:
        encoded = _QUESTION_POINTER + _FIXED.pack(record.type, CLASS_IN, ttl, len(record.data)) + record.data
        room -= len(encoded)
        if room < 0:
            flags |= _TC
            break
        parts.append(encoded)
    header = _HEADER.pack(query.id, flags, 1, len(parts), 0, 1 if tail else 0)
    return header + query.question + b"".join(parts) + tail


def service_record(port: int, target: str) -> Record:
    """A server and its port (RFC 2782), all of the same priority and weight."""
    return Record(TYPE_SRV, struct.pack("!HHH", 0, 0, port) + encode_name(target))


def parse_service(name: str) -> tuple[str, str, str] | None:
    """(port or its name, protocol, host) of ``_http._tcp.web``; None for any other name."""
    service, _, rest = name.partition(".")
    protocol, _, host = rest.partition(".")
    if not host or len(service) < 2 or service[0] != "_" or protocol not in ("_tcp", "_udp", "_sctp"):
        return None
    return service[1:], protocol[1:], host


def reverse_address(name: str) -> str | None:
    """The address that a name below in-addr.arpa or ip6.arpa stands for; None for any other name."""
    if name.endswith(".in-addr.arpa"):
        parts = name[:-13].split(".")
        if len(parts) == 4 and all(part.isdecimal() and part.isascii() and int(part) < 256 for part in parts):
            return ".".join(str(int(part)) for part in reversed(parts))
    elif name.endswith(".ip6.arpa"):
        nibbles = name[:-9].split(".")
        if len(nibbles) == 32 and all(len(n) == 1 and n in "0123456789abcdef" for n in nibbles):
            return str(ipaddress.IPv6Address(bytes.fromhex("".join(reversed(nibbles)))))
    return None


def is_response_to(message: bytes, number: int, question: bytes) -> bool:
    """Whether ``message`` answers the question that was sent under ``number`` (names compare without
    case)."""
    if len(message) < 12:
        return False
    got, flags = struct.unpack_from("!HH", message)
    if got != number or not flags & _QR:
        return False
    return message[12 : 12 + len(question)].lower() == question.lower() or flags & 15 in (1, 4)


def response_code(message: bytes) -> int:
    return message[3] & 15


def is_truncated(message: bytes) -> bool:
    return bool(message[2] & _TC >> 8)


def skip_name(message: bytes, offset: int) -> int:
    """Where what follows a name, compressed or not, begins. Raises IndexError beyond the message's end."""
    while length := message[offset]:
        if length >= 0xC0:
            return offset + 2
        offset += 1 + length
    return offset + 1


def with_id(message: bytes, number: int) -> bytes:
    return struct.pack("!H", number) + message[2:]
