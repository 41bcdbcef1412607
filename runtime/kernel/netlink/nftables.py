"""nf_tables: tables, chains, rules, sets and maps as pure encoders and decoders
(linux/netfilter/nf_tables.h).

Changes go between :func:`begin` and :func:`end` in one :meth:`NetlinkSocket.transact`: the kernel takes all
or none. A rule is the concatenation of expressions; registers are the 32-bit ones, :data:`REGISTER` being
the first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runtime.kernel.netlink.message import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    Reply,
    Request,
    attribute,
    attribute_map,
    attributes,
    be32,
    decode_text,
    nested,
    text,
)

NFNL_MSG_BATCH_BEGIN = 0x10
NFNL_MSG_BATCH_END = 0x11
NFNL_SUBSYS_NFTABLES = 10

(
    NFT_MSG_NEWTABLE,
    NFT_MSG_GETTABLE,
    NFT_MSG_DELTABLE,
    NFT_MSG_NEWCHAIN,
    NFT_MSG_GETCHAIN,
    NFT_MSG_DELCHAIN,
    NFT_MSG_NEWRULE,
    NFT_MSG_GETRULE,
    NFT_MSG_DELRULE,
    NFT_MSG_NEWSET,
    NFT_MSG_GETSET,
    NFT_MSG_DELSET,
    NFT_MSG_NEWSETELEM,
    NFT_MSG_GETSETELEM,
    NFT_MSG_DELSETELEM,
    NFT_MSG_NEWGEN,
    NFT_MSG_GETGEN,
) = range(17)

NFPROTO_INET = 1
NFPROTO_IPV4 = 2
NFPROTO_IPV6 = 10

NF_INET_PRE_ROUTING = 0
NF_INET_LOCAL_IN = 1
NF_INET_FORWARD = 2
NF_INET_LOCAL_OUT = 3
NF_INET_POST_ROUTING = 4

NF_DROP = 0
NF_ACCEPT = 1
NFT_JUMP = -3
NFT_GOTO = -4
NFT_RETURN = -5

NFTA_TABLE_NAME = 1
NFTA_TABLE_FLAGS = 2
NFT_TABLE_F_OWNER = 2
"""Only the socket that made the table may change it."""
NFTA_CHAIN_TABLE = 1
NFTA_CHAIN_NAME = 3
NFTA_CHAIN_HOOK = 4
NFTA_CHAIN_POLICY = 5
NFTA_CHAIN_TYPE = 7
NFTA_HOOK_HOOKNUM = 1
NFTA_HOOK_PRIORITY = 2
NFTA_RULE_TABLE = 1
NFTA_RULE_CHAIN = 2
NFTA_RULE_HANDLE = 3
NFTA_RULE_EXPRESSIONS = 4
NFTA_RULE_USERDATA = 7
NFTA_LIST_ELEM = 1
NFTA_EXPR_NAME = 1
NFTA_EXPR_DATA = 2
NFTA_SET_TABLE = 1
NFTA_SET_NAME = 2
NFTA_SET_FLAGS = 3
NFTA_SET_KEY_TYPE = 4
NFTA_SET_KEY_LEN = 5
NFTA_SET_DATA_TYPE = 6
NFTA_SET_DATA_LEN = 7
NFTA_SET_ID = 10
NFTA_SET_USERDATA = 13
NFT_SET_MAP = 0x8
NFTA_SET_ELEM_LIST_TABLE = 1
NFTA_SET_ELEM_LIST_SET = 2
NFTA_SET_ELEM_LIST_ELEMENTS = 3
NFTA_SET_ELEM_KEY = 1
NFTA_SET_ELEM_DATA = 2
NFTA_DATA_VALUE = 1
NFTA_DATA_VERDICT = 2
NFTA_VERDICT_CODE = 1
NFTA_VERDICT_CHAIN = 2
NFTA_GEN_ID = 1

NFT_META_NFPROTO = 15
NFT_META_L4PROTO = 16
NFT_META_IIFNAME = 6
NFT_META_OIFNAME = 7
NFT_CT_STATE = 0
NFT_CT_STATUS = 2
NFT_PAYLOAD_NETWORK_HEADER = 1
NFT_PAYLOAD_TRANSPORT_HEADER = 2
NFT_CMP_EQ = 0
NFT_CMP_NEQ = 1
NFT_FIB_RESULT_OIF = 1
NFT_FIB_RESULT_ADDRTYPE = 3
NFTA_FIB_F_SADDR = 1
NFTA_FIB_F_DADDR = 2
NFTA_FIB_F_IIF = 8
NFT_NAT_SNAT = 0
NFT_NAT_DNAT = 1

RTN_LOCAL = 2
CT_ESTABLISHED = 2
CT_RELATED = 4
IPS_DST_NAT = 1 << 5

VERDICT_REGISTER = 0
REGISTER = 8
"""NFT_REG32_00; the next three hold the rest of sixteen bytes."""

_GENERIC = struct.Struct("!BBH")

# Data types as nft(8) numbers them, so that ``nft list`` shows our sets in clear (libnftables, datatype.h).
TYPE_NFPROTO = 2
TYPE_IPV4_ADDR = 7
TYPE_IPV6_ADDR = 8
TYPE_INET_PROTO = 12
TYPE_INET_SERVICE = 13
TYPE_IFNAME = 41


def concatenated(*types: int) -> int:
    """The number of a concatenated data type: six bits for each part."""
    result = 0
    for kind in types:
        result = result << 6 | kind
    return result


class Chain(NamedTuple):
    """A chain as listed. ``hook`` is -1 for a chain that is only jumped to; ``policy`` NF_DROP or
    NF_ACCEPT."""

    family: int
    table: str
    name: str
    hook: int
    priority: int
    policy: int


class Rule(NamedTuple):
    family: int
    table: str
    chain: str
    handle: int
    expressions: bytes
    userdata: bytes


def _request(message: int, flags: int, family: int, body: bytes, label: str) -> Request:
    return Request(NFNL_SUBSYS_NFTABLES << 8 | message, flags, _GENERIC.pack(family, 0, 0) + body, label)


def begin() -> Request:
    return Request(NFNL_MSG_BATCH_BEGIN, 0, _GENERIC.pack(0, 0, NFNL_SUBSYS_NFTABLES), "change the ruleset")


def end() -> Request:
    return Request(NFNL_MSG_BATCH_END, 0, _GENERIC.pack(0, 0, NFNL_SUBSYS_NFTABLES), "change the ruleset")


def add_table(family: int, name: str, *, flags: int = 0) -> Request:
    """No error when it is there already, unless with other ``flags`` (NFT_TABLE_F_...)."""
    body = text(NFTA_TABLE_NAME, name) + (be32(NFTA_TABLE_FLAGS, flags) if flags else b"")
    return _request(NFT_MSG_NEWTABLE, NLM_F_CREATE, family, body, f"add nft table {name}")


def delete_table(family: int, name: str) -> Request:
    """With everything in it. ENOENT when it is not there."""
    return _request(NFT_MSG_DELTABLE, 0, family, text(NFTA_TABLE_NAME, name), f"delete nft table {name}")


def add_chain(
    family: int,
    table: str,
    name: str,
    *,
    kind: str = "",
    hook: int = -1,
    priority: int = 0,
    policy: int = NF_ACCEPT,
) -> Request:
    """``kind`` ("filter", "nat") with ``hook`` and ``priority`` makes a base chain."""
    body = text(NFTA_CHAIN_TABLE, table) + text(NFTA_CHAIN_NAME, name)
    if kind:
        where = be32(NFTA_HOOK_HOOKNUM, hook) + be32(NFTA_HOOK_PRIORITY, priority & 0xFFFFFFFF)
        body += nested(NFTA_CHAIN_HOOK, where) + text(NFTA_CHAIN_TYPE, kind)
        body += be32(NFTA_CHAIN_POLICY, policy)
    return _request(NFT_MSG_NEWCHAIN, NLM_F_CREATE, family, body, f"add nft chain {table} {name}")


def add_rule(
    family: int,
    table: str,
    chain: str,
    expressions: Sequence[bytes],
    *,
    userdata: bytes = b"",
    first: bool = False,
) -> Request:
    """Append a rule, or put it before all others (``first``)."""
    listed = b"".join(nested(NFTA_LIST_ELEM, expression) for expression in expressions)
    body = text(NFTA_RULE_TABLE, table) + text(NFTA_RULE_CHAIN, chain)
    body += nested(NFTA_RULE_EXPRESSIONS, listed)
    if userdata:
        body += attribute(NFTA_RULE_USERDATA, userdata)
    flags = NLM_F_CREATE | (0 if first else NLM_F_APPEND)
    return _request(NFT_MSG_NEWRULE, flags, family, body, f"add nft rule to {table} {chain}")


def delete_rule(family: int, table: str, chain: str, handle: int) -> Request:
    body = text(NFTA_RULE_TABLE, table) + text(NFTA_RULE_CHAIN, chain)
    body += attribute(NFTA_RULE_HANDLE, struct.pack("!Q", handle))
    return _request(NFT_MSG_DELRULE, 0, family, body, f"delete nft rule of {table} {chain}")


def add_set(
    family: int,
    table: str,
    name: str,
    set_id: int,
    *,
    key_type: int,
    key_length: int,
    data_type: int = 0,
    data_length: int = 0,
) -> Request:
    """A set, or with ``data_type`` a map. ``set_id`` tells sets of one batch apart."""
    body = text(NFTA_SET_TABLE, table) + text(NFTA_SET_NAME, name)
    body += be32(NFTA_SET_KEY_TYPE, key_type) + be32(NFTA_SET_KEY_LEN, key_length)
    if data_type:
        body += be32(NFTA_SET_FLAGS, NFT_SET_MAP)
        body += be32(NFTA_SET_DATA_TYPE, data_type) + be32(NFTA_SET_DATA_LEN, data_length)
    if key_type == TYPE_IFNAME:
        # Only for nft(8): the key is in host byte order, that is, text (libnftnl,
        # NFTNL_UDATA_SET_KEYBYTEORDER).
        body += attribute(NFTA_SET_USERDATA, bytes([0, 4]) + struct.pack("=I", 1))
    body += be32(NFTA_SET_ID, set_id)
    return _request(NFT_MSG_NEWSET, NLM_F_CREATE, family, body, f"add nft set {table} {name}")


Element = tuple[bytes, bytes]
"""(key, data); data is b"" in a set."""


def _elements(
    message: int, flags: int, family: int, table: str, name: str, elements: Iterable[Element]
) -> list[Request]:
    requests: list[Request] = []
    verb = "delete" if message == NFT_MSG_DELSETELEM else "add"
    head = text(NFTA_SET_ELEM_LIST_TABLE, table) + text(NFTA_SET_ELEM_LIST_SET, name)
    listed: list[bytes] = []
    size = 0
    pending = list(elements)
    for index, (key, data) in enumerate(pending):
        element = nested(NFTA_SET_ELEM_KEY, attribute(NFTA_DATA_VALUE, key))
        if data:
            element += nested(NFTA_SET_ELEM_DATA, attribute(NFTA_DATA_VALUE, data))
        listed.append(nested(NFTA_LIST_ELEM, element))
        size += len(listed[-1])
        if size > 50_000 or index == len(pending) - 1:  # an attribute's length has sixteen bits
            body = head + nested(NFTA_SET_ELEM_LIST_ELEMENTS, *listed)
            requests.append(_request(message, flags, family, body, f"{verb} elements of {table} {name}"))
            listed, size = [], 0
    return requests


def add_elements(family: int, table: str, name: str, elements: Iterable[Element]) -> list[Request]:
    """EEXIST when one is there with other data."""
    return _elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, family, table, name, elements)


def delete_elements(family: int, table: str, name: str, elements: Iterable[Element]) -> list[Request]:
    """ENOENT when one is not there."""
    return _elements(NFT_MSG_DELSETELEM, 0, family, table, name, elements)


# Expressions.


def _expression(name: str, *data: bytes) -> bytes:
    return text(NFTA_EXPR_NAME, name) + nested(NFTA_EXPR_DATA, *data)


def meta(key: int, register: int = REGISTER) -> bytes:
    """Load a property of the packet."""
    return _expression("meta", be32(1, register), be32(2, key))


def payload(base: int, offset: int, length: int, register: int = REGISTER) -> bytes:
    """Load bytes of a header."""
    return _expression("payload", be32(1, register), be32(2, base), be32(3, offset), be32(4, length))


def compare(value: bytes, *, equal: bool = True, register: int = REGISTER) -> bytes:
    """Go on only if the register starts with ``value`` (or, not ``equal``, does not)."""
    operator = be32(2, NFT_CMP_EQ if equal else NFT_CMP_NEQ)
    return _expression("cmp", be32(1, register), operator, nested(3, attribute(NFTA_DATA_VALUE, value)))


def mask(bits: bytes, register: int = REGISTER) -> bytes:
    """Register and ``bits``, in place."""
    values = (
        nested(4, attribute(NFTA_DATA_VALUE, bits)),
        nested(5, attribute(NFTA_DATA_VALUE, bytes(len(bits)))),
    )
    return _expression("bitwise", be32(1, register), be32(2, register), be32(3, len(bits)), *values)


def lookup(
    name: str, *, inverted: bool = False, register: int = REGISTER, result: int | None = None
) -> bytes:
    """Go on only if the register's value is in the set (``inverted``: is not); a map stores in ``result``."""
    parts = [text(1, name), be32(2, register)]
    if result is not None:
        parts.append(be32(3, result))
    if inverted:
        parts.append(be32(5, 1))
    return _expression("lookup", *parts)


def tracked(key: int, register: int = REGISTER) -> bytes:
    """Load a property of the tracked connection."""
    return _expression("ct", be32(1, register), be32(2, key))


def any_bit(key: int, bits: int) -> tuple[bytes, ...]:
    """Go on only if the connection's ``key`` has one of ``bits``."""
    return tracked(key), mask(struct.pack("=I", bits)), compare(bytes(4), equal=False)


def _fib(flags: int, result: int) -> bytes:
    """Look a route up."""
    return _expression("fib", be32(1, REGISTER), be32(2, result), be32(3, flags))


def address_type(flag: int, value: int = RTN_LOCAL) -> tuple[bytes, ...]:
    """Go on only if the source (NFTA_FIB_F_SADDR) or destination address is of that type for this host."""
    return _fib(flag, NFT_FIB_RESULT_ADDRTYPE), compare(struct.pack("=I", value))


def other_way_back() -> tuple[bytes, ...]:
    """Go on only if the host would not answer the source address through the link by which the packet came."""
    return _fib(NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF, NFT_FIB_RESULT_OIF), compare(bytes(4))


def counter() -> bytes:
    return _expression("counter", attribute(1, bytes(8)), attribute(2, bytes(8)))


def verdict(code: int, chain: str = "") -> bytes:
    """NF_ACCEPT, NF_DROP, NFT_RETURN, or NFT_JUMP and NFT_GOTO with a chain."""
    parts = [be32(NFTA_VERDICT_CODE, code & 0xFFFFFFFF)]
    if chain:
        parts.append(text(NFTA_VERDICT_CHAIN, chain))
    return _expression("immediate", be32(1, VERDICT_REGISTER), nested(2, nested(NFTA_DATA_VERDICT, *parts)))


def immediate(value: bytes, register: int = REGISTER) -> bytes:
    """Load a constant."""
    return _expression("immediate", be32(1, register), nested(2, attribute(NFTA_DATA_VALUE, value)))


def dnat(family: int, *, address: int | None = None, port: int | None = None) -> bytes:
    """Send the connection to the address and port in these registers; what is None stays as it is."""
    parts = [be32(1, NFT_NAT_DNAT), be32(2, family)]
    if address is not None:
        parts.append(be32(3, address))
    if port is not None:
        parts.append(be32(5, port))
    return _expression("nat", *parts)


def snat(family: int, *, address: int) -> bytes:
    """Give what leaves the source address in this register."""
    return _expression("nat", be32(1, NFT_NAT_SNAT), be32(2, family), be32(3, address))


def masquerade() -> bytes:
    return _expression("masq")


# Listings.


def get_generation() -> Request:
    return _request(NFT_MSG_GETGEN, 0, 0, b"", "read the ruleset's generation")


def dump_tables(family: int = 0) -> Request:
    return _request(NFT_MSG_GETTABLE, NLM_F_DUMP, family, b"", "list nft tables")


def dump_chains(family: int = 0) -> Request:
    return _request(NFT_MSG_GETCHAIN, NLM_F_DUMP, family, b"", "list nft chains")


def dump_rules(family: int, table: str, chain: str = "") -> Request:
    body = text(NFTA_RULE_TABLE, table) + (text(NFTA_RULE_CHAIN, chain) if chain else b"")
    return _request(NFT_MSG_GETRULE, NLM_F_DUMP, family, body, f"list rules of {table}")


def dump_elements(family: int, table: str, name: str) -> Request:
    body = text(NFTA_SET_ELEM_LIST_TABLE, table) + text(NFTA_SET_ELEM_LIST_SET, name)
    return _request(NFT_MSG_GETSETELEM, NLM_F_DUMP, family, body, f"list elements of {table} {name}")


def decode_generation(reply: Reply) -> int:
    found = attribute_map(reply.body, _GENERIC.size)
    return int.from_bytes(found.get(NFTA_GEN_ID, b""), "big")


def decode_table(reply: Reply) -> tuple[int, str]:
    """(family, name)."""
    found = attribute_map(reply.body, _GENERIC.size)
    return reply.body[0], decode_text(found.get(NFTA_TABLE_NAME, b""))


def decode_chain(reply: Reply) -> Chain:
    found = attribute_map(reply.body, _GENERIC.size)
    where = attribute_map(found.get(NFTA_CHAIN_HOOK, b""))
    return Chain(
        reply.body[0],
        decode_text(found.get(NFTA_CHAIN_TABLE, b"")),
        decode_text(found.get(NFTA_CHAIN_NAME, b"")),
        int.from_bytes(where[NFTA_HOOK_HOOKNUM], "big") if NFTA_HOOK_HOOKNUM in where else -1,
        int.from_bytes(where.get(NFTA_HOOK_PRIORITY, b""), "big", signed=True),
        int.from_bytes(found.get(NFTA_CHAIN_POLICY, b"\1"), "big"),
    )


def decode_rule(reply: Reply) -> Rule:
    found = attribute_map(reply.body, _GENERIC.size)
    return Rule(
        reply.body[0],
        decode_text(found.get(NFTA_RULE_TABLE, b"")),
        decode_text(found.get(NFTA_RULE_CHAIN, b"")),
        int.from_bytes(found.get(NFTA_RULE_HANDLE, b""), "big"),
        found.get(NFTA_RULE_EXPRESSIONS, b""),
        found.get(NFTA_RULE_USERDATA, b""),
    )


def decode_elements(reply: Reply) -> list[Element]:
    found = attribute_map(reply.body, _GENERIC.size)
    elements: list[Element] = []
    for _, element in attributes(found.get(NFTA_SET_ELEM_LIST_ELEMENTS, b"")):
        parts = attribute_map(element)
        key = attribute_map(parts.get(NFTA_SET_ELEM_KEY, b"")).get(NFTA_DATA_VALUE, b"")
        data = attribute_map(parts.get(NFTA_SET_ELEM_DATA, b"")).get(NFTA_DATA_VALUE, b"")
        elements.append((key, data))
    return elements
