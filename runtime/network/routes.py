"""Where the host can go already: asked of the kernel once, and followed from then on by what it tells.

It tells of every new route before whoever made it goes on, so what is known here is never less than what there is (of
an IPv6 address a moment later, but it has a route). It can be more: the kernel says nothing of the IPv4 routes that go
with their link. Whatever goes has all be looked up again.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.message import NLM_F_REPLACE, Reply, decode
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network.host import nameservers
from runtime.network.model import Subnet, parse_prefix

_LINK_LOCAL = "fe80:"
"""Every link has such, and they come and go with each container."""


class Way(NamedTuple):
    """A route: into ``destination``, the numbers ``first`` to ``last``, through the link ``ifindex``."""

    destination: Subnet
    first: int
    last: int
    ifindex: int


class HostRoutes:
    """The routes of all tables (VPNs have their own) and the addresses of one network namespace, the one in which it is
    first asked. For one thread."""

    def __init__(self) -> None:
        self._changes: socket.socket | None = None
        self._ways: set[Way] = set()
        self._prefixes: set[str] = set()
        self._is_known = False

    def prefixes(self) -> frozenset[str]:
        """What a new network must not cover: destinations (without default routes), the subnets of addresses, and the
        name servers."""
        self._follow()
        servers = (f"{one.partition('%')[0]}/{128 if ':' in one else 32}" for one in nameservers())
        ways = (str(way.destination) for way in self._ways if way.destination.prefixlen)
        return frozenset((*self._prefixes, *ways, *servers))

    def into(self, subnets: Iterable[Subnet], *, besides: int) -> Sequence[Way]:
        """Those that have addresses in common with one of ``subnets``, without those through the link ``besides``."""
        self._follow()
        found: list[Way] = []
        for subnet in subnets:
            first, last = int(subnet.network_address), int(subnet.broadcast_address)
            found += [
                way
                for way in self._ways
                if way.first <= last
                and first <= way.last
                and way.ifindex != besides
                and way.destination.version == subnet.version
            ]
        return found

    def forget(self) -> None:
        """Have all be looked up again."""
        self._is_known = False

    def close(self) -> None:
        if self._changes is not None:
            self._changes.close()
            self._changes = None

    def _follow(self) -> None:
        if self._changes is None:
            self._changes = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_ROUTE
            )
            self._changes.bind((0, rtnetlink.GROUPS_OF_ROUTES))
            self._is_known = False
        while True:
            try:
                told = self._changes.recv(65536)
            except BlockingIOError:
                break
            except OSError as error:  # more than the socket holds
                if error.errno != errno.ENOBUFS:
                    raise
                self._is_known = False
                continue
            if self._is_known:
                for message in decode(told):
                    self._hear(message)
        if not self._is_known:
            self._look()

    def _hear(self, message: Reply) -> None:
        if message.type in (rtnetlink.RTM_NEWADDR, rtnetlink.RTM_DELADDR):
            address = rtnetlink.decode_address(message)
            if address is None or address.prefix.startswith(_LINK_LOCAL):
                return
            self._prefixes.add(address.prefix)
            self._is_known &= message.type == rtnetlink.RTM_NEWADDR
        elif message.type in (rtnetlink.RTM_NEWROUTE, rtnetlink.RTM_DELROUTE):
            route = rtnetlink.decode_route(message)
            if route is None or route.destination.startswith(_LINK_LOCAL):
                return
            self._add(route)
            # Of a route that takes another's place only the new one is told.
            self._is_known &= message.type == rtnetlink.RTM_NEWROUTE and not message.flags & NLM_F_REPLACE

    def _look(self) -> None:
        self._ways.clear()
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            for family in (socket.AF_INET, socket.AF_INET6):
                for reply in rtnl.query(rtnetlink.dump_routes(family)):
                    route = rtnetlink.decode_route(reply)
                    if route is not None and not route.destination.startswith(_LINK_LOCAL):
                        self._add(route)
            addresses = map(rtnetlink.decode_address, rtnl.query(rtnetlink.dump_addresses()))
            self._prefixes = {
                one.prefix for one in addresses if one and not one.prefix.startswith(_LINK_LOCAL)
            }
        self._is_known = True

    def _add(self, route: rtnetlink.Route) -> None:
        destination = parse_prefix(route.destination)
        first, last = int(destination.network_address), int(destination.broadcast_address)
        self._ways.add(Way(destination, first, last, route.ifindex))
