"""Who listens where: asked through a sock_diag socket, of whatever network namespace that socket belongs
to."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from runtime.kernel.netlink.message import NLMSG_DONE, NLMSG_ERROR, Request, decode, encode
from runtime.kernel.netlink.sockdiag import (
    TCP_CLOSE,
    TCP_LISTEN,
    Listener,
    decode_listener,
    dump_sockets,
)
from runtime.kernel.netlink.transport import NETLINK_SOCK_DIAG, NetlinkSocket

_QUESTIONS: tuple[tuple[str, Request], ...] = (
    ("tcp", dump_sockets(socket.AF_INET, socket.IPPROTO_TCP, TCP_LISTEN)),
    ("tcp", dump_sockets(socket.AF_INET6, socket.IPPROTO_TCP, TCP_LISTEN)),
    ("udp", dump_sockets(socket.AF_INET, socket.IPPROTO_UDP, TCP_CLOSE)),
    ("udp", dump_sockets(socket.AF_INET6, socket.IPPROTO_UDP, TCP_CLOSE)),
)
_ENCODED = tuple(
    (protocol, encode(request, number, 0)) for number, (protocol, request) in enumerate(_QUESTIONS, 1)
)
_RESOLVER = socket.inet_aton("127.0.0.11")


def listening(sock_diag: int) -> frozenset[tuple[str, int]]:
    """(protocol, port) of every TCP socket that listens and every unconnected UDP socket in the network
    namespace of the descriptor ``sock_diag``, without our own resolver's. Takes about 0.1 ms.

    Raises OSError when the descriptor is none of the kind.
    """
    found = set()
    for number, (protocol, question) in enumerate(_ENCODED, 1):
        try:
            os.write(sock_diag, question)
            is_done = False
            while not is_done:
                for reply in decode(os.read(sock_diag, 65536)):
                    if reply.sequence != number:
                        continue
                    if reply.type in (NLMSG_DONE, NLMSG_ERROR):
                        is_done = True
                    elif reply.body[8:12] != _RESOLVER or reply.body[0] != socket.AF_INET:
                        found.add((protocol, reply.body[4] << 8 | reply.body[5]))
        except OSError as error:
            if error.errno == errno.ENOENT:  # the kernel has no diagnostics for this protocol
                continue
            raise
    return frozenset(found)


def find_listener(protocol: str, address: str, port: int) -> Listener | None:
    """The socket of this network namespace that keeps ``address:port`` from being bound, if any."""
    number = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": 132}[protocol]
    state = TCP_CLOSE if protocol == "udp" else TCP_LISTEN
    candidates = []
    with NetlinkSocket(NETLINK_SOCK_DIAG) as diag:
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                replies = diag.query(dump_sockets(family, number, state))
            except OSError:
                continue
            candidates += [decode_listener(reply) for reply in replies]
    return next((found for found in candidates if found.port == port and _collides(found, address)), None)


def _collides(listener: Listener, address: str) -> bool:
    if listener.address in ("0.0.0.0", "::") or address in ("0.0.0.0", "::", listener.address):
        return listener.family == socket.AF_INET6 or ":" not in address or address == "::"
    return False


def socket_owner(inode: int, processes: Iterable[Path] | None = None) -> tuple[str, int] | None:
    """(name, pid) of a process that has the socket open; None if that cannot be seen."""
    wanted = f"socket:[{inode}]"
    for process in Path("/proc").iterdir() if processes is None else processes:
        if not process.name.isdecimal():
            continue
        try:
            for descriptor in os.scandir(process / "fd"):
                if os.readlink(descriptor.path) == wanted:
                    return (process / "comm").read_text().strip(), int(process.name)
        except OSError:
            continue
    return None
