"""Getting along with other firewalls: what others' rules would drop of our networks' traffic, and what to
add there.

A packet that our table accepts still passes every other chain at the same hook, and a Docker engine sets
the policy of ``ip filter FORWARD`` to drop. The place made for such exceptions is its chain DOCKER-USER,
which it never touches; where that is missing (ufw and others that came through iptables-nft) the head of
FORWARD itself. What concerns Docker's own networks returns to Docker's rules, so its isolation stays whole;
everything else of ours is decided by our table, whose drops are final. Rules are written in the form that
iptables-nft writes and reads, and carry our table's name as a comment.

firewalld ends its chains with a rejection instead, of what comes from links in no zone of its: there the links of our
networks are let through at the head, towards this host as well, as Docker's are by a zone of their own. Whatever it
loads anew we hear of. From version 2.1 on nobody else may change its table: then published ports still work, since it
accepts what was translated, and what containers begin themselves is rejected until the administrator has put our links
into a zone. With StrictForwardPorts it wants to be asked about published ports, too, and we leave that to it.

A chain with a drop policy that is nobody's but the administrator's is left alone and reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runtime.kernel.netlink.message import Request, attribute
from runtime.kernel.netlink.nftables import (
    NF_ACCEPT,
    NF_DROP,
    NF_INET_FORWARD,
    NF_INET_LOCAL_IN,
    NFPROTO_INET,
    NFPROTO_IPV4,
    NFPROTO_IPV6,
    NFT_META_IIFNAME,
    NFT_META_OIFNAME,
    NFT_RETURN,
    NFTA_DATA_VALUE,
    Chain,
    Rule,
    add_rule,
    compare,
    counter,
    meta,
    verdict,
)
from runtime.network.model import BRIDGE_PREFIX

_FIREWALLD = "firewalld"
_STRICT = "filter_FORWARD_dnat"
"""A chain that firewalld has only with StrictForwardPorts."""
_FAMILIES = {NFPROTO_INET: "inet", NFPROTO_IPV4: "ip", NFPROTO_IPV6: "ip6"}


SEARCHED = (
    *(
        (family, "filter", chain)
        for family in (NFPROTO_IPV4, NFPROTO_IPV6)
        for chain in ("DOCKER-USER", "FORWARD")
    ),
    *((NFPROTO_INET, _FIREWALLD, f"filter_{chain}") for chain in ("FORWARD", "INPUT")),
)
"""(family, table, chain) where exceptions of ours may be."""


class Place(NamedTuple):
    """A chain that needs our exceptions."""

    family: int
    table: str
    chain: str
    is_docker: bool = False
    is_input: bool = False
    """It decides on what is for this host, not on what is forwarded."""
    is_strict: bool = False
    """What is sent to a published port is its own decision."""


class Exceptions(NamedTuple):
    places: tuple[Place, ...]
    warnings: tuple[str, ...]


def find_places(chains: Iterable[Chain], own_table: str) -> Exceptions:
    """Where exceptions are needed, judging by all chains of the ruleset."""
    chains = list(chains)
    places, warnings = [], []
    is_strict = any((c.family, c.table, c.name) == (NFPROTO_INET, _FIREWALLD, _STRICT) for c in chains)
    if is_strict:
        warnings.append(
            "firewalld (StrictForwardPorts=yes) rejects connections from other machines to published ports that it was "
            "not told of: tell it with firewall-cmd --add-forward-port=port=PORT:proto=tcp:toport=PORT:toaddr=ADDRESS, "
            "or set StrictForwardPorts=no in /etc/firewalld/firewalld.conf"
        )
    for chain in chains:
        if (chain.family, chain.table) == (NFPROTO_INET, _FIREWALLD):
            if chain.hook in (NF_INET_FORWARD, NF_INET_LOCAL_IN) and chain.name.startswith("filter_"):
                is_input = chain.hook == NF_INET_LOCAL_IN
                places.append(
                    Place(chain.family, chain.table, chain.name, is_input=is_input, is_strict=is_strict)
                )
            continue
        if chain.hook != NF_INET_FORWARD or chain.policy != NF_DROP or chain.family not in _FAMILIES:
            continue
        if chain.table.startswith("composer"):
            continue
        is_iptables = chain.family in (NFPROTO_IPV4, NFPROTO_IPV6) and (chain.table, chain.name) == (
            "filter",
            "FORWARD",
        )
        if is_iptables:
            has_docker = any(
                other.name == "DOCKER-USER" and (other.family, other.table) == (chain.family, chain.table)
                for other in chains
            )
            places.append(
                Place(chain.family, chain.table, "DOCKER-USER" if has_docker else chain.name, has_docker)
            )
        else:
            where = f"{_FAMILIES[chain.family]} {chain.table} {chain.name}"
            warnings.append(
                f"the nft chain {where} drops what it does not know, and so the traffic of containers: "
                f'allow it with: nft insert rule {where} iifname "{BRIDGE_PREFIX}*" accept; '
                f'nft insert rule {where} oifname "{BRIDGE_PREFIX}*" accept'
            )
    return Exceptions(tuple(places), tuple(warnings))


def exception_rules(place: Place, bridges: Iterable[str], own_table: str) -> list[Request]:
    """Requests that put our exceptions at the head of ``place``. ``bridges`` are names that do not begin as
    our own do, which need rules of their own."""
    patterns = [BRIDGE_PREFIX.encode(), *(name.encode().ljust(16, b"\0") for name in sorted(bridges))]
    rules: list[Sequence[bytes]] = []
    # First, since a bridge of ours may have been given a name that looks like one of Docker's.
    if not (place.is_input or place.is_strict):
        rules += [(meta(NFT_META_OIFNAME), compare(each), counter(), verdict(NF_ACCEPT)) for each in patterns]
    for pattern in patterns:
        incoming = (meta(NFT_META_IIFNAME), compare(pattern))
        if place.is_docker:
            for docker in (b"docker0".ljust(16, b"\0"), b"br-"):
                to_docker = (meta(NFT_META_OIFNAME), compare(docker))
                rules.append((*incoming, *to_docker, counter(), verdict(NFT_RETURN)))
        rules.append((*incoming, counter(), verdict(NF_ACCEPT)))
    mark = comment(own_table)
    return [
        add_rule(place.family, place.table, place.chain, rule, userdata=mark, first=True)
        for rule in reversed(rules)
    ]


def rule_count(place: Place, bridges: Iterable[str]) -> int:
    """How many rules :func:`exception_rules` makes."""
    return (1 + len(list(bridges))) * (
        4 if place.is_docker else 1 if place.is_input or place.is_strict else 2
    )


def is_let_through(rules: Iterable[Rule]) -> bool:
    """Whether one of ``rules``, which are somebody else's, knows the names of our links: the administrator has put them
    into a zone."""
    pattern = attribute(NFTA_DATA_VALUE, BRIDGE_PREFIX.encode())
    return any(pattern in rule.expressions for rule in rules)


def owned_warning(place: Place) -> str:
    """What to say of a table that only the process which made it may change (firewalld 2.1 and later)."""
    return (
        f"{place.table} rejects what it does not know, and so what containers send outwards and to this host, and lets "
        f"nobody else change its rules: allow it with firewall-cmd --zone=trusted --add-interface={BRIDGE_PREFIX}+, "
        "and the same with --permanent"
    )


def comment(text: str) -> bytes:
    """A rule's comment as nft(8) stores it: type 0, length, text with its NUL."""
    data = text.encode() + b"\0"
    return bytes([0, len(data)]) + data
