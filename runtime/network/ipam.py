"""Which subnet a network gets, and which address a container gets in it: decisions over values, no I/O."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import random
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from runtime.errors import Conflict, InvalidArgument, concerning
from runtime.network import overlay
from runtime.network.leases import Leases, parse_address
from runtime.network.model import Endpoint, Network, Pool, Subnet, parse_prefix

Address = IPv4Address | IPv6Address

_SIXTEENS = ("172.30", "172.29", "172.28", "172.27", "172.26", "172.25", "172.24", "172.23")
_LATER_SIXTEENS = ("172.22", "172.21", "172.20", "172.19", "172.18", "192.168", "172.31", "172.17")


SHORTEST_ROUTE = 8
"""Routes to larger parts of the world, as VPNs set them that take all traffic (0.0.0.0/1 and 128.0.0.0/1), are to
nowhere in particular."""


@functools.cache
def default_subnets() -> tuple[IPv4Network, ...]:
    """The subnets that networks without a wish are given, in order of preference.

    The same private blocks as Docker's default pools, but as /22 instead of /16, so that hundreds of networks fit,
    of a thousand containers each; and from the other end, since a Docker on the same machine takes 172.17,
    172.18 ... (and clouds like 172.31).
    """
    return tuple(
        IPv4Network(f"{sixteen}.{third}.0/22")
        for sixteen in (*_SIXTEENS, *_LATER_SIXTEENS)
        for third in range(0, 256, 4)
    )


def unique_local_subnet(network_id: str) -> IPv6Network:
    """An IPv6 /64 below fd00::/8 computed from the network's id (RFC 4193)."""
    digest = hashlib.sha256(network_id.encode()).digest()
    return IPv6Network((b"\xfd" + digest[:7] + bytes(8), 64))


def plan_pools(
    network_id: str,
    name: str,
    requested: Sequence[Pool],
    *,
    enable_ipv4: bool = True,
    enable_ipv6: bool = False,
    has_bridge: bool = True,
    networks: Mapping[str, Sequence[str]] | None = None,
    host_routes: Iterable[str] = (),
    chance: random.Random | None = None,
) -> tuple[Pool, ...]:
    """The pools of a new network, subnets and gateways filled in; in each family one, or several where there is no
    bridge.

    ``networks`` has the subnets of existing networks by name, ``host_routes`` the destinations that the host
    reaches by other ways (prefixes; default routes, in parts as well, are passed over): a subnet chosen here avoids
    both, one that was asked for may cover a host route (that is the user's decision, and Docker's) but no other
    network. With ``chance`` it is any of the free ones: others that choose at the same moment choose differently.
    Raises InvalidArgument for wrong values and Conflict for overlaps, naming the other network.
    """
    others = [
        (other, parse_prefix(subnet)) for other, subnets in (networks or {}).items() for subnet in subnets
    ]
    routes = [route for route in map(parse_prefix, host_routes) if route.prefixlen >= SHORTEST_ROUTE]
    pools: list[Pool] = []
    for pool in requested:
        if not pool.subnet:
            if pool.gateway or pool.ip_range or pool.aux_addresses:
                raise InvalidArgument(
                    f"network {name}: gateway, ip_range and aux_addresses need a subnet in the same entry"
                )
            continue
        subnet = parse_subnet(pool.subnet, name)
        if not (enable_ipv4 if subnet.version == 4 else enable_ipv6):
            version = subnet.version
            raise InvalidArgument(
                f"network {name}: subnet {subnet} is IPv{version}, but the network has not enabled IPv{version}",
                hint=f"set enable_ipv{version}: true",
            )
        made = [ipaddress.ip_network(pool.subnet) for pool in pools]
        if any(overlap(subnet, one) for one in made):
            raise InvalidArgument(
                f"network {name}: multiple overlapping subnet configuration is not supported"
            )
        if has_bridge and any(one.version == subnet.version for one in made):
            raise InvalidArgument(
                f"network {name}: bridge driver doesn't support multiple subnets",
                hint="one IPv4 and one IPv6 subnet; make another network for another subnet",
            )
        for other, taken in others:
            if overlap(subnet, taken):
                raise Conflict(
                    f"network {name}: subnet {subnet} overlaps with {taken} of network {other}",
                    hint="choose another subnet, or leave it out to be given a free one",
                )
        pools.append(_complete(pool, subnet, name))
    families = {ipaddress.ip_network(pool.subnet).version for pool in pools}
    if enable_ipv4 and 4 not in families:
        avoided = _Occupied(
            subnet for subnet in (*(taken for _, taken in others), *routes) if subnet.version == 4
        )
        candidates: Sequence[IPv4Network] = default_subnets()
        if chance is not None:
            candidates = chance.sample(candidates, len(candidates))
        chosen = next((subnet for subnet in candidates if subnet not in avoided), None)
        if chosen is None:
            raise Conflict(
                f"network {name}: no free subnet is left among the default ones",
                hint="remove unused networks, or give the network a subnet of its own",
            )
        pools.insert(0, _complete(Pool(subnet=str(chosen)), chosen, name))
    if enable_ipv6 and 6 not in families:
        subnet = unique_local_subnet(network_id)
        pools.append(_complete(Pool(subnet=str(subnet)), subnet, name))
    return tuple(sorted(pools, key=lambda pool: ":" in pool.subnet))


class _Occupied:
    """Whether a subnet overlaps one of many: by halves of sorted, merged integer ranges."""

    def __init__(self, subnets: Iterable[Subnet]) -> None:
        merged: list[tuple[int, int]] = []
        for first, last in sorted((int(s.network_address), int(s.broadcast_address)) for s in subnets):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        self._ranges = merged

    def __contains__(self, subnet: Subnet) -> bool:
        first, last = int(subnet.network_address), int(subnet.broadcast_address)
        return any(start <= last and first <= end for start, end in self._ranges)


def parse_subnet(text: str, name: str) -> Subnet:
    """Raises InvalidArgument for what is no subnet, has host bits, or holds fewer than four addresses."""
    try:
        subnet = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidArgument(
            f"network {name}: {text!r} is no valid subnet", hint="write it as 172.28.0.0/16"
        ) from None
    if "/" not in text:
        raise InvalidArgument(
            f"network {name}: subnet {text} has no length", hint="write it as 172.28.0.0/16"
        )
    if text.partition("/")[0] != str(subnet.network_address) and ipaddress.ip_address(
        text.partition("/")[0]
    ) != (subnet.network_address):
        raise InvalidArgument(f"network {name}: invalid subnet {text}: it should be {subnet}")
    if subnet.num_addresses < 4:
        raise InvalidArgument(
            f"network {name}: subnet {subnet} is too small", hint="/30 (IPv6: /126) is the smallest"
        )
    if subnet.is_multicast or subnet.is_loopback or not subnet.prefixlen:
        raise InvalidArgument(f"network {name}: {subnet} cannot be the subnet of a network")
    return subnet


def overlap(one: Subnet, other: Subnet) -> bool:
    """Whether two subnets have addresses in common; those of different families have not."""
    return one.version == other.version and one.overlaps(other)


def _complete(pool: Pool, subnet: Subnet, name: str) -> Pool:
    """``pool`` with gateway, all values checked against the subnet and in canonical form."""
    ip_range = ""
    if pool.ip_range:
        inner = parse_range(pool.ip_range, name)
        if inner.version != subnet.version or not inner.subnet_of(subnet):  # type: ignore[arg-type]
            raise InvalidArgument(f"network {name}: ip_range {inner} is not within subnet {subnet}")
        ip_range = str(inner)
    auxiliary = {
        label: str(_within(address, subnet, f"network {name}: aux_addresses.{label}"))
        for label, address in pool.aux_addresses.items()
    }
    if pool.gateway:
        gateway = str(_within(pool.gateway.partition("/")[0], subnet, f"network {name}: gateway"))
        if gateway in auxiliary.values():
            raise InvalidArgument(f"network {name}: gateway {gateway} is also one of aux_addresses")
    else:
        candidate = Pool(subnet=str(subnet), ip_range=ip_range, aux_addresses=auxiliary)
        gateway = str(_first_free(candidate, Leases(), name))
    return Pool(subnet=str(subnet), ip_range=ip_range, gateway=gateway, aux_addresses=auxiliary)


def parse_range(text: str, name: str) -> Subnet:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidArgument(f"network {name}: {text!r} is no valid ip_range") from None


def _within(text: str, subnet: Subnet, what: str) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidArgument(f"{what}: {text!r} is no valid address") from None
    if address.version != subnet.version or address not in subnet:
        raise InvalidArgument(f"{what}: {address} is not within subnet {subnet}")
    if address == subnet.network_address or (subnet.version == 4 and address == subnet.broadcast_address):
        raise InvalidArgument(f"{what}: {address} is the network's own or broadcast address")
    return address


def _first_free(pool: Pool, leases: Leases, name: str) -> Address:
    subnet = parse_prefix(pool.subnet)
    inner = parse_prefix(pool.ip_range) if pool.ip_range else subnet
    reserved = {int(subnet.network_address)}
    if subnet.version == 4:
        reserved.add(int(subnet.broadcast_address))
    if pool.gateway:
        reserved.add(parse_address(pool.gateway)[1])
    reserved.update(parse_address(address)[1] for address in pool.aux_addresses.values())
    first, last = int(inner.network_address), int(inner.broadcast_address)
    number = leases.first_free(subnet.version, first, last, reserved)
    if number is not None:
        return IPv4Address(number) if subnet.version == 4 else IPv6Address(number)
    raise Conflict(
        f"network {name}: no free address is left in {inner}",
        hint="remove containers that are not needed, or make the network anew with a larger subnet "
        "(ipam: {config: [{subnet: 10.20.0.0/16}]})",
    )


def allocate_address(
    pool: Pool,
    leases: Leases,
    *,
    requested: str = "",
    name: str = "",
    holder: str = "",
    called: Callable[[str], str] = str,
) -> str:
    """A free address of ``pool`` as a prefix (``172.18.0.2/16``), or the one that is ``requested``, which ``holder``
    may have already. ``called`` says what people call another holder.

    Raises InvalidArgument when the requested one lies outside of the subnet, Conflict when it is taken or nothing is
    free.
    """
    subnet = parse_prefix(pool.subnet)
    if not requested:
        return f"{_first_free(pool, leases, name)}/{subnet.prefixlen}"
    address = _within(requested.partition("/")[0], subnet, f"network {name}")
    if str(address) == pool.gateway:
        raise Conflict(f"network {name}: address {address} is the network's gateway")
    if other := leases.holder_of(str(address), besides=holder):
        raise Conflict(f"network {name}: address {address} is already in use by {called(other)}")
    return f"{address}/{subnet.prefixlen}"


def _allocate(
    network: Network,
    version: int,
    leases: Leases,
    requested: str,
    holder: str,
    called: Callable[[str], str],
) -> str:
    """An address of one of the network's subnets: of the one that has the requested one, or the first with room."""
    allocate = functools.partial(
        allocate_address, requested=requested, name=network.name, holder=holder, called=called
    )
    pools = [pool for pool in network.pools if (":" in pool.subnet) == (version == 6)]
    if requested and network.driver == "overlay":
        taken = allocate(pools[0], leases)
        overlay.check_own(network, pools[0], taken.partition("/")[0])
        return taken
    for pool in pools[:-1]:
        try:
            return allocate(pool, leases)
        except InvalidArgument:  # the requested one may be of the next subnet
            continue
        except Conflict:
            if requested:
                raise
    return allocate(pools[-1], leases)


def hardware_address(ipv4: str, seed: str = "") -> str:
    """A locally administered MAC: 02:42 and the IPv4 address, as Docker's, or else computed from ``seed``."""
    if ipv4:
        return (b"\x02\x42" + socket.inet_aton(ipv4.partition("/")[0])).hex(":")
    return (b"\x02\x42" + hashlib.sha256(seed.encode()).digest()[:4]).hex(":")


def parse_hardware_address(text: str) -> str:
    """Canonical form of a unicast MAC. Raises InvalidArgument."""
    digits = text.replace("-", ":").split(":")
    try:
        packed = bytes(int(part, 16) for part in digits)
    except ValueError:
        packed = b""
    if len(packed) != 6 or packed[0] & 1 or not any(packed) or any(len(part) > 2 for part in digits):
        raise InvalidArgument(f"{text!r} is no valid MAC address", hint="write it as 02:42:ac:11:00:02")
    return packed.hex(":")


def allocate_endpoint(
    network: Network,
    container_id: str,
    leases: Leases,
    *,
    called: Callable[[str], str] = str,
    ipv4: str = "",
    ipv6: str = "",
    mac: str = "",
    link_local: Sequence[str] = (),
    priority: int = 0,
    gw_priority: int = 0,
    interface_name: str = "",
    sysctls: Mapping[str, str] | None = None,
) -> Endpoint:
    """A container's addresses in ``network``, whose ``leases`` are held by ids of containers; ``called`` has their
    names. They are not entered here."""
    address4 = address6 = ""
    with concerning("ipv4_address"):
        if network.pool4:
            address4 = _allocate(network, 4, leases, ipv4, container_id, called)
        elif ipv4:
            raise InvalidArgument(f"network {network.name} has no IPv4 subnet for address {ipv4}")
    with concerning("ipv6_address"):
        if network.pool6:
            address6 = _allocate(network, 6, leases, ipv6, container_id, called)
        elif ipv6:
            raise InvalidArgument(
                f"network {network.name} has no IPv6 subnet for address {ipv6}", hint="set enable_ipv6: true"
            )
    with concerning("mac_address"):
        own_mac = parse_hardware_address(mac) if mac else ""
    return Endpoint(
        network_id=network.id,
        ipv4=address4,
        ipv6=address6,
        mac=own_mac or hardware_address(address4, container_id + network.id),
        link_local=tuple(link_local),
        priority=priority,
        gw_priority=gw_priority,
        interface_name=interface_name,
        sysctls=dict(sysctls or {}),
    )


def is_leased(network: Network, endpoint: Endpoint) -> bool:
    """Whether the addresses of ``endpoint`` are of the network's subnets as they are now."""
    if endpoint.network_id != network.id:
        return False
    has4, has6 = bool(endpoint.ipv4), bool(endpoint.ipv6)
    if (has4, has6) != (network.pool4 is not None, network.pool6 is not None):
        return False
    return all(
        any(ipaddress.ip_address(address) in parse_prefix(pool.subnet) for pool in network.pools)
        for address in (endpoint.address4, endpoint.address6)
        if address
    )
