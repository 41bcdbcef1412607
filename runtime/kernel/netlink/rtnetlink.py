"""Links, addresses and routes (rtnetlink(7), linux/if_link.h, if_addr.h, rtnetlink.h): pure encoders and
decoders.

An address is text in its usual form, a prefix ``address/length``; a MAC ``02:42:ac:11:00:02``.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import NamedTuple

from runtime.kernel.netlink.message import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Reply,
    Request,
    attribute,
    attribute_map,
    decode_text,
    nested,
    text,
    u8,
    u16,
    u32,
)

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_SETLINK = 19
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26
RTM_NEWNEIGH = 28

IFF_UP = 0x1

GROUPS_OF_ROUTES = 0x010 | 0x040 | 0x100 | 0x400
"""Multicast groups for changes of addresses and routes of both families (RTMGRP_*)."""

IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_LINK = 5
IFLA_MASTER = 10
IFLA_PROTINFO = 12
IFLA_LINKINFO = 18
IFLA_GROUP = 27
IFLA_NET_NS_FD = 28
IFLA_EXT_MASK = 29
IFLA_NUM_TX_QUEUES = 31
IFLA_NUM_RX_QUEUES = 32
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
VETH_INFO_PEER = 1
IFLA_MACVLAN_MODE = 1
IFLA_IPVLAN_MODE = 1
IFLA_IPVLAN_FLAGS = 2
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
IFLA_VXLAN_ID = 1
IFLA_VXLAN_LOCAL = 4
IFLA_VXLAN_LOCAL6 = 17
IFLA_VXLAN_LEARNING = 7
IFLA_VXLAN_PORT = 15
IFLA_BR_FORWARD_DELAY = 1
IFLA_BR_STP_STATE = 5
IFLA_BR_MCAST_SNOOPING = 23
IFLA_BRPORT_MODE = 4
IFLA_BRPORT_ISOLATED = 33
RTEXT_FILTER_SKIP_STATS = 1 << 3

IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_BROADCAST = 4
IFA_FLAGS = 8
IFA_F_NODAD = 0x02
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_HOST = 254

NDA_DST = 1
NDA_LLADDR = 2
NTF_SELF = 0x02
NUD_NOARP = 0x40
NUD_PERMANENT = 0x80
"""linux/neighbour.h"""

RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_TABLE = 15
RT_TABLE_MAIN = 254
RTPROT_BOOT = 3
RTN_UNICAST = 1

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBi")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")


class Link(NamedTuple):
    """One link as the kernel lists it. ``master`` is the index of its bridge, 0 without."""

    ifindex: int
    name: str
    kind: str
    flags: int
    mtu: int
    master: int
    mac: str
    group: int


class Address(NamedTuple):
    """One address of a link: ``prefix`` is ``address/length``."""

    ifindex: int
    prefix: str


class Route(NamedTuple):
    """One unicast route. ``destination`` is a prefix, ``0.0.0.0/0`` or ``::/0`` for the default."""

    destination: str
    gateway: str
    ifindex: int
    table: int


def pack_address(address: str) -> bytes:
    """Four or sixteen bytes. Raises OSError for what is no address."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def unpack_address(data: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6 if len(data) == 16 else socket.AF_INET, data)


def pack_mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def create_bridge(name: str, *, mtu: int = 0, mac: str = "", group: int = 0) -> Request:
    """A bridge that forwards at once (no spanning tree, no delay), still down, in link group ``group``.

    It does not look who listens to which multicast group: without a querier on the network that makes no difference to
    who gets what, but with each port that comes or goes the kernel arms timers for all of them."""
    parts = [text(IFLA_IFNAME, name)]
    if mtu:
        parts.append(u32(IFLA_MTU, mtu))
    if mac:
        parts.append(attribute(IFLA_ADDRESS, pack_mac(mac)))
    if group:
        parts.append(u32(IFLA_GROUP, group))
    data = nested(
        IFLA_INFO_DATA,
        u32(IFLA_BR_FORWARD_DELAY, 0),
        u32(IFLA_BR_STP_STATE, 0),
        u8(IFLA_BR_MCAST_SNOOPING, 0),
    )
    parts.append(nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"), data))
    return Request(
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        _IFINFO.pack(0, 0, 0, 0, 0) + b"".join(parts),
        f"create bridge {name}",
    )


def create_veth(
    name: str,
    *,
    peer: str,
    peer_netns: int,
    master: int = 0,
    peer_mac: str = "",
    mtu: int = 0,
    mac: str = "",
) -> Request:
    """A veth pair in one message: ``name`` here, up and in bridge ``master``; ``peer`` in the network
    namespace that the descriptor ``peer_netns`` stands for, down, with its final name and MAC."""
    inner = [text(IFLA_IFNAME, peer), u32(IFLA_NET_NS_FD, peer_netns)]
    outer = [text(IFLA_IFNAME, name), u32(IFLA_NUM_TX_QUEUES, 1), u32(IFLA_NUM_RX_QUEUES, 1)]
    inner += outer[1:]
    if peer_mac:
        inner.append(attribute(IFLA_ADDRESS, pack_mac(peer_mac)))
    if mac:
        outer.append(attribute(IFLA_ADDRESS, pack_mac(mac)))
    if mtu:
        inner.append(u32(IFLA_MTU, mtu))
        outer.append(u32(IFLA_MTU, mtu))
    if master:
        outer.append(u32(IFLA_MASTER, master))
    info = attribute(VETH_INFO_PEER | 0x8000, _IFINFO.pack(0, 0, 0, 0, 0) + b"".join(inner))
    outer.append(nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth"), nested(IFLA_INFO_DATA, info)))
    return Request(
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        _IFINFO.pack(0, 0, 0, IFF_UP, IFF_UP) + b"".join(outer),
        f"create veth {name}",
    )


def create_child_link(
    name: str,
    kind: str,
    *,
    parent: int,
    netns: int,
    mode: str,
    flag: str = "",
    mac: str = "",
    mtu: int = 0,
    group: int = 0,
) -> Request:
    """A macvlan or ipvlan on the link ``parent`` of this namespace, made in the one of the descriptor ``netns``,
    still down. An ipvlan has its parent's MAC; ``flag`` says who of its neighbours it reaches (ipvlan.rst)."""
    parts = [text(IFLA_IFNAME, name), u32(IFLA_LINK, parent), u32(IFLA_NET_NS_FD, netns)]
    if kind == "macvlan":
        data = u32(IFLA_MACVLAN_MODE, MACVLAN_MODES[mode])
        if mac:
            parts.append(attribute(IFLA_ADDRESS, pack_mac(mac)))
    else:
        data = u16(IFLA_IPVLAN_MODE, IPVLAN_MODES[mode])
        if flag:
            data += u16(IFLA_IPVLAN_FLAGS, IPVLAN_FLAGS[flag])
    if mtu:
        parts.append(u32(IFLA_MTU, mtu))
    if group:
        parts.append(u32(IFLA_GROUP, group))
    parts.append(nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), nested(IFLA_INFO_DATA, data)))
    return Request(
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        _IFINFO.pack(0, 0, 0, 0, 0) + b"".join(parts),
        f"create {kind} {name}",
        reasons=_without(kind),
    )


def _without(kind: str) -> dict[int, str]:
    """For links that not every kernel has, which only says that it does not know them."""
    reason = (
        f"this kernel has no {kind}: load its module (modprobe {kind}), or run one with CONFIG_{kind.upper()}"
    )
    return {errno.EOPNOTSUPP: reason}


def create_vxlan(
    name: str, *, vni: int, local: str, port: int, master: int, mtu: int = 0, group: int = 0
) -> Request:
    """A tunnel end that sends from the address ``local`` to UDP ``port``, up and in the bridge ``master``. It learns
    behind which host a MAC is; whom it floods to is said by :func:`add_flooded`."""
    data = nested(
        IFLA_INFO_DATA,
        u32(IFLA_VXLAN_ID, vni),
        attribute(IFLA_VXLAN_LOCAL6 if ":" in local else IFLA_VXLAN_LOCAL, pack_address(local)),
        u8(IFLA_VXLAN_LEARNING, 1),
        attribute(IFLA_VXLAN_PORT, struct.pack("!H", port)),
    )
    parts = [text(IFLA_IFNAME, name), u32(IFLA_MASTER, master)]
    if mtu:
        parts.append(u32(IFLA_MTU, mtu))
    if group:
        parts.append(u32(IFLA_GROUP, group))
    parts.append(nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "vxlan"), data))
    header = _IFINFO.pack(0, 0, 0, IFF_UP, IFF_UP)
    return Request(
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        header + b"".join(parts),
        f"create vxlan {name}",
        reasons=_without("vxlan"),
    )


def add_flooded(index: int, address: str) -> Request:
    """Let the tunnel end ``index`` send frames for nobody it knows to the host ``address`` as well."""
    header = _NEIGHBOUR.pack(socket.AF_BRIDGE, index, NUD_NOARP | NUD_PERMANENT, NTF_SELF, 0)
    body = header + attribute(NDA_LLADDR, bytes(6)) + attribute(NDA_DST, pack_address(address))
    return Request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND, body, f"flood link {index} to {address}")


def set_link_up(index: int = 0, *, name: str = "") -> Request:
    body = _IFINFO.pack(0, 0, index, IFF_UP, IFF_UP) + (text(IFLA_IFNAME, name) if name else b"")
    return Request(RTM_SETLINK, 0, body, f"set {name or f'link {index}'} up")


def set_link_master(index: int, master: int, *, label: str = "") -> Request:
    """Put a link into a bridge (``master`` 0: take it out)."""
    body = _IFINFO.pack(0, 0, index, 0, 0) + u32(IFLA_MASTER, master)
    return Request(RTM_SETLINK, 0, body, f"set master of {label or f'link {index}'}")


def set_bridge_port(index: int, *, hairpin: bool = False, isolated: bool = False) -> Request:
    """Flags of a bridge's port: ``hairpin`` lets frames leave where they came in, ``isolated`` keeps the port from
    other isolated ones (not from the bridge itself).

    Said to the bridge (AF_BRIDGE) and not to the link: a changed link has the kernel walk all IPv6 routes."""
    flags = nested(IFLA_PROTINFO, u8(IFLA_BRPORT_MODE, hairpin), u8(IFLA_BRPORT_ISOLATED, isolated))
    body = _IFINFO.pack(socket.AF_BRIDGE, 0, index, 0, 0) + flags
    return Request(RTM_SETLINK, 0, body, f"set bridge port {index}")


def rename_link(index: int, name: str) -> Request:
    """The link must be down on kernels before 6.2."""
    body = _IFINFO.pack(0, 0, index, 0, 0) + text(IFLA_IFNAME, name)
    return Request(RTM_SETLINK, 0, body, f"rename link {index} to {name}")


def delete_link(*, name: str = "", index: int = 0, ignore: tuple[int, ...] = ()) -> Request:
    body = _IFINFO.pack(0, 0, index, 0, 0) + (text(IFLA_IFNAME, name) if name else b"")
    return Request(RTM_DELLINK, 0, body, f"delete {name or f'link {index}'}", ignore)


def set_link_group(index: int, group: int, *, ignore: tuple[int, ...] = ()) -> Request:
    body = _IFINFO.pack(0, 0, index, 0, 0) + u32(IFLA_GROUP, group)
    return Request(RTM_SETLINK, 0, body, f"set group of link {index}", ignore)


def delete_group(group: int, *, ignore: tuple[int, ...] = ()) -> Request:
    """All links of a group at once: the kernel waits for those who may still use one of them only once."""
    body = _IFINFO.pack(0, 0, 0, 0, 0) + u32(IFLA_GROUP, group)
    return Request(RTM_DELLINK, 0, body, f"delete links of group {group}", ignore)


def add_address(index: int, prefix: str, *, ignore: tuple[int, ...] = ()) -> Request:
    """Add ``prefix`` to a link; IPv6 without duplicate address detection, so that it is usable at once."""
    address, _, length = prefix.partition("/")
    packed = pack_address(address)
    parts = [attribute(IFA_LOCAL, packed), attribute(IFA_ADDRESS, packed)]
    bits = int(length)
    flags = 0
    if len(packed) == 16:
        flags = IFA_F_NODAD
    elif bits < 31:
        last = int.from_bytes(packed, "big") | ((1 << (32 - bits)) - 1)
        parts.append(attribute(IFA_BROADCAST, last.to_bytes(4, "big")))
    scope = RT_SCOPE_UNIVERSE
    if address.startswith(("169.254.", "fe80:")):
        scope = RT_SCOPE_LINK
    elif address.startswith("127.") or address == "::1":
        scope = RT_SCOPE_HOST
    body = _IFADDR.pack(_family(address), bits, flags, scope, index) + b"".join(parts)
    return Request(
        RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, f"add address {prefix} to link {index}", ignore
    )


def delete_address(index: int, prefix: str) -> Request:
    address, _, length = prefix.partition("/")
    packed = pack_address(address)
    body = _IFADDR.pack(_family(address), int(length), 0, 0, index) + attribute(IFA_LOCAL, packed)
    return Request(RTM_DELADDR, 0, body, f"delete address {prefix} of link {index}")


def _route(destination: str, gateway: str, index: int, table: int) -> bytes:
    address, _, length = destination.partition("/")
    family = _family(address)
    bits = int(length)
    scope = RT_SCOPE_UNIVERSE if gateway or family == socket.AF_INET6 else RT_SCOPE_LINK
    parts = []
    if bits:
        parts.append(attribute(RTA_DST, pack_address(address)))
    if gateway:
        parts.append(attribute(RTA_GATEWAY, pack_address(gateway)))
    if index:
        parts.append(u32(RTA_OIF, index))
    header = _ROUTE.pack(family, bits, 0, 0, table, RTPROT_BOOT, scope, RTN_UNICAST, 0)
    return header + b"".join(parts)


def add_route(
    destination: str, *, gateway: str = "", index: int = 0, replace: bool = False, table: int = RT_TABLE_MAIN
) -> Request:
    """A unicast route; without ``gateway`` the destination is on the link itself. ``table`` is less than 256."""
    flags = NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    where = f"via {gateway}" if gateway else f"on link {index}"
    return Request(
        RTM_NEWROUTE, flags, _route(destination, gateway, index, table), f"add route {destination} {where}"
    )


def delete_route(
    destination: str, *, gateway: str = "", index: int = 0, ignore: tuple[int, ...] = ()
) -> Request:
    address, _, length = destination.partition("/")
    body = _ROUTE.pack(_family(address), int(length), 0, 0, RT_TABLE_MAIN, 0, 255, 0, 0)
    if int(length):
        body += attribute(RTA_DST, pack_address(address))
    if gateway:
        body += attribute(RTA_GATEWAY, pack_address(gateway))
    if index:
        body += u32(RTA_OIF, index)
    return Request(RTM_DELROUTE, 0, body, f"delete route {destination}", ignore)


def dump_links() -> Request:
    body = _IFINFO.pack(0, 0, 0, 0, 0) + u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    return Request(RTM_GETLINK, NLM_F_DUMP, body, "list links")


def get_link(name: str = "", *, index: int = 0, ignore: tuple[int, ...] = ()) -> Request:
    body = _IFINFO.pack(0, 0, index, 0, 0) + (text(IFLA_IFNAME, name) if name else b"")
    body += u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    return Request(RTM_GETLINK, 0, body, f"look up {name or f'link {index}'}", ignore)


def dump_addresses() -> Request:
    return Request(RTM_GETADDR, NLM_F_DUMP, _IFADDR.pack(0, 0, 0, 0, 0), "list addresses")


def dump_routes(family: int) -> Request:
    """The unicast routes of all tables; ``family`` AF_INET or AF_INET6."""
    header = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, RTN_UNICAST, 0)
    return Request(RTM_GETROUTE, NLM_F_DUMP, header, "list routes")


def decode_link(reply: Reply) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(reply.body)
    found = attribute_map(reply.body, _IFINFO.size)
    info = attribute_map(found.get(IFLA_LINKINFO, b""))
    return Link(
        index,
        decode_text(found.get(IFLA_IFNAME, b"")),
        decode_text(info.get(IFLA_INFO_KIND, b"")),
        flags,
        _number(found.get(IFLA_MTU, b"")),
        _number(found.get(IFLA_MASTER, b"")),
        found.get(IFLA_ADDRESS, b"").hex(":"),
        _number(found.get(IFLA_GROUP, b"")),
    )


def decode_address(reply: Reply) -> Address | None:
    """None for families other than IPv4 and IPv6."""
    family, bits, _, _, index = _IFADDR.unpack_from(reply.body)
    found = attribute_map(reply.body, _IFADDR.size)
    data = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS)
    if family not in (socket.AF_INET, socket.AF_INET6) or data is None:
        return None
    return Address(index, f"{unpack_address(data)}/{bits}")


def decode_route(reply: Reply) -> Route | None:
    """None for what is not a unicast route."""
    family, bits, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(reply.body)
    if kind != RTN_UNICAST:
        return None
    found = attribute_map(reply.body, _ROUTE.size)
    data = found.get(RTA_DST, b"\0" * (16 if family == socket.AF_INET6 else 4))
    gateway = found.get(RTA_GATEWAY)
    return Route(
        f"{unpack_address(data)}/{bits}",
        unpack_address(gateway) if gateway else "",
        _number(found.get(RTA_OIF, b"")),
        _number(found.get(RTA_TABLE, b"")) or table,
    )


def _number(data: bytes) -> int:
    return int(struct.unpack("=I", data)[0]) if len(data) == 4 else 0
