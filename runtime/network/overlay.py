"""Networks over several hosts: what a tunnel of VXLAN (RFC 7348) between hosts that are named one by one needs.

A bridge on each host, and in it a link that carries frames to the other hosts. The driver option ``peers`` lists the
addresses of all hosts, the same list everywhere: the place in it decides which part of the subnet a host gives
away, so that no address is given twice and nobody has to be asked; ``ranges`` lists other parts, in the same order.
Frames are not encrypted; those of machines that are not in the list are dropped. Pure.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from runtime.errors import InvalidArgument

if TYPE_CHECKING:
    from runtime.network.model import Network, Pool, Subnet

PORT = 14789
"""UDP. Not the 4789 of RFC 7348, which belongs to whoever else has tunnels on the host."""
OVERHEAD, OVERHEAD6 = 50, 70
"""Bytes that a frame grows by: Ethernet, IPv4 or IPv6, UDP and VXLAN."""
VNI_OPTION = "com.docker.network.driver.overlay.vxlanid_list"
OPTIONS = ("peers", "ranges", "vxlan_port", VNI_OPTION)


class Tunnel(NamedTuple):
    """``peers`` are the addresses of all hosts, in order, this one's among them."""

    peers: tuple[str, ...]
    vni: int
    port: int


def tunnel_of(network: Network) -> Tunnel:
    """The tunnel that the network's options ask for. Raises InvalidArgument naming the option."""
    name, options = network.name, network.options
    texts = [text.strip() for text in options.get("peers", "").split(",") if text.strip()]
    if len(texts) < 2:
        raise InvalidArgument(
            f"network {name}: an overlay network needs the addresses of its hosts",
            hint="name all of them, on each host alike: driver_opts: {peers: '192.0.2.1,192.0.2.2'}",
        )
    peers = []
    for text in texts:
        try:
            peers.append(str(ipaddress.ip_address(text)))
        except ValueError:
            raise InvalidArgument(f"network {name}: peers: {text!r} is no address") from None
    if len({":" in peer for peer in peers}) > 1:
        raise InvalidArgument(
            f"network {name}: peers: some addresses are IPv4, some IPv6",
            hint="the hosts have to reach each other: name addresses of one kind",
        )
    if len(set(peers)) < len(peers):
        raise InvalidArgument(f"network {name}: peers: an address is there twice")
    chosen = int.from_bytes(hashlib.sha256(f"overlay {name}".encode()).digest()[:3], "big") | 0x1000
    vni = _number(name, VNI_OPTION, options.get(VNI_OPTION, ""), chosen, (1 << 24) - 1)
    return Tunnel(tuple(peers), vni, _number(name, "vxlan_port", options.get("vxlan_port", ""), PORT, 65535))


def _number(name: str, option: str, text: str, default: int, largest: int) -> int:
    if not text:
        return default
    if not text.isdecimal() or not 0 < int(text) <= largest:
        raise InvalidArgument(f"network {name}: {option} must be between 1 and {largest}, not {text!r}")
    return int(text)


def mtu_of(options: Mapping[str, str]) -> int:
    """What fits into the frames of an Ethernet link between the hosts."""
    return 1500 - (OVERHEAD6 if ":" in options.get("peers", "") else OVERHEAD)


def own_address(network: Network, host_addresses: Collection[str]) -> str:
    """The address of this host among the peers. Raises InvalidArgument unless there is exactly one."""
    peers = tunnel_of(network).peers
    own = [peer for peer in peers if peer in host_addresses]
    if len(own) != 1:
        found = "none" if not own else ", ".join(own)
        raise InvalidArgument(
            f"network {network.name}: one of the peers has to be an address of this host, and there is {found}",
            hint=f"peers are {', '.join(peers)}",
        )
    return own[0]


def own_parts(network: Network, asked: Sequence[Pool], position: int) -> list[Pool]:
    """The pools of the host at ``position`` of the peers, in each family that the network has. An IPv6 subnet that
    nobody asked for follows from what is the same on each host. Raises InvalidArgument."""
    from runtime.network.model import Pool

    pools = [pool for pool in asked if pool != Pool()]
    if network.enable_ipv6 and not any(":" in pool.subnet for pool in pools):
        pools.append(Pool(subnet=shared_subnet(network)))
    if network.enable_ipv4 and all(":" in pool.subnet for pool in pools):
        pools.append(Pool())
    return [own_part(network, pool, position) for pool in pools]


def shared_subnet(network: Network) -> str:
    """An IPv6 /64 below fd00::/8 (RFC 4193), computed from the network's name, number and hosts."""
    tunnel = tunnel_of(network)
    seed = f"overlay {network.name} {tunnel.vni} {' '.join(tunnel.peers)}"
    digest = hashlib.sha256(seed.encode()).digest()
    return str(ipaddress.IPv6Network((b"\xfd" + digest[:7] + bytes(8), 64)))


def own_part(network: Network, pool: Pool, position: int) -> Pool:
    """``pool`` with the part of its subnet that the host at ``position`` of the peers gives away: its gateway is the
    first address in it. Raises InvalidArgument for another part or gateway than those that every host knows of every
    other: then none would find the other's names."""
    if not pool.subnet:
        raise InvalidArgument(
            f"network {network.name}: an overlay network needs a subnet, the same on each host",
            hint="ipam: {config: [{subnet: 10.90.0.0/16}]}",
        )
    part = _part(network, pool, position)
    if pool.ip_range and _prefix(network, "ip_range", pool.ip_range) != part:
        raise InvalidArgument(
            f"network {network.name}: ip_range {pool.ip_range} is not this host's part of {pool.subnet}, {part}: the "
            f"other hosts would not find its names",
            hint="leave ip_range out, or list those of all hosts, in the order of peers and on each host alike: "
            "driver_opts: {ranges: '10.90.7.0/24,10.90.8.0/24'}",
        )
    gateway = part.network_address + 1
    if (
        pool.gateway
        and _prefix(network, "gateway", pool.gateway.partition("/")[0]).network_address != gateway
    ):
        raise InvalidArgument(
            f"network {network.name}: gateway {pool.gateway} is not the first address of this host's part, {gateway}, "
            "where the other hosts ask for its names",
            hint="leave gateway out: each host is the gateway of its own containers",
        )
    return replace(pool, ip_range=str(part), gateway=str(gateway))


def _part(network: Network, pool: Pool, position: int) -> Subnet:
    """Raises InvalidArgument."""
    subnet = _prefix(network, "subnet", pool.subnet)
    if given := given_ranges(network).get(subnet.version):
        part = given[position]
        if not part.subnet_of(subnet):  # type: ignore[arg-type]
            raise InvalidArgument(f"network {network.name}: ranges: {part} is not within subnet {subnet}")
        return part
    bits = (len(tunnel_of(network).peers) - 1).bit_length()
    length = subnet.prefixlen + bits
    if length > subnet.max_prefixlen - 2:
        raise InvalidArgument(f"network {network.name}: subnet {subnet} is too small for its hosts")
    size = 1 << (subnet.max_prefixlen - length)
    first = type(subnet.network_address)(int(subnet.network_address) + position * size)
    return ipaddress.ip_network(f"{first}/{length}")


def given_ranges(network: Network) -> dict[int, tuple[Subnet, ...]]:
    """The parts of all hosts that the option ``ranges`` lists, by IP version; none where it lists none. Raises
    InvalidArgument."""
    texts = [text.strip() for text in network.options.get("ranges", "").split(",") if text.strip()]
    ranges = [_prefix(network, "ranges", text) for text in texts]
    hosts = len(tunnel_of(network).peers)
    found: dict[int, tuple[Subnet, ...]] = {}
    for version in (4, 6):
        listed = tuple(one for one in ranges if one.version == version)
        if len(listed) not in (0, hosts):
            raise InvalidArgument(
                f"network {network.name}: ranges has {len(listed)} of IPv{version} for {hosts} peers",
                hint="list one for each of the peers, in their order",
            )
        for number, one in enumerate(listed):
            if one.prefixlen > one.max_prefixlen - 2:
                raise InvalidArgument(f"network {network.name}: ranges: {one} is too small for a host")
            if other := next((other for other in listed[:number] if one.overlaps(other)), None):
                raise InvalidArgument(f"network {network.name}: ranges: {one} overlaps with {other}")
        if listed:
            found[version] = listed
    return found


def _prefix(network: Network, what: str, text: str) -> Subnet:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidArgument(f"network {network.name}: {text!r} is no valid {what}") from None


def check_own(network: Network, pool: Pool, address: str) -> None:
    """Raises InvalidArgument for an address that was asked for and is in another host's part of the subnet."""
    if ipaddress.ip_address(address) in ipaddress.ip_network(pool.ip_range):
        return
    raise InvalidArgument(
        f"network {network.name}: address {address} is not in this host's part of the subnet, {pool.ip_range}: "
        f"another host may give it away, and none would know its names",
        hint="choose one that is, or give the hosts other parts: driver_opts: {ranges: …}",
    )


def peer_parts(network: Network) -> dict[str, tuple[Pool, ...]]:
    """The parts of the subnets of all hosts by the hosts' addresses, gateways filled in. A family in which this host
    has another part than the others take it to have, as networks of earlier versions may, is left out; {} where that
    leaves none."""
    found: dict[str, tuple[Pool, ...]] = {}
    for pool in network.pools:
        whole = replace(pool, ip_range="", gateway="", aux_addresses={})
        parts = {
            peer: own_part(network, whole, position) for position, peer in enumerate(tunnel_of(network).peers)
        }
        if (pool.ip_range, pool.gateway) in {(part.ip_range, part.gateway) for part in parts.values()}:
            found = {peer: (*found.get(peer, ()), part) for peer, part in parts.items()}
    return found


def tunnel_link(bridge: str) -> str:
    """Name of the link in ``bridge`` that carries frames to the other hosts."""
    return "cmx-" + bridge[4:]
