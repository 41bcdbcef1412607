"""Who is called what, on which network: the table behind the resolver. Pure; the engine sets and removes
entries."""

from __future__ import annotations

import functools
import ipaddress
import random
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from runtime.network.dns import (
    CLASS_IN,
    NOERROR,
    NXDOMAIN,
    TYPE_A,
    TYPE_AAAA,
    TYPE_ANY,
    TYPE_PTR,
    TYPE_SRV,
    Query,
    Record,
    encode_name,
    parse_service,
    reverse_address,
    service_record,
)

HOST_NAMES = ("host.docker.internal", "gateway.docker.internal")
"""Names of the host as seen from a container."""


class EndpointNames(msgspec.Struct, frozen=True, kw_only=True):
    """What a container is called on one network. Addresses are prefixes, as in ``Endpoint``, or bare."""

    network_id: str
    network: str
    """The network's name, which may follow a name (``web.shop_default``)."""
    ipv4: str = ""
    ipv6: str = ""
    names: tuple[str, ...] = ()
    """Service name and aliases; the container's name and short id go without saying."""


class ContainerNames(msgspec.Struct, frozen=True, kw_only=True):
    """One container in the table, both as one who is asked for and as one who asks."""

    name: str
    endpoints: tuple[EndpointNames, ...] = ()
    links: dict[str, str] = {}
    """Names that only this container knows -> container id, or the name that they stand for on its networks."""
    hosts: dict[str, tuple[str, ...]] = {}
    """Names that only this container knows -> addresses (``extra_hosts``)."""
    gateway4: str = ""
    gateway6: str = ""
    """The host's addresses for this container: next hops of its default routes."""
    ports: tuple[tuple[int, str], ...] = ()
    """(port, protocol) of what it exposes: the answers to questions for SRV."""
    dns: tuple[str, ...] = ()
    """Name servers to forward to instead of the host's."""
    is_internal: bool = False
    """Only on internal networks: nothing is forwarded for it, since a name can carry data out
    (CVE-2024-29018)."""
    is_remote: bool = False
    """It runs on another host of an overlay network."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the table says to a query."""

    rcode: int
    records: tuple[Record, ...] = ()


@dataclass(slots=True)
class _NetworkNames:
    by_name: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    """Name -> container id -> (IPv4, IPv6), without lengths."""
    by_address: dict[str, str] = field(default_factory=dict)
    subnets: dict[str, int] = field(default_factory=dict)
    """Subnet -> how many endpoints lie in it."""


class NameTable:
    """Names by network. Answers depend on who asks: only names on the asker's own networks exist for it."""

    def __init__(self, seed: int | None = None) -> None:
        """``seed`` makes the order of replicas repeatable, for tests."""
        self._containers: dict[str, ContainerNames] = {}
        self._networks: dict[str, _NetworkNames] = {}
        self._random = random.Random(seed)
        self.generation = 0
        """Another one after each change."""
        self.on_change: Callable[[], None] = lambda: None
        """Called after each change."""

    def set(self, container_id: str, names: ContainerNames) -> None:
        """Put a container in, or change what it is called."""
        self._remove(container_id)
        self._containers[container_id] = names
        for endpoint in names.endpoints:
            network = self._networks.setdefault(endpoint.network_id, _NetworkNames())
            addresses = (_bare(endpoint.ipv4), _bare(endpoint.ipv6))
            for name in _all_names(container_id, names, endpoint):
                network.by_name.setdefault(name, {})[container_id] = addresses
            for address in filter(None, addresses):
                network.by_address[address] = f"{names.name}.{endpoint.network}"
            for subnet in _subnets(endpoint):
                network.subnets[subnet] = network.subnets.get(subnet, 0) + 1
        self._tell()

    def _tell(self) -> None:
        self.generation += 1
        self.on_change()

    def shuffled(self, records: tuple[Record, ...]) -> Sequence[Record]:
        """In another order: clients take the first, and all replicas are to have some."""
        if len(records) < 2:
            return records
        return self._random.sample(records, len(records))

    def remove(self, container_id: str) -> None:
        """Take a container out. No error when it is not in."""
        self._remove(container_id)
        self._tell()

    def on_network(self, network_id: str) -> Iterator[tuple[str, ContainerNames, EndpointNames]]:
        """Containers on a network, with their places there."""
        for container_id, names in self._containers.items():
            for endpoint in names.endpoints:
                if endpoint.network_id == network_id:
                    yield container_id, names, endpoint

    def _remove(self, container_id: str) -> None:
        names = self._containers.pop(container_id, None)
        if names is None:
            return
        for endpoint in names.endpoints:
            network = self._networks[endpoint.network_id]
            for name in _all_names(container_id, names, endpoint):
                holders = network.by_name.get(name, {})
                holders.pop(container_id, None)
                if not holders:
                    network.by_name.pop(name, None)
            for address in filter(None, (_bare(endpoint.ipv4), _bare(endpoint.ipv6))):
                network.by_address.pop(address, None)
            for subnet in _subnets(endpoint):
                network.subnets[subnet] -= 1
                if not network.subnets[subnet]:
                    del network.subnets[subnet]
            if not network.by_name:
                del self._networks[endpoint.network_id]

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._containers

    def get(self, container_id: str) -> ContainerNames | None:
        return self._containers.get(container_id)

    def upstreams(self, asker: str) -> tuple[str, ...] | None:
        """Name servers that ``asker`` chose itself; () forbids forwarding, None leaves it to the host's."""
        names = self._containers.get(asker)
        if names is None:
            return None
        return () if names.is_internal else names.dns or None

    def addresses(self, asker: str, name: str) -> tuple[list[str], list[str]] | None:
        """(IPv4, IPv6) addresses of ``name`` for ``asker``, replicas in random order; None if there is no
        such name.

        The first of the asker's networks that knows the name answers for all, as in Docker.
        """
        own = self._containers.get(asker)
        if own is None:
            return None
        if given := own.hosts.get(name):
            return [a for a in given if ":" not in a], [a for a in given if ":" in a]
        if name in HOST_NAMES and (own.gateway4 or own.gateway6):
            return [own.gateway4] if own.gateway4 else [], [own.gateway6] if own.gateway6 else []
        holders = self._holders(own, name)
        if not holders:
            return None
        found = list(holders.values())
        if len(found) > 1:
            self._random.shuffle(found)
        return [four for four, _ in found if four], [six for _, six in found if six]

    def services(self, asker: str, name: str) -> tuple[Record, ...] | None:
        """SRV records for ``_8080._tcp.web`` or, by the name that services(5) has for a port,
        ``_http._tcp.web``: one for each container of the name that exposes the port, in random order. None if
        the name is nobody's."""
        parsed = parse_service(name)
        own = self._containers.get(asker)
        if parsed is None or own is None:
            return None
        service, protocol, host = parsed
        holders = self._holders(own, host)
        if not holders:
            return None
        port = _port_number(service, protocol)
        found = [self._containers[container_id] for container_id in holders]
        self._random.shuffle(found)
        return tuple(service_record(port, one.name) for one in found if (port, protocol) in one.ports)

    def _holders(self, own: ContainerNames, name: str) -> dict[str, tuple[str, str]] | None:
        """Containers that ``own`` knows by ``name``, with their addresses."""
        linked = own.links.get(name)
        for endpoint in own.endpoints:
            network = self._networks.get(endpoint.network_id)
            if network is None:
                continue
            bare = name.removesuffix(f".{endpoint.network.lower()}")
            holders = network.by_name.get(name) or network.by_name.get(bare)
            if linked and linked not in self._containers:
                holders = network.by_name.get(linked) or holders
            elif linked:
                target = self._containers.get(linked)
                there = target and next(
                    (e for e in target.endpoints if e.network_id == endpoint.network_id), None
                )
                if there:
                    holders = {linked: (_bare(there.ipv4), _bare(there.ipv6))}
            if holders:
                return holders
        return None

    def reverse(self, asker: str, address: str) -> str | None:
        """The name of ``address`` for ``asker``: "" when it lies in one of its networks but is nobody's,
        None when it lies elsewhere."""
        own = self._containers.get(asker)
        if own is None:
            return None
        parsed = ipaddress.ip_address(address)
        if given := next((name for name, held in own.hosts.items() if address in held), None):
            return given
        if address in (own.gateway4, own.gateway6):
            return HOST_NAMES[0]
        is_ours = False
        for endpoint in own.endpoints:
            network = self._networks.get(endpoint.network_id, _NetworkNames())
            if name := network.by_address.get(address):
                return name
            is_ours = is_ours or any(parsed in ipaddress.ip_network(subnet) for subnet in network.subnets)
        return "" if is_ours else None

    def answer(self, asker: str, query: Query) -> Answer | None:
        """What ``asker`` gets for ``query``; None when only a name server outside can know.

        A known name exists for every type: asked for what it does not have (AAAA of an IPv4-only container,
        MX ...) the answer is empty, not "no such name", or resolvers would give up on the type that it has.
        """
        if query.class_ not in (CLASS_IN, TYPE_ANY):
            return None
        if query.type == TYPE_PTR:
            address = reverse_address(query.name)
            if address is None:
                return None
            name = self.reverse(asker, address)
            if name is None:
                return None
            if not name:
                return Answer(NXDOMAIN)
            return Answer(NOERROR, (Record(TYPE_PTR, encode_name(name)),))
        if query.type == TYPE_SRV and (services := self.services(asker, query.name)) is not None:
            return Answer(NOERROR if services else NXDOMAIN, services)
        if query.name == "localhost":
            found: tuple[list[str], list[str]] | None = (["127.0.0.1"], ["::1"])
        else:
            found = self.addresses(asker, query.name)
        if found is None:
            return None
        records: list[Record] = []
        if query.type in (TYPE_A, TYPE_ANY):
            records += [Record(TYPE_A, ipaddress.IPv4Address(address).packed) for address in found[0]]
        if query.type in (TYPE_AAAA, TYPE_ANY):
            records += [Record(TYPE_AAAA, ipaddress.IPv6Address(address).packed) for address in found[1]]
        return Answer(NOERROR, tuple(records))


def _all_names(container_id: str, names: ContainerNames, endpoint: EndpointNames) -> list[str]:
    return list({name.lower(): None for name in (names.name, container_id[:12], *endpoint.names) if name})


def _port_number(service: str, protocol: str) -> int:
    """0 for what is no number and no name of a port."""
    if service.isascii() and service.isdecimal():
        return int(service)
    try:
        return socket.getservbyname(service, protocol)
    except OSError:
        return 0


def _bare(prefix: str) -> str:
    return prefix.partition("/")[0]


def _subnets(endpoint: EndpointNames) -> list[str]:
    prefixes = (prefix for prefix in (endpoint.ipv4, endpoint.ipv6) if "/" in prefix)
    return [_subnet(prefix) for prefix in prefixes]


@functools.lru_cache(maxsize=1024)
def _subnet(prefix: str) -> str:
    """The same when an endpoint goes as when it has come."""
    return str(ipaddress.ip_network(prefix, strict=False))
