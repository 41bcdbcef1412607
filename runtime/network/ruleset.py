"""What the firewall is to hold: one nf_tables table as data. Pure; ``firewall`` brings it into the kernel.

The rules never change; what changes with networks and containers are the elements of sets and maps, so that
starting a container costs one small message whatever else runs. Rules by concern:

* *Loopback stays loopback.* Networks have ``route_localnet`` so that the host can reach published ports on
127.0.0.1; therefore whatever comes from a network for, or as, 127.0.0.0/8 is dropped before anything else
sees it (CVE-2020-8558). * *Published ports.* Connections for an address of this host and a published port
are sent to the container: those that arrive (never for 127.0.0.0/8) and those of this host itself. ``::1``
is left to the listener in user space, since IPv6 has no route_localnet. * *Forwarding.* Within a network
(unless its containers are kept apart), and outwards (unless it is internal). Inwards only what was
published. * *Tunnels.* Frames for an overlay network are
taken from its hosts only. * *Masquerade.* What leaves a network, what the host sends to published ports (the container
could not answer 127.0.0.1), and what a container sends to a port published by its own network (the answer
has to come back here). * *Not a router.* If this engine had to switch on forwarding, interfaces that were
there before do not get connected to each other by it.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from runtime.kernel.netlink.message import Request
from runtime.kernel.netlink.nftables import (
    CT_ESTABLISHED,
    CT_RELATED,
    IPS_DST_NAT,
    NF_ACCEPT,
    NF_DROP,
    NF_INET_FORWARD,
    NF_INET_LOCAL_OUT,
    NF_INET_POST_ROUTING,
    NF_INET_PRE_ROUTING,
    NFPROTO_INET,
    NFPROTO_IPV4,
    NFPROTO_IPV6,
    NFT_CT_STATE,
    NFT_CT_STATUS,
    NFT_JUMP,
    NFT_META_IIFNAME,
    NFT_META_L4PROTO,
    NFT_META_NFPROTO,
    NFT_META_OIFNAME,
    NFT_PAYLOAD_NETWORK_HEADER,
    NFT_PAYLOAD_TRANSPORT_HEADER,
    NFT_RETURN,
    NFTA_FIB_F_DADDR,
    NFTA_FIB_F_SADDR,
    REGISTER,
    TYPE_IFNAME,
    TYPE_INET_PROTO,
    TYPE_INET_SERVICE,
    TYPE_IPV4_ADDR,
    TYPE_IPV6_ADDR,
    Element,
    add_chain,
    add_elements,
    add_rule,
    add_set,
    add_table,
    address_type,
    any_bit,
    compare,
    concatenated,
    delete_table,
    dnat,
    lookup,
    masquerade,
    meta,
    payload,
    verdict,
)

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


class BridgeRules(NamedTuple):
    """What applies to one network's bridge."""

    bridge: str
    internal: bool = False
    icc: bool = True
    masquerade: bool = True
    ipv6: bool = False
    tunnel_port: int = 0
    """UDP port of an overlay network's tunnel, 0 for other networks."""
    peers: tuple[str, ...] = ()
    """From where the tunnel takes frames."""


class Forward(NamedTuple):
    """One published port in one address family. ``host_ip`` is an address, or "0.0.0.0" or "::" for all."""

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


class ChainSpec(NamedTuple):
    kind: str
    hook: int
    priority: int
    rules: tuple[tuple[bytes, ...], ...]


_PAIR = concatenated(TYPE_IFNAME, TYPE_IFNAME)

SETS: dict[str, SetSpec] = {
    "bridges": SetSpec(TYPE_IFNAME, 16),
    "internal": SetSpec(TYPE_IFNAME, 16),
    "outbound": SetSpec(TYPE_IFNAME, 16),
    "unrouted": SetSpec(TYPE_IFNAME, 16),
    "tunnels": SetSpec(TYPE_INET_SERVICE, 2),
    "tunnel_peers": SetSpec(concatenated(TYPE_INET_SERVICE, TYPE_IPV4_ADDR), 8),
    "same": SetSpec(_PAIR, 32),
    "icc": SetSpec(_PAIR, 32),
    "publish4": SetSpec(
        concatenated(TYPE_IPV4_ADDR, TYPE_INET_PROTO, TYPE_INET_SERVICE),
        12,
        concatenated(TYPE_IPV4_ADDR, TYPE_INET_SERVICE),
        8,
    ),
    "publish4_any": SetSpec(
        concatenated(TYPE_INET_PROTO, TYPE_INET_SERVICE),
        8,
        concatenated(TYPE_IPV4_ADDR, TYPE_INET_SERVICE),
        8,
    ),
    "publish6": SetSpec(
        concatenated(TYPE_IPV6_ADDR, TYPE_INET_PROTO, TYPE_INET_SERVICE),
        24,
        concatenated(TYPE_IPV6_ADDR, TYPE_INET_SERVICE),
        20,
    ),
    "publish6_any": SetSpec(
        concatenated(TYPE_INET_PROTO, TYPE_INET_SERVICE),
        8,
        concatenated(TYPE_IPV6_ADDR, TYPE_INET_SERVICE),
        20,
    ),
}

_ACCEPT = verdict(NF_ACCEPT)
_DROP = verdict(NF_DROP)
_IS_IPV4 = (meta(NFT_META_NFPROTO), compare(bytes([NFPROTO_IPV4])))
_IS_IPV6 = (meta(NFT_META_NFPROTO), compare(bytes([NFPROTO_IPV6])))
_TO_LOOPBACK = (*_IS_IPV4, payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 1), compare(b"\x7f"))
_FROM_LOOPBACK = (*_IS_IPV4, payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 1), compare(b"\x7f"))
_TO_LOOPBACK6 = (
    *_IS_IPV6,
    payload(NFT_PAYLOAD_NETWORK_HEADER, 24, 16),
    compare(ipaddress.IPv6Address("::1").packed),
)
_LOCAL_DESTINATION = address_type(NFTA_FIB_F_DADDR)
_LOCAL_SOURCE = address_type(NFTA_FIB_F_SADDR)
_TRANSLATED = any_bit(NFT_CT_STATUS, IPS_DST_NAT)


def _incoming(name: str) -> tuple[bytes, ...]:
    return (meta(NFT_META_IIFNAME), lookup(name))


def _outgoing(name: str) -> tuple[bytes, ...]:
    return (meta(NFT_META_OIFNAME), lookup(name))


def _between(name: str) -> tuple[bytes, ...]:
    return (meta(NFT_META_IIFNAME), meta(NFT_META_OIFNAME, REGISTER + 4), lookup(name))


_STRANGE_TUNNEL = (
    meta(NFT_META_L4PROTO),
    compare(bytes([PROTOCOLS["udp"]])),
    payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
    lookup("tunnels"),
    *_IS_IPV4,
    *_LOCAL_DESTINATION,
    payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
    payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4, REGISTER + 1),
    lookup("tunnel_peers", inverted=True),
    _DROP,
)
"""Frames for an overlay network from who is none of its hosts."""


def _publish(family: int, name: str, *, specific: bool) -> tuple[bytes, ...]:
    """Look (address,) protocol and port up in a map and send the connection where it says."""
    six = family == NFPROTO_IPV6
    words = 4 if six else 1
    keys: list[bytes] = []
    register = REGISTER
    if specific:
        keys.append(payload(NFT_PAYLOAD_NETWORK_HEADER, 24 if six else 16, 4 * words))
        register += words
    keys.append(meta(NFT_META_L4PROTO, register))
    keys.append(payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, register + 1))
    return (
        *(_IS_IPV6 if six else _IS_IPV4),
        *keys,
        lookup(name, result=REGISTER),
        dnat(family, address=REGISTER, port=REGISTER + words),
    )


CHAINS: dict[str, ChainSpec] = {
    "guard": ChainSpec(
        "filter",
        NF_INET_PRE_ROUTING,
        -300,
        (
            (*_incoming("bridges"), *_TO_LOOPBACK, _DROP),
            (*_incoming("bridges"), *_FROM_LOOPBACK, _DROP),
            _STRANGE_TUNNEL,
        ),
    ),
    "publish": ChainSpec(
        "",
        -1,
        0,
        (
            _publish(NFPROTO_IPV4, "publish4", specific=True),
            _publish(NFPROTO_IPV4, "publish4_any", specific=False),
            _publish(NFPROTO_IPV6, "publish6", specific=True),
            _publish(NFPROTO_IPV6, "publish6_any", specific=False),
        ),
    ),
    "prerouting": ChainSpec(
        "nat",
        NF_INET_PRE_ROUTING,
        -100,
        (
            (*_TO_LOOPBACK, verdict(NFT_RETURN)),
            (*_LOCAL_DESTINATION, verdict(NFT_JUMP, "publish")),
        ),
    ),
    "output": ChainSpec(
        "nat",
        NF_INET_LOCAL_OUT,
        -100,
        (
            (*_TO_LOOPBACK6, verdict(NFT_RETURN)),
            (*_LOCAL_DESTINATION, verdict(NFT_JUMP, "publish")),
        ),
    ),
    "forward": ChainSpec(
        "filter",
        NF_INET_FORWARD,
        0,
        (
            (*any_bit(NFT_CT_STATE, CT_ESTABLISHED | CT_RELATED), _ACCEPT),
            (*_between("icc"), _ACCEPT),
            (*_incoming("internal"), _DROP),
            (*_outgoing("internal"), _DROP),
            (*_outgoing("bridges"), *_TRANSLATED, _ACCEPT),
            (*_outgoing("bridges"), _DROP),
            (
                meta(NFT_META_IIFNAME),
                lookup("unrouted"),
                meta(NFT_META_OIFNAME),
                lookup("unrouted"),
                _DROP,
            ),
        ),
    ),
    "postrouting": ChainSpec(
        "nat",
        NF_INET_POST_ROUTING,
        100,
        (
            (*_between("same"), *_TRANSLATED, masquerade()),
            (*_between("same"), verdict(NFT_RETURN)),
            (*_outgoing("bridges"), *_TRANSLATED, *_LOCAL_SOURCE, masquerade()),
            (*_incoming("outbound"), masquerade()),
        ),
    ),
}


def interface_key(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def forward_element(forward: Forward) -> tuple[str, Element]:
    """(name of the map, element)."""
    target = ipaddress.ip_address(forward.address)
    host = ipaddress.ip_address(forward.host_ip)
    if target.version != host.version:
        raise ValueError(f"{forward} mixes address families")
    service = struct.pack("=B3x", PROTOCOLS[forward.protocol]) + struct.pack("!H2x", forward.host_port)
    data = target.packed + struct.pack("!H2x", forward.port)
    name = f"publish{target.version}"
    if host.is_unspecified:
        return f"{name}_any", (service, data)
    return name, (host.packed + service, data)


def elements(state: FirewallState) -> dict[str, frozenset[Element]]:
    """The elements of every set and map in ``state``."""
    found: dict[str, set[Element]] = {name: set() for name in SETS}
    for network in state.networks:
        key = interface_key(network.bridge)
        found["bridges"].add((key, b""))
        found["same"].add((key + key, b""))
        # Bridged packets (br_netfilter) leave without a trace of where they came in.
        found["same"].add((bytes(16) + key, b""))
        if network.icc:
            found["icc"].add((key + key, b""))
        if network.tunnel_port:
            port = struct.pack("!H", network.tunnel_port)
            found["tunnels"].add((port, b""))
            found["tunnel_peers"] |= {
                (port + b"\0\0" + ipaddress.IPv4Address(p).packed, b"") for p in network.peers
            }
        if network.internal:
            found["internal"].add((key, b""))
        elif network.masquerade:
            found["outbound"].add((key, b""))
    for forward in state.forwards:
        name, element = forward_element(forward)
        found[name].add(element)
    for interface in state.unrouted:
        found["unrouted"].add((interface_key(interface), b""))
    return {name: frozenset(members) for name, members in found.items()}


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
