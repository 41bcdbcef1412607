"""What the firewall is to hold: one nf_tables table as data. Pure; ``firewall`` brings it into the kernel.

The rules (``rules``) never change; what changes with networks and containers are the elements of sets and maps, so
that starting a container costs one small message whatever else runs.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from runtime.kernel.netlink.message import Request
from runtime.kernel.netlink.nftables import (
    NFPROTO_INET,
    NFPROTO_IPV4,
    NFPROTO_IPV6,
    TYPE_IFNAME,
    TYPE_INET_PROTO,
    TYPE_INET_SERVICE,
    TYPE_IPV4_ADDR,
    TYPE_IPV6_ADDR,
    TYPE_NFPROTO,
    Element,
    add_chain,
    add_elements,
    add_rule,
    add_set,
    add_table,
    concatenated,
    delete_table,
)
from runtime.network.rules import CHAINS

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
FAMILIES = {4: NFPROTO_IPV4, 6: NFPROTO_IPV6}


class BridgeRules(NamedTuple):
    """What applies to one network's bridge. Families are 4 and 6."""

    bridge: str
    internal: bool = False
    icc: bool = True
    masqueraded: tuple[int, ...] = (4, 6)
    """Families in which what leaves takes an address of the host."""
    routed: tuple[int, ...] = ()
    """Families in which containers are reached at their own addresses, on what they have published."""
    unprotected: tuple[int, ...] = ()
    """Families in which containers are reached at their own addresses, on every port."""
    trusted: tuple[str, ...] = ()
    """Links of the host from which published ports are reached at the containers' own addresses."""
    sources: tuple[str, ...] = ()
    """Addresses, at most one of each family, that what leaves takes instead of the way out's own."""
    ipv6: bool = False
    tunnel_port: int = 0
    """UDP port of an overlay network's tunnel, 0 for other networks."""
    peers: tuple[str, ...] = ()
    """From where the tunnel takes frames."""


class Forward(NamedTuple):
    """One published port in one address family. ``host_ip`` is an address, or "0.0.0.0" or "::" for all; or "" where
    the container is reached at its own address, without a port of the host (``host_port`` 0)."""

    protocol: str
    host_ip: str
    host_port: int
    address: str
    port: int


@dataclass(frozen=True)
class FirewallState:
    """Everything that the table depends on."""

    networks: frozenset[BridgeRules] = frozenset()
    forwards: frozenset[Forward] = frozenset()
    unrouted: frozenset[str] = field(default=frozenset())
    """Interfaces that do not become connected to each other although forwarding is on."""


Elements = Mapping[str, frozenset[Element]]


class SetSpec(NamedTuple):
    key_type: int
    key_length: int
    data_type: int = 0
    data_length: int = 0


_PAIR = concatenated(TYPE_IFNAME, TYPE_IFNAME)
_OF_FAMILY = concatenated(TYPE_IFNAME, TYPE_NFPROTO)
_PORT = concatenated(TYPE_INET_PROTO, TYPE_INET_SERVICE)
_PORT4 = concatenated(TYPE_IPV4_ADDR, TYPE_INET_PROTO, TYPE_INET_SERVICE)
_PORT6 = concatenated(TYPE_IPV6_ADDR, TYPE_INET_PROTO, TYPE_INET_SERVICE)
_TARGET4 = concatenated(TYPE_IPV4_ADDR, TYPE_INET_SERVICE)
_TARGET6 = concatenated(TYPE_IPV6_ADDR, TYPE_INET_SERVICE)

SETS: dict[str, SetSpec] = {
    "bridges": SetSpec(TYPE_IFNAME, 16),
    "internal": SetSpec(TYPE_IFNAME, 16),
    "outbound": SetSpec(_OF_FAMILY, 20),
    "routed": SetSpec(_OF_FAMILY, 20),
    "unprotected": SetSpec(_OF_FAMILY, 20),
    "trusted": SetSpec(_PAIR, 32),
    "unrouted": SetSpec(TYPE_IFNAME, 16),
    "tunnels": SetSpec(TYPE_INET_SERVICE, 2),
    "tunnel_peers": SetSpec(concatenated(TYPE_INET_SERVICE, TYPE_IPV4_ADDR), 8),
    "tunnel_peers6": SetSpec(concatenated(TYPE_INET_SERVICE, TYPE_IPV6_ADDR), 20),
    "same": SetSpec(_PAIR, 32),
    "icc": SetSpec(_PAIR, 32),
    "open4": SetSpec(_PORT4, 12),
    "open6": SetSpec(_PORT6, 24),
    "publish4": SetSpec(_PORT4, 12, _TARGET4, 8),
    "publish4_any": SetSpec(_PORT, 8, _TARGET4, 8),
    "publish6": SetSpec(_PORT6, 24, _TARGET6, 20),
    "publish6_any": SetSpec(_PORT, 8, _TARGET6, 20),
    "sources4": SetSpec(TYPE_IFNAME, 16, TYPE_IPV4_ADDR, 4),
    "sources6": SetSpec(TYPE_IFNAME, 16, TYPE_IPV6_ADDR, 16),
}


def interface_key(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def _service(protocol: str, port: int) -> bytes:
    return struct.pack("=B3x", PROTOCOLS[protocol]) + struct.pack("!H2x", port)


def forward_element(forward: Forward) -> tuple[str, Element]:
    """(name of the set or map, element)."""
    target = ipaddress.ip_address(forward.address)
    if not forward.host_ip:
        return f"open{target.version}", (target.packed + _service(forward.protocol, forward.port), b"")
    host = ipaddress.ip_address(forward.host_ip)
    if target.version != host.version:
        raise ValueError(f"{forward} mixes address families")
    service = _service(forward.protocol, forward.host_port)
    data = target.packed + struct.pack("!H2x", forward.port)
    name = f"publish{target.version}"
    if host.is_unspecified:
        return f"{name}_any", (service, data)
    return name, (host.packed + service, data)


def elements(state: FirewallState) -> dict[str, frozenset[Element]]:
    """The elements of every set and map in ``state``."""
    found: dict[str, set[Element]] = {name: set() for name in SETS}
    for name, element in _elements(state):
        found[name].add(element)
    return {name: frozenset(members) for name, members in found.items()}


class CountedElements:
    """The elements of a state that changes, at a cost that grows with the change only: an element that several of its
    networks or ports have in common goes with the last one."""

    def __init__(self, state: FirewallState) -> None:
        self._counts = Counter(_elements(state))

    def change(self, less: FirewallState, more: FirewallState) -> tuple[Elements, Elements]:
        """Lose what only ``less`` has, which is there, and take what only ``more`` has, which is not: the elements that
        are gone then, and those that are new."""
        counts = self._counts
        touched: dict[tuple[str, Element], int] = {}
        for one in _elements(more):
            touched.setdefault(one, counts[one])
            counts[one] += 1
        for one in _elements(less):
            touched.setdefault(one, counts[one])
            counts[one] -= 1
        gone: dict[str, frozenset[Element]] = {}
        new: dict[str, frozenset[Element]] = {}
        for (name, element), count in touched.items():
            now = counts[name, element]
            if not now:
                del counts[name, element]
            if bool(count) != bool(now):
                changed = new if now else gone
                changed[name] = changed.get(name, frozenset()) | {element}
        return gone, new


def without(one: FirewallState, other: FirewallState) -> FirewallState:
    """What of ``one`` the ``other`` has not."""
    return FirewallState(
        one.networks - other.networks, one.forwards - other.forwards, one.unrouted - other.unrouted
    )


def _elements(state: FirewallState) -> Iterator[tuple[str, Element]]:
    for network in state.networks:
        yield from _bridge_elements(network)
    for forward in state.forwards:
        yield forward_element(forward)
    for interface in state.unrouted:
        yield "unrouted", (interface_key(interface), b"")


def _bridge_elements(network: BridgeRules) -> Iterator[tuple[str, Element]]:
    key = interface_key(network.bridge)
    yield "bridges", (key, b"")
    yield "same", (key + key, b"")
    # Bridged packets (br_netfilter) leave without a trace of where they came in.
    yield "same", (bytes(16) + key, b"")
    if network.icc:
        yield "icc", (key + key, b"")
    if network.tunnel_port:
        port = struct.pack("!H", network.tunnel_port)
        yield "tunnels", (port, b"")
        for peer in map(ipaddress.ip_address, network.peers):
            name = "tunnel_peers" if peer.version == 4 else "tunnel_peers6"
            yield name, (port + b"\0\0" + peer.packed, b"")
    if network.internal:
        yield "internal", (key, b"")
        return
    for name, families in (
        ("outbound", network.masqueraded),
        ("routed", network.routed),
        ("unprotected", network.unprotected),
    ):
        for family in families:
            yield name, (key + struct.pack("=B3x", FAMILIES[family]), b"")
    for link in network.trusted:
        yield "trusted", (interface_key(link) + key, b"")
    for source in map(ipaddress.ip_address, network.sources):
        yield f"sources{source.version}", (key, source.packed)


def table_name(tag: str) -> str:
    return f"composer-{tag}" if tag else "composer"


def build(table: str, content: Elements) -> list[Request]:
    """The requests (without the batch's ends) that replace the whole table."""
    family = NFPROTO_INET
    requests = [add_table(family, table), delete_table(family, table), add_table(family, table)]
    for number, (name, spec) in enumerate(SETS.items(), 1):
        requests.append(
            add_set(
                family,
                table,
                name,
                number,
                key_type=spec.key_type,
                key_length=spec.key_length,
                data_type=spec.data_type,
                data_length=spec.data_length,
            )
        )
    for name, chain in CHAINS.items():
        requests.append(
            add_chain(family, table, name, kind=chain.kind, hook=chain.hook, priority=chain.priority)
        )
    for name, chain in CHAINS.items():
        requests += [add_rule(family, table, name, rule) for rule in chain.rules]
    for name in SETS:
        if content[name]:
            requests += add_elements(family, table, name, content[name])
    return requests
