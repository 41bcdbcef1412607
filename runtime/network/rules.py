"""The rules of the one nf_tables table, as data. They never change; what changes with networks and containers are the
elements of the sets and maps that they look into (``ruleset``).

By concern:

* *Loopback stays loopback.* Networks have ``route_localnet`` so that the host can reach published ports on 127.0.0.1;
  therefore whatever comes from a network for, or as, 127.0.0.0/8 is dropped before anything else sees it
  (CVE-2020-8558). Others may have switched it on for other links: a port that is published on 127.0.0.0/8 is for
  what comes from ``lo`` alone.
* *Tunnels.* Frames for an overlay network are taken from its hosts only, by the link that leads to them (so that nobody
  forges from the street the address of one behind WireGuard), and never from a container; nor does a container send any
  to another host, where they would arrive under this host's name.
* *Published ports.* Connections for an address of this host and a published port are sent to the container: those that
  arrive (never for 127.0.0.0/8) and those of this host itself. ``::1`` is left to the listener in user space, since
  IPv6 has no route_localnet.
* *Forwarding.* Within a network (unless its containers are kept apart), and outwards (unless it is internal). Inwards
  only what was published: to the host's address, or where the network is routed or trusts a link of the host, to the
  container's own.
* *Masquerade.* What leaves a network, what the host sends to published ports (the container could not answer
  127.0.0.1), and what a container sends to a port published by its own network (the answer has to come back here).
* *Not a router.* If this engine had to switch on forwarding, interfaces that were there before do not get connected to
  each other by it.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

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
    address_type,
    any_bit,
    compare,
    dnat,
    lookup,
    masquerade,
    meta,
    other_way_back,
    payload,
    snat,
    verdict,
)

UDP = 17
_ICMP, _ICMPV6 = 1, 58


class ChainSpec(NamedTuple):
    kind: str
    hook: int
    priority: int
    rules: tuple[tuple[bytes, ...], ...]


_ACCEPT = verdict(NF_ACCEPT)
_DROP = verdict(NF_DROP)
_FAMILIES = (NFPROTO_IPV4, NFPROTO_IPV6)


def _is_family(family: int) -> tuple[bytes, ...]:
    return (meta(NFT_META_NFPROTO), compare(bytes([family])))


def _is_protocol(protocol: int) -> tuple[bytes, ...]:
    return (meta(NFT_META_L4PROTO), compare(bytes([protocol])))


_IS_IPV4, _IS_IPV6 = map(_is_family, _FAMILIES)
_TO_LOOPBACK = (*_IS_IPV4, payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 1), compare(b"\x7f"))
_FROM_LOOPBACK = (*_IS_IPV4, payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 1), compare(b"\x7f"))
_TO_LOOPBACK6 = (
    *_IS_IPV6,
    payload(NFT_PAYLOAD_NETWORK_HEADER, 24, 16),
    compare(ipaddress.IPv6Address("::1").packed),
)
_NOT_FROM_LO = (meta(NFT_META_IIFNAME), compare(b"lo\0", equal=False))
_LOCAL_DESTINATION = address_type(NFTA_FIB_F_DADDR)
_LOCAL_SOURCE = address_type(NFTA_FIB_F_SADDR)
_TRANSLATED = any_bit(NFT_CT_STATUS, IPS_DST_NAT)


def _incoming(name: str, *, result: int | None = None) -> tuple[bytes, ...]:
    return (meta(NFT_META_IIFNAME), lookup(name, result=result))


def _outgoing(name: str) -> tuple[bytes, ...]:
    return (meta(NFT_META_OIFNAME), lookup(name))


def _between(name: str) -> tuple[bytes, ...]:
    return (meta(NFT_META_IIFNAME), meta(NFT_META_OIFNAME, REGISTER + 4), lookup(name))


def _incoming_of_family(name: str) -> tuple[bytes, ...]:
    return (meta(NFT_META_IIFNAME), meta(NFT_META_NFPROTO, REGISTER + 4), lookup(name))


def _outgoing_of_family(name: str) -> tuple[bytes, ...]:
    return (meta(NFT_META_OIFNAME), meta(NFT_META_NFPROTO, REGISTER + 4), lookup(name))


def _to_port(
    family: int, name: str, *, with_address: bool = True, result: int | None = None
) -> tuple[bytes, ...]:
    """Go on only if (destination address,) protocol and destination port are in ``name``."""
    six = family == NFPROTO_IPV6
    words = (4 if six else 1) if with_address else 0
    address = (payload(NFT_PAYLOAD_NETWORK_HEADER, 24 if six else 16, 4 * words),) if with_address else ()
    return (
        *_is_family(family),
        *address,
        meta(NFT_META_L4PROTO, REGISTER + words),
        payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, REGISTER + words + 1),
        lookup(name, result=result),
    )


def _publish(family: int, name: str, *, with_address: bool) -> tuple[bytes, ...]:
    """Send the connection where the map ``name`` says."""
    words = 4 if family == NFPROTO_IPV6 else 1
    return (
        *_to_port(family, name, with_address=with_address, result=REGISTER),
        dnat(family, address=REGISTER, port=REGISTER + words),
    )


def _tunnelled(family: int, *, source: bool, inverted: bool) -> tuple[bytes, ...]:
    """Go on only if the source (or destination) address and the destination port are (``inverted``: are not) an overlay
    network's host and tunnel."""
    six = family == NFPROTO_IPV6
    offset = (8 if source else 24) if six else (12 if source else 16)
    return (
        *_is_family(family),
        payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
        payload(NFT_PAYLOAD_NETWORK_HEADER, offset, 16 if six else 4, REGISTER + 1),
        lookup("tunnel_peers6" if six else "tunnel_peers", inverted=inverted),
    )


_FOR_TUNNEL = (
    *_is_protocol(UDP),
    payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
    lookup("tunnels"),
    *_LOCAL_DESTINATION,
)


def _source(family: int) -> tuple[bytes, ...]:
    """What leaves a network that has an address of its own for it."""
    name = "sources6" if family == NFPROTO_IPV6 else "sources4"
    return (*_is_family(family), *_incoming(name, result=REGISTER), snat(family, address=REGISTER))


CHAINS: dict[str, ChainSpec] = {
    "guard": ChainSpec(
        "filter",
        NF_INET_PRE_ROUTING,
        -300,
        (
            (*_incoming("bridges"), *_TO_LOOPBACK, _DROP),
            (*_incoming("bridges"), *_FROM_LOOPBACK, _DROP),
            (*_NOT_FROM_LO, *_TO_LOOPBACK, *_to_port(NFPROTO_IPV4, "publish4", result=REGISTER), _DROP),
            (*_FOR_TUNNEL, *_incoming("bridges"), _DROP),
            *((*_FOR_TUNNEL, *_tunnelled(family, source=True, inverted=True), _DROP) for family in _FAMILIES),
            (*_FOR_TUNNEL, *other_way_back(), _DROP),
        ),
    ),
    "publish": ChainSpec(
        "",
        -1,
        0,
        (
            _publish(NFPROTO_IPV4, "publish4", with_address=True),
            _publish(NFPROTO_IPV4, "publish4_any", with_address=False),
            _publish(NFPROTO_IPV6, "publish6", with_address=True),
            _publish(NFPROTO_IPV6, "publish6_any", with_address=False),
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
            *(
                (
                    *_incoming("bridges"),
                    *_is_protocol(UDP),
                    *_tunnelled(family, source=False, inverted=False),
                    _DROP,
                )
                for family in _FAMILIES
            ),
            (*_outgoing("bridges"), *_TRANSLATED, _ACCEPT),
            *(
                (*_outgoing_of_family("routed"), *_to_port(f, f"open{v}"), _ACCEPT)
                for f, v in ((2, 4), (10, 6))
            ),
            *((*_outgoing_of_family("routed"), *_is_protocol(p), _ACCEPT) for p in (_ICMP, _ICMPV6)),
            *((*_between("trusted"), *_to_port(f, f"open{v}"), _ACCEPT) for f, v in ((2, 4), (10, 6))),
            (*_incoming("bridges"), *_outgoing("bridges"), _DROP),
            (*_outgoing_of_family("unprotected"), _ACCEPT),
            (*_outgoing("bridges"), _DROP),
            (*_incoming("unrouted"), *_outgoing("unrouted"), _DROP),
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
            _source(NFPROTO_IPV4),
            _source(NFPROTO_IPV6),
            (*_incoming_of_family("outbound"), masquerade()),
        ),
    ),
}
