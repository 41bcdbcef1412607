"""Facts about the host's own network, read when a network is made: where it can already go, whom it asks
for names."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable
from pathlib import Path

from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket


def host_routes() -> frozenset[str]:
    """Prefixes that a new network must not cover: destinations of routes in whatever table (VPNs have their own;
    without default routes), the subnets of addresses, and the name servers."""
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        found = set()
        for family in (socket.AF_INET, socket.AF_INET6):
            for reply in rtnl.query(rtnetlink.dump_routes(family)):
                route = rtnetlink.decode_route(reply)
                if route and not route.destination.endswith("/0"):
                    found.add(route.destination)
        for reply in rtnl.query(rtnetlink.dump_addresses()):
            address = rtnetlink.decode_address(reply)
            if address:
                found.add(address.prefix)
    return frozenset(found) | _server_prefixes()


class HostRoutes:
    """:func:`host_routes`, looked up again only after the kernel has told of a change. For one thread."""

    def __init__(self) -> None:
        self._changes: socket.socket | None = None
        self._known: frozenset[str] | None = None

    def __call__(self) -> frozenset[str]:
        if self._has_changed() or self._known is None:
            self._known = None
            self._known = host_routes()
        return self._known | _server_prefixes()

    def _has_changed(self) -> bool:
        if self._changes is None:
            self._changes = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_ROUTE
            )
            self._changes.bind((0, rtnetlink.GROUPS_OF_ROUTES))
            return True
        changed = False
        while True:
            try:
                self._changes.recv(65536)
            except BlockingIOError:
                return changed
            except OSError as error:  # more than the socket holds
                if error.errno != errno.ENOBUFS:
                    raise
            changed = True

    def close(self) -> None:
        if self._changes is not None:
            self._changes.close()
            self._changes = None


def _server_prefixes() -> frozenset[str]:
    return frozenset(f"{server.partition('%')[0]}/{128 if ':' in server else 32}" for server in nameservers())


def host_addresses() -> frozenset[str]:
    """The host's own addresses, without lengths."""
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        decoded = map(rtnetlink.decode_address, rtnl.query(rtnetlink.dump_addresses()))
        return frozenset(address.prefix.partition("/")[0] for address in decoded if address)


def read_resolv_conf() -> str:
    """The host's resolv.conf; where that only names systemd-resolved's stub, the servers behind the stub,
    since these can also be asked while the stub restarts. "" when there is none."""
    text = _read("/etc/resolv.conf")
    if parse_nameservers(text) == ("127.0.0.53",):
        return _read("/run/systemd/resolve/resolv.conf") or text
    return text


def nameservers() -> tuple[str, ...]:
    """The servers that the host asks, in order."""
    return parse_nameservers(read_resolv_conf())


def parse_nameservers(text: str) -> tuple[str, ...]:
    """``nameserver`` lines of a resolv.conf (resolv.conf(5)); what is no address is passed over."""
    servers = []
    for words in _directives(text):
        if words[0] == "nameserver" and len(words) > 1:
            try:
                ipaddress.ip_address(words[1])
            except ValueError:
                continue
            servers.append(words[1])
    return tuple(servers)


def parse_search(text: str) -> tuple[str, ...]:
    """Search domains of a resolv.conf: the last ``search`` or ``domain`` line counts."""
    found: tuple[str, ...] = ()
    for words in _directives(text):
        if words[0] in ("search", "domain"):
            found = tuple(words[1:])
    return found


def parse_options(text: str) -> tuple[str, ...]:
    """``options`` of a resolv.conf."""
    return tuple(word for words in _directives(text) if words[0] == "options" for word in words[1:])


def _directives(text: str) -> Iterable[list[str]]:
    for line in text.splitlines():
        words = line.split()
        if words and not words[0].startswith(("#", ";")):
            yield words


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
