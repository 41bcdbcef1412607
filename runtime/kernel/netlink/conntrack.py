"""Tracked connections: listing those of a kind and forgetting them (linux/netfilter/nfnetlink_conntrack.h). Pure
encoders and decoders."""

from __future__ import annotations

import struct
from typing import NamedTuple

from runtime.kernel.netlink.message import (
    NLM_F_DUMP,
    Reply,
    Request,
    attribute,
    attribute_map,
    be16,
    nested,
    u8,
    u32,
)
from runtime.kernel.netlink.rtnetlink import unpack_address

NFNL_SUBSYS_CTNETLINK = 1
IPCTNL_MSG_CT_GET = 1
IPCTNL_MSG_CT_DELETE = 2

CTA_TUPLE_ORIG = 1
CTA_TUPLE_REPLY = 2
CTA_ID = 12
CTA_ZONE = 18
CTA_FILTER = 25
CTA_FILTER_ORIG_FLAGS = 1
CTA_FILTER_REPLY_FLAGS = 2
CTA_TUPLE_IP = 1
CTA_TUPLE_PROTO = 2
CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST = 1, 2, 3, 4
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
FILTER_PROTOCOL = 1 << 3  # net/netfilter/nf_internals.h
FILTER_DESTINATION_PORT = 1 << 5

_GENERIC = struct.Struct("!BBH")


class Connection(NamedTuple):
    """One tracked connection, as it began and as answers to it come: after address translation the two differ."""

    family: int
    protocol: int
    destination: str
    destination_port: int
    """Where it was sent in the beginning."""
    answering: str
    answering_port: int
    """Who answers."""
    tuple: bytes
    id: bytes
    zone: bytes


def dump(family: int, protocol: int, port: int = 0) -> Request:
    """Connections of a protocol, those only that were sent to ``port``, unless it is 0, of whatever address.

    Before Linux 5.8 the kernel lists others as well.
    """
    wanted, flags = u8(CTA_PROTO_NUM, protocol), FILTER_PROTOCOL
    if port:
        wanted, flags = wanted + be16(CTA_PROTO_DST_PORT, port), flags | FILTER_DESTINATION_PORT
    body = _GENERIC.pack(family, 0, 0) + nested(CTA_TUPLE_ORIG, nested(CTA_TUPLE_PROTO, wanted))
    # The kernel wants flags for both directions, even where there is nothing to compare.
    body += nested(CTA_FILTER, u32(CTA_FILTER_ORIG_FLAGS, flags), u32(CTA_FILTER_REPLY_FLAGS, 0))
    return Request(
        NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, NLM_F_DUMP, body, "list tracked connections"
    )


def delete(connection: Connection, *, ignore: tuple[int, ...] = ()) -> Request:
    """Forget exactly this connection. ENOENT when it is gone."""
    body = _GENERIC.pack(connection.family, 0, 0)
    body += nested(CTA_TUPLE_ORIG, connection.tuple) + attribute(CTA_ID, connection.id)
    if connection.zone:
        body += attribute(CTA_ZONE, connection.zone)
    return Request(
        NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, 0, body, "forget a tracked connection", ignore
    )


def decode(reply: Reply) -> Connection | None:
    """None for what is no connection with ports."""
    found = attribute_map(reply.body, _GENERIC.size)
    original, answer = found.get(CTA_TUPLE_ORIG, b""), found.get(CTA_TUPLE_REPLY, b"")
    sent, answered = attribute_map(original), attribute_map(answer)
    addresses, back = (
        attribute_map(sent.get(CTA_TUPLE_IP, b"")),
        attribute_map(answered.get(CTA_TUPLE_IP, b"")),
    )
    ports, ports_back = (
        attribute_map(sent.get(CTA_TUPLE_PROTO, b"")),
        attribute_map(answered.get(CTA_TUPLE_PROTO, b"")),
    )
    destination = addresses.get(CTA_IP_V4_DST) or addresses.get(CTA_IP_V6_DST)
    answering = back.get(CTA_IP_V4_SRC) or back.get(CTA_IP_V6_SRC)
    if not destination or not answering or CTA_PROTO_DST_PORT not in ports:
        return None
    return Connection(
        reply.body[0],
        ports[CTA_PROTO_NUM][0],
        unpack_address(destination),
        int.from_bytes(ports[CTA_PROTO_DST_PORT], "big"),
        unpack_address(answering),
        int.from_bytes(ports_back.get(CTA_PROTO_SRC_PORT, b""), "big"),
        original,
        found.get(CTA_ID, b""),
        found.get(CTA_ZONE, b""),
    )
