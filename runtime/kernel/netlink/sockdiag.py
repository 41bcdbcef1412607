"""Listing sockets of a network namespace (sock_diag(7), linux/inet_diag.h): pure encoders and decoders."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from runtime.kernel.netlink.message import NLM_F_DUMP, Reply, Request
from runtime.kernel.netlink.rtnetlink import unpack_address

SOCK_DIAG_BY_FAMILY = 20
TCP_CLOSE = 7
"""The state of an unconnected UDP socket."""
TCP_LISTEN = 10

_REQUEST = struct.Struct("=BBBxI")
_SOCKID = struct.Struct("!HH16s16s")
_NO_COOKIE = b"\xff" * 8
_ID = bytes(_SOCKID.size + 4) + _NO_COOKIE
_MESSAGE = struct.Struct("=BBBB")


class Listener(NamedTuple):
    """One bound socket. ``uid`` is its owner, ``inode`` its number as ``/proc/<pid>/fd`` shows it."""

    family: int
    address: str
    port: int
    uid: int
    inode: int


def dump_sockets(family: int, protocol: int, state: int) -> Request:
    """All sockets of a family and protocol in one state (TCP_LISTEN; TCP_CLOSE for UDP)."""
    body = _REQUEST.pack(family, protocol, 0, 1 << state) + _ID
    return Request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, body, "list sockets")


def decode_listener(reply: Reply) -> Listener:
    family = reply.body[0]
    port, _, source, _ = _SOCKID.unpack_from(reply.body, 4)
    uid, inode = struct.unpack_from("=II", reply.body, 64)
    return Listener(
        family, unpack_address(source if family == socket.AF_INET6 else source[:4]), port, uid, inode
    )
