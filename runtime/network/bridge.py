"""The bridge of a network: made, verified and removed over rtnetlink, and listed for the sweep.

A bridge of ours is told from another engine's by its link group, which the kernel stores in the same step
that creates the link, so there is no moment at which a bridge has no owner. The kernel is also where engines agree on
who has a subnet: each puts its address on its bridge and looks then at what routes there are. Of two that do so at the
same moment at least one sees the other, and who sees another gives way.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
from collections.abc import Collection, Iterable, Sequence

from runtime.errors import ComposerError, Conflict
from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkError, NetlinkSocket
from runtime.network import ipam, overlay
from runtime.network.host import host_addresses
from runtime.network.model import BRIDGE_PREFIX, Network, Subnet, parse_prefix
from runtime.network.routes import HostRoutes
from runtime.network.sandbox import is_bridge_filtered, write_sysctls

_AT_ONCE = 64
"""Requests in one datagram: their answers have to fit into a socket's buffer."""


def link_group(tag: str) -> int:
    """The number that marks the links of the engine with ``tag`` ("" for the one at the default root)."""
    return int.from_bytes(hashlib.sha256(f"composer {tag}".encode()).digest()[:4], "big") & 0x7FFFFFFF | 1


def doomed_group(tag: str) -> int:
    """The number that marks bridges that are about to be deleted together."""
    return link_group(tag) ^ 0x40000000


def is_there(link: str) -> bool:
    """Whether a link of that name exists, whoever made it."""
    return index_of(link) != 0


def index_of(link: str) -> int:
    """The number of the link of that name, whoever made it; 0: there is none."""
    try:
        return socket.if_nametoindex(link)
    except OSError:
        return 0


def built_in_id(name: str, tag: str) -> str:
    """Another one for each engine: the names of bridges are made from it."""
    of = f" of {tag}" if tag else ""
    return hashlib.sha256(f"composer built-in network {name}{of}".encode()).hexdigest()


class SubnetTaken(Conflict):
    """The host reaches the network's subnet by another link; the bridge is not there any more."""


def ensure_bridge(network: Network, tag: str = "", routes: HostRoutes | None = None) -> bool:
    """Make the network's bridge, or repair what is missing of it. True if it was not there. ``routes`` are what is
    known of the host's.

    Raises Conflict when a link of its name belongs to somebody else, SubnetTaken when its subnet does,
    ComposerError when the kernel refuses.
    """
    name, group = network.bridge, link_group(tag)
    prefixes = [
        f"{pool.gateway}/{pool.subnet.partition('/')[2]}"
        for pool in network.pools
        if pool.gateway and network.has_bridge_address(pool)
    ]
    try:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            mac = (b"\x02\x42" + hashlib.sha256(network.id.encode()).digest()[:4]).hex(":")
            try:
                rtnl.execute([rtnetlink.create_bridge(name, mtu=network.mtu, mac=mac, group=group)])
                created = True
            except NetlinkError as error:
                if error.errno != errno.EEXIST:
                    raise
                created = False
                link = rtnetlink.decode_link(rtnl.query(rtnetlink.get_link(name))[0])
                if link.kind != "bridge" or link.group != group:
                    raise Conflict(
                        f"network {network.name}: a link named {name} exists and is not ours",
                        hint="remove it, or choose another com.docker.network.bridge.name",
                    ) from None
            index = socket.if_nametoindex(name)
            _write_sysctls(network)
            if network.driver == "overlay":
                _ensure_tunnel(rtnl, network, index, group)
            requests = [rtnetlink.add_address(index, prefix, ignore=(errno.EEXIST,)) for prefix in prefixes]
            rtnl.execute([*requests, rtnetlink.set_link_up(index)])
            if created and prefixes:
                with contextlib.ExitStack() as stack:
                    known = routes or stack.enter_context(contextlib.closing(HostRoutes()))
                    _claim(rtnl, network, index, tag, known)
    except OSError as error:
        raise ComposerError(f"network {network.name}: {error.strerror or error}") from error
    return created


def rejoin(network: Network, ports: Collection[str]) -> None:
    """Put host's ends of running containers' pairs back into the network's bridge, which was made anew."""
    if not ports:
        return
    is_filtered = is_bridge_filtered()
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        bridge = _link(rtnl, network.bridge)
        for name in ports if bridge else ():
            link = _link(rtnl, name)
            if bridge is None or link is None or link.master == bridge.ifindex:
                continue
            requests = [rtnetlink.set_link_master(link.ifindex, bridge.ifindex, label=name)]
            if is_filtered or not network.has_icc:
                isolated = not network.has_icc and not is_filtered
                requests.append(
                    rtnetlink.set_bridge_port(link.ifindex, hairpin=is_filtered, isolated=isolated)
                )
            rtnl.execute(requests)


def _link(rtnl: NetlinkSocket, name: str = "", *, index: int = 0) -> rtnetlink.Link | None:
    """The link of that name or number, None if there is none (any more)."""
    replies = rtnl.query(rtnetlink.get_link(name, index=index, ignore=(errno.ENODEV,)))
    return rtnetlink.decode_link(replies[0]) if replies else None


def _claim(rtnl: NetlinkSocket, network: Network, index: int, tag: str, routes: HostRoutes) -> None:
    """Keep the subnets, or take the bridge away again because somebody else has one of them, or is about to."""
    rival = _rival(rtnl, network, index, routes)
    if rival is not None:
        routes.forget()  # it may have gone
        rival = _rival(rtnl, network, index, routes)
    if rival is not None:
        subnet, destination, link = rival
        remove_bridge(network.bridge, tag)
        raise SubnetTaken(
            f"network {network.name}: subnet {subnet} is taken: the host reaches {destination} through {link}",
            hint="choose another subnet, or leave it out to be given a free one",
        )


def _rival(
    rtnl: NetlinkSocket, network: Network, index: int, routes: HostRoutes
) -> tuple[Subnet, Subnet, str] | None:
    """(subnet of the network, destination, link) of a way into a subnet of the network besides its bridge ``index``.

    What was chosen for the network gives way to every route; what was asked for, only to networks of containers:
    covering other routes of the host is the user's own decision.
    """
    subnets = [parse_prefix(pool.subnet) for pool in network.pools]
    for way in routes.into(subnets, besides=index):
        destination = way.destination
        length = 1 if destination.version == 6 else ipam.SHORTEST_ROUTE
        if destination.prefixlen < length or destination.is_link_local:
            continue
        other = _link(rtnl, index=way.ifindex)
        if other is None:
            continue
        is_network = other.kind == "bridge" and other.name.startswith((BRIDGE_PREFIX, "br-", "docker"))
        if is_network or network.has_chosen_subnet:
            subnet = next(one for one in subnets if ipam.overlap(one, destination))
            return subnet, destination, other.name
    return None


def _ensure_tunnel(rtnl: NetlinkSocket, network: Network, index: int, group: int) -> None:
    """The link in the bridge ``index`` that carries frames to the network's other hosts."""
    name = overlay.tunnel_link(network.bridge)
    tunnel = overlay.tunnel_of(network)
    local = overlay.own_address(network, host_addresses())
    request = rtnetlink.create_vxlan(
        name, vni=tunnel.vni, local=local, port=tunnel.port, master=index, mtu=network.mtu, group=group
    )
    try:
        rtnl.execute([request])
    except NetlinkError as error:
        if error.errno == errno.EEXIST and name in {label for _, label in socket.if_nameindex()}:
            return
        if error.errno == errno.EEXIST:
            raise Conflict(
                f"network {network.name}: another tunnel on this host has the number {tunnel.vni}",
                hint=f"choose another with driver_opts: {overlay.VNI_OPTION}, on each host alike",
            ) from None
        raise
    link = socket.if_nametoindex(name)
    rtnl.execute([rtnetlink.add_flooded(link, peer) for peer in tunnel.peers if peer != local])


def _write_sysctls(network: Network) -> None:
    name = network.bridge.replace(".", "/")
    # Connections of the host to 127.0.0.1 that are sent to a container come back through this link.
    values = {f"net.ipv4.conf.{name}.route_localnet": "1"}
    if network.pool6:
        values |= {
            f"net.ipv6.conf.{name}.disable_ipv6": "0",
            f"net.ipv6.conf.{name}.accept_dad": "0",
            f"net.ipv6.conf.{name}.accept_ra": "0",
        }
    else:
        values[f"net.ipv6.conf.{name}.disable_ipv6"] = "1"
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        write_sysctls(proc, values)
    finally:
        os.close(proc)


def remove_bridge(name: str, tag: str = "") -> None:
    """Delete a bridge of ours. No error when there is none; another's is left alone."""
    remove_bridges([name], tag)


def remove_bridges(names: Iterable[str], tag: str = "") -> None:
    """Delete those of the bridges that are ours, together: of 200 that takes the kernel half as long as one by one."""
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        found = [link for link in (_link(rtnl, name) for name in names) if link and _is_own(link, tag)]
        requests = [
            rtnetlink.delete_link(name=overlay.tunnel_link(link.name), ignore=(errno.ENODEV,))
            for link in found
            if link.name.startswith(BRIDGE_PREFIX)
        ]
        if len(found) == 1:
            requests.append(rtnetlink.delete_link(index=found[0].ifindex, ignore=(errno.ENODEV,)))
        elif found:
            group = doomed_group(tag)
            requests += [
                rtnetlink.set_link_group(link.ifindex, group, ignore=(errno.ENODEV,)) for link in found
            ]
            requests.append(rtnetlink.delete_group(group, ignore=(errno.ENODEV,)))
        for first in range(0, len(requests), _AT_ONCE):
            rtnl.execute(requests[first : first + _AT_ONCE])


def remove_links(indexes: Sequence[int]) -> None:
    """Delete links by their numbers. No error for those that have gone."""
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        for first in range(0, len(indexes), _AT_ONCE):
            some = indexes[first : first + _AT_ONCE]
            rtnl.execute([rtnetlink.delete_link(index=index, ignore=(errno.ENODEV,)) for index in some])


def _is_own(link: rtnetlink.Link, tag: str) -> bool:
    return link.kind == "bridge" and link.group in (link_group(tag), doomed_group(tag))


def list_bridges(tag: str = "") -> frozenset[str]:
    """Names of the bridges that the engine with ``tag`` has made."""
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        links = map(rtnetlink.decode_link, rtnl.query(rtnetlink.dump_links()))
        return frozenset(link.name for link in links if _is_own(link, tag))


def has_ports(name: str) -> bool:
    """Whether anything is connected to the bridge."""
    try:
        return bool(os.listdir(f"/sys/class/net/{name}/brif"))
    except OSError:
        return False
