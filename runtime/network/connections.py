"""Connections that the kernel still tracks as they were before a published port came, went or changed its container.

Address translation is decided once, with a connection's first packet. A client of a UDP service that keeps sending from
one port would never get to the container that now has the port, and a TCP client of one that is gone would wait for
minutes instead of being told.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Iterable
from functools import partial

import trio

from runtime.kernel.netlink import conntrack
from runtime.kernel.netlink.transport import NETLINK_NETFILTER, NetlinkError, NetlinkSocket
from runtime.network.host import host_addresses
from runtime.network.ruleset import PROTOCOLS, Forward

log = logging.getLogger(__name__)

_ABSENT = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOENT, errno.EINVAL)
"""No tracking of connections in this kernel, or none that can be looked at."""


def is_stale(
    connection: conntrack.Connection,
    *,
    gone: Iterable[Forward],
    made: Iterable[Forward],
    is_local: Callable[[str], bool],
) -> bool:
    """Whether a connection goes where a forward of ``gone`` sent it, or not where one of ``made`` would send it.

    What only passes through this host on the way to the same port elsewhere is nobody's business (``is_local``).
    """
    answering = (connection.answering, connection.answering_port)
    for forward in gone:
        if _is_for(connection, forward, is_local) and answering == (forward.address, forward.port):
            return True
    return any(
        _is_for(connection, forward, is_local) and answering != (forward.address, forward.port)
        for forward in made
    )


def _is_for(connection: conntrack.Connection, forward: Forward, is_local: Callable[[str], bool]) -> bool:
    if (connection.protocol, connection.destination_port) != (
        PROTOCOLS[forward.protocol],
        forward.host_port,
    ):
        return False
    if forward.host_ip in ("0.0.0.0", "::"):
        return is_local(connection.destination)
    return connection.destination == forward.host_ip


def forget_stale(*, gone: Iterable[Forward] = (), made: Iterable[Forward] = ()) -> int:
    """Let the kernel forget the connections that are not as these changes want them; how many there were.

    Of new ports only those of UDP are looked at: nobody is connected to a TCP port that was not there. Blocks for some
    milliseconds, in which the kernel walks its table; what the kernel cannot do is not missed.
    """
    gone, made = list(gone), [forward for forward in made if forward.protocol == "udp"]
    ports: dict[tuple[int, int], set[int]] = {}
    for forward in (*gone, *made):
        family = int(socket.AF_INET6 if ":" in forward.address else socket.AF_INET)
        ports.setdefault((family, PROTOCOLS[forward.protocol]), set()).add(forward.host_port)
    if not ports:
        return 0
    local = host_addresses()

    def is_local(address: str) -> bool:
        return address in local or address.startswith("127.")

    count = 0
    try:
        with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
            for (family, protocol), numbers in ports.items():
                only = next(iter(numbers)) if len(numbers) == 1 else 0
                found = map(conntrack.decode, netfilter.query(conntrack.dump(family, protocol, only)))
                stale = [
                    connection
                    for connection in found
                    if connection and is_stale(connection, gone=gone, made=made, is_local=is_local)
                ]
                netfilter.execute([conntrack.delete(one, ignore=(errno.ENOENT,)) for one in stale])
                count += len(stale)
    except NetlinkError as error:
        if error.errno not in _ABSENT:
            log.warning("connections of published ports: %s", error.strerror)
    return count


class StaleConnections:
    """Forgets stale connections in a thread, those of everybody who waits at once."""

    def __init__(self) -> None:
        self._gone: set[Forward] = set()
        self._made: set[Forward] = set()
        self._turn = trio.Lock()

    async def forget(self, *, gone: Iterable[Forward] = (), made: Iterable[Forward] = ()) -> None:
        """Returns when connections are as these changes want them."""
        self._gone.update(forward for forward in gone if forward.host_ip)
        self._made.update(forward for forward in made if forward.host_ip and forward.protocol == "udp")
        if not (self._gone or self._made):
            return
        async with self._turn:
            gone, self._gone = self._gone, set()
            made, self._made = self._made, set()
            if gone or made:
                await trio.to_thread.run_sync(partial(forget_stale, gone=gone, made=made))
