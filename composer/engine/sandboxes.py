"""A container's place on its networks while it runs: addresses, published ports, names, and the files about them."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio
from msgspec import to_builtins

from composer.engine.containers import Container, Containers
from composer.engine.model import Endpoint, PublishedPort
from composer.engine.networks import Networks, runtime_endpoint
from runtime.container.client import KeeperClient
from runtime.container.config import PortBinding
from runtime.container.shim_client import Shim
from runtime.errors import ComposerError, InvalidArgument, concerning
from runtime.kernel.cgroups import Cgroups
from runtime.network import host, ports, sandbox
from runtime.network.connect import connect_endpoint, disconnect_endpoint, interface_names
from runtime.network.connections import StaleConnections
from runtime.network.files import hosts_file, resolv_conf, resolve_extra_hosts
from runtime.network.firewall import Firewall
from runtime.network.model import Endpoint as RuntimeEndpoint
from runtime.network.model import Network
from runtime.network.names import ContainerNames, EndpointNames, NameTable
from runtime.network.proxy import serve_listener
from runtime.network.resolver import Resolver
from runtime.network.ruleset import Forward
from runtime.storage.paths import Paths
from runtime.storage.removal import remove_tree

log = logging.getLogger(__name__)

PORTS_IN_A_MESSAGE = 100
"""Sockets that go to the keeper at once (the kernel takes at most 253 descriptors in a message)."""

Pair = tuple[Network, Endpoint]


@dataclass
class _Published:
    """What was made for one running container and has to be undone."""

    forwards: tuple[Forward, ...] = ()
    reservations: tuple[ports.Reservation, ...] = ()


@dataclass
class Sandboxes:
    """Connects containers when they start and disconnects them when they have ended."""

    containers: Containers
    networks: Networks
    firewall: Firewall
    names: NameTable
    resolver: Resolver
    paths: Paths
    keeper: KeeperClient
    cgroups: Cgroups
    _published: dict[str, _Published] = field(default_factory=dict)
    _awaited: dict[str, trio.Event] = field(default_factory=dict)
    _stale: StaleConnections = field(default_factory=StaleConnections)

    # Before a start

    async def prepare(self, container: Container) -> dict[str, Any]:
        """Have networks, ports and files ready; the plan of the container's network namespace."""
        mode = container.config.network_mode
        if mode in ("host", "none") or mode.startswith("container:"):
            self._write_files(container)
            kind = "container" if mode.startswith("container:") else mode
            return dict(sandbox.plan_sandbox(container.id, mode=kind, sysctls=container.config.sysctls))
        self.networks.refresh_endpoints(container)
        pairs = self._pairs(container)
        await self._publish(container)
        self.register(container)
        self._write_files(container)
        return dict(
            sandbox.plan_sandbox(container.id, _runtime_pairs(pairs), sysctls=container.config.sysctls)
        )

    def _pairs(self, container: Container) -> list[Pair]:
        return [(self.networks.get(e.network_id), e) for e in container.endpoints.values()]

    def register(self, container: Container) -> None:
        """Let others on its networks find the container by its names."""
        pairs = self._pairs(container)
        gateways = self._host_addresses(pairs)
        config = container.config
        self.names.set(
            container.id,
            ContainerNames(
                name=container.name,
                endpoints=tuple(
                    EndpointNames(
                        network_id=network.id,
                        network=network.name,
                        ipv4=_prefix(endpoint.ipv4, endpoint.prefix),
                        ipv6=_prefix(endpoint.ipv6, endpoint.prefix6),
                        names=endpoint.dns_names,
                    )
                    for network, endpoint in pairs
                ),
                links=self._links(container),
                hosts=_hosts(config.extra_hosts, gateways),
                gateway4=next((g for g in gateways if ":" not in g), ""),
                gateway6=next((g for g in gateways if ":" in g), ""),
                ports=tuple(
                    dict.fromkeys(
                        [*container.exposed_ports, *((p.container_port, p.protocol) for p in config.ports)]
                    )
                ),
                dns=config.dns,
                is_internal=bool(pairs) and all(network.internal for network, _ in pairs),
            ),
        )

    def _links(self, container: Container) -> dict[str, str]:
        """``links`` and ``external_links``: the name inside -> id of the container that it means, else the name of
        the service."""
        found: dict[str, str] = {}
        for link in container.config.links:
            ref, _, alias = link.partition(":")
            other = self.containers.find_name(ref.removeprefix("/"))
            found[(alias or ref).lower()] = ref.lower() if other is None else other.id
        return found

    def _host_addresses(self, pairs: Sequence[Pair]) -> list[str]:
        """The addresses under which a container on these networks reaches its host."""
        return self._gateways([pair for pair in pairs if not pair[0].is_direct])

    def _gateways(self, pairs: Sequence[Pair]) -> list[str]:
        """Next hops of the default routes of a container on these networks."""
        return [gateway for _, gateway in sandbox.default_gateways(_runtime_pairs(pairs))]

    def _write_files(self, container: Container) -> None:
        """hosts, hostname and resolv.conf, which are mounted into the container."""
        config = container.config
        directory = self.paths.container_run(container.id)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if config.network_mode.startswith("container:"):
            other = self.containers.get(config.network_mode.removeprefix("container:"))
            source = self.paths.container_run(other.id)
            for name in ("hosts", "hostname", "resolv.conf"):
                _write(directory / name, (source / name).read_bytes())
            return
        is_host = config.network_mode == "host"
        hostname = config.hostname or (socket.gethostname() if is_host else container.id[:12])
        gateways = ["127.0.0.1"] if is_host else self._host_addresses(self._pairs(container))
        hosts = hosts_file(
            "" if is_host else hostname,
            domainname=config.domainname,
            addresses=[a for e in container.endpoints.values() for a in (e.ipv4, e.ipv6) if a],
            extra_hosts=config.extra_hosts,
            gateways=gateways,
        )
        if is_host:
            hosts = _host_hosts() + hosts.partition("ip6-allrouters\n")[2]
        resolv = resolv_conf(
            host.read_resolv_conf(),
            has_resolver=bool(container.endpoints),
            dns=config.dns,
            search=config.dns_search,
            options=config.dns_opt,
        )
        _write(directory / "hostname", f"{hostname}\n".encode())
        _write(directory / "hosts", hosts.encode())
        _write(directory / "resolv.conf", resolv.encode())

    # Ports

    async def _publish(self, container: Container) -> None:
        """Reserve and forward the container's ports. Raises Conflict naming who holds one."""
        bindings = self._bindings(container)
        if not bindings or container.id in self._published:
            return
        target = self._port_target(container)
        if target is None:
            if direct := [network.name for network, _ in self._pairs(container) if network.is_direct]:
                raise InvalidArgument(
                    f"container {container.name}: ports cannot be published on network {direct[0]}, whose "
                    "containers have addresses beside the host's",
                    hint="take ports away, or connect it to a bridge network too",
                )
            return
        network, _ = target
        with concerning("ports"):
            reserved = ports.reserve_ports(
                bindings,
                default_host_ip=network.host_binding,
                families=[family for family in (4, 6) if network.gateway_mode(family) != "routed"],
                owner=self._owner_of,
            )
        forwards = self._forwards(container, reserved, target)
        try:
            self.firewall.publish(forwards)
        except BaseException:
            ports.release(reserved)
            raise
        self._published[container.id] = _Published(forwards, tuple(reserved))
        if (awaited := self._awaited.pop(container.id, None)) is not None:
            awaited.set()
        container.update(ports=tuple(_published_port(r.port) for r in reserved))
        await self._stale.forget(made=forwards)
        await self._store(container.id)

    def _forwards(
        self,
        container: Container,
        reservations: Iterable[ports.Reservation],
        target: tuple[Network, RuntimeEndpoint] | None,
    ) -> tuple[Forward, ...]:
        """What the firewall is to send, and let through, to a container that is reached at ``target``."""
        if target is None:
            return ()
        network, endpoint = target
        forwards = ports.plan_forwards((r.port for r in reservations), endpoint)
        return (*forwards, *ports.plan_openings(self._bindings(container), network, endpoint))

    async def _store(self, container_id: str) -> None:
        """Give the keeper the sockets that hold the ports, for a core to come."""
        held = [r.socket.fileno() for r in self._published[container_id].reservations if r.socket is not None]
        for number, start in enumerate(range(0, len(held), PORTS_IN_A_MESSAGE)):
            await self.keeper.store(
                f"ports/{container_id}/{number}", held[start : start + PORTS_IN_A_MESSAGE]
            )

    async def _drop(self, container_id: str, published: _Published) -> None:
        for number in range(-(-len(published.reservations) // PORTS_IN_A_MESSAGE)):
            await self.keeper.drop(f"ports/{container_id}/{number}")

    async def store_again(self) -> None:
        """A new keeper holds nothing: give it all ports."""
        for container_id in list(self._published):
            await self._store(container_id)

    def _bindings(self, container: Container) -> Sequence[PortBinding]:
        asked = list(container.config.ports)
        if container.config.publish_all:
            taken = {(p.container_port, p.protocol) for p in asked}
            asked += [
                PortBinding(container_port=number, protocol=protocol)  # type: ignore[arg-type]
                for number, protocol in container.exposed_ports
                if (number, protocol) not in taken
            ]
        return asked

    def _port_target(self, container: Container) -> tuple[Network, RuntimeEndpoint] | None:
        """The endpoint that published ports lead to: that of the default route, on a network that is not
        internal."""
        pairs = [(n, e) for n, e in self._pairs(container) if not (n.internal or n.is_direct)]
        if not pairs:
            return None
        network, endpoint = min(pairs, key=lambda pair: (-pair[1].gw_priority, pair[0].name))
        return network, runtime_endpoint(endpoint)

    def _owner_of(self, protocol: str, host_ip: str, port: int, pid: int) -> str:
        """Which container of ours has published a port of the host or, given ``pid``, has that process: for error
        messages. "" if none does."""
        cgroups = _read_cgroups(pid) if pid else ""
        for container in self.containers.all():
            if not container.state.is_alive:
                continue
            has_it = (
                container.id in cgroups
                if pid
                else any((p.protocol, p.host_port) == (protocol, port) for p in container.ports)
            )
            if has_it:
                project = container.config.labels.get("com.docker.compose.project")
                return f"container {container.name}" + (f" of project {project}" if project else "")
        return ""

    # While it runs

    async def serve(self, container: Container, shim: Shim) -> None:
        """Answer the container's questions for names, and carry connections that the kernel does not, until
        cancelled."""
        udp, tcp = shim.take("udp"), shim.take("tcp")
        async with trio.open_nursery() as nursery:
            if udp is not None and tcp is not None:
                nursery.start_soon(self.resolver.serve, container.id, udp, tcp)
            for port, held in (await self._wait_published(container.id)).reservations:
                if held is not None:
                    nursery.start_soon(
                        serve_listener, held.dup(), partial(self._proxy_target, container, port)
                    )
            await trio.sleep_forever()

    async def _wait_published(self, container_id: str) -> _Published:
        """What the container has published: at its start, or when it first is on a network that is not internal."""
        while container_id not in self._published:
            self._awaited[container_id] = trio.Event()
            await self._awaited[container_id].wait()
        return self._published[container_id]

    def _proxy_target(self, container: Container, port: ports.PublishedPort) -> tuple[str, int] | None:
        target = self._port_target(container)
        return ports.proxy_target(port, target[1]) if target else None

    async def _redirect(self, container: Container) -> None:
        """Networks have come or gone: published ports lead to where the container can be reached now."""
        published = self._published.get(container.id)
        if published is None:
            return
        forwards = self._forwards(container, published.reservations, self._port_target(container))
        gone = set(published.forwards) - set(forwards)
        self.firewall.publish(forwards)
        self.firewall.unpublish(gone)
        published.forwards = forwards
        await self._stale.forget(gone=gone, made=forwards)

    async def adopt(self, container: Container) -> tuple[Forward, ...]:
        """Take up the ports of a container that ran on while there was no engine: its forwards."""
        self.register(container)
        target = self._port_target(container)
        if target is None or not (container.ports or self._bindings(container)):
            return ()
        fds: list[int] = []
        for number in range(-(-len(container.ports) // PORTS_IN_A_MESSAGE)):
            fds += await self.keeper.fetch(f"ports/{container.id}/{number}")
        held = {_name_of(one): one for one in map(_socket_of, fds)}
        reservations: list[ports.Reservation] = []
        for published in container.ports:
            port = _runtime_port(published)
            one = held.pop((port.protocol, port.host_ip, port.host_port), None)
            if one is None:
                try:
                    one = ports.bind_socket(port.protocol, port.host_ip, port.host_port)
                except ComposerError as error:
                    log.warning(
                        "container %s: its published port %s is lost: %s", container.name, port, error
                    )
                    continue
            reservations.append(ports.Reservation(port, one))
        for one in held.values():
            one.close()
        forwards = self._forwards(container, reservations, target)
        self._published[container.id] = _Published(forwards, tuple(reservations))
        return forwards

    async def drop_stale(self) -> None:
        """Let go of ports that the keeper holds for containers that ended while there was no engine."""
        for name in await self.keeper.names():
            if name.startswith("ports/") and name.split("/")[1] not in self._published:
                await self.keeper.drop(name)

    # After the end

    async def release(self, container: Container) -> None:
        """Undo what a start made. Repeating it is harmless."""
        self.names.remove(container.id)
        self._awaited.pop(container.id, None)
        published = self._published.pop(container.id, None)
        if published is not None:
            try:
                self.firewall.unpublish(published.forwards)
            except ComposerError as error:
                log.warning("container %s: %s", container.name, error)
            ports.release(published.reservations)
            await self._drop(container.id, published)
            await self._stale.forget(gone=published.forwards)

    async def clean(self, container: Container) -> None:
        """Remove the container's files and what may be left of its cgroup."""
        self.cgroups.remove(container.id)
        for directory in (self.paths.container_run(container.id), self.paths.container(container.id)):
            remove_tree(directory)
        await trio.lowlevel.checkpoint()

    # Running containers

    async def connect(self, container: Container, network: Network, endpoint: Endpoint) -> None:
        """Give a running container an interface on another network, and what was published a way to it."""
        gateways = self._gateways(self._pairs(container))

        def act(netns: int) -> None:
            name = endpoint.interface_name or sandbox.next_interface_name(
                interface_names(netns), network.interface_prefix
            )
            plan = sandbox.plan_endpoint(container.id, network, runtime_endpoint(endpoint), name, [])
            connect_endpoint(netns, plan, gateways)

        await self._in_namespace(container, act)
        try:
            await self._publish(container)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._detach(container, network)
            raise
        await self._refresh(container)

    async def disconnect(self, container: Container, network: Network) -> None:
        """Take a running container, whose record has the network no more, off it."""
        await self._detach(container, network)
        await self._refresh(container)

    async def _detach(self, container: Container, network: Network) -> None:
        gateways = self._gateways([pair for pair in self._pairs(container) if pair[0].id != network.id])
        link = sandbox.host_interface(container.id, network.id)
        await self._in_namespace(container, partial(_disconnect, link=link, gateways=gateways))

    async def _refresh(self, container: Container) -> None:
        """After its networks have changed: names, files and the targets of its ports."""
        self.register(container)
        self._write_files(container)
        await self._redirect(container)

    async def _in_namespace(self, container: Container, action: Any) -> None:
        assert container.shim is not None
        netns = os.open(f"/proc/{container.shim.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            await trio.to_thread.run_sync(action, netns)
        except OSError as error:
            raise ComposerError(f"container {container.name}: network: {error.strerror or error}") from error
        finally:
            os.close(netns)


def _hosts(extra_hosts: Iterable[str], gateways: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, addresses in resolve_extra_hosts(extra_hosts, gateways):
        found[name.lower()] = (*found.get(name.lower(), ()), *addresses)
    return found


def _disconnect(netns: int, *, link: str, gateways: Sequence[str]) -> None:
    disconnect_endpoint(netns, link, gateways)


def _runtime_pairs(pairs: Sequence[Pair]) -> list[tuple[Network, RuntimeEndpoint]]:
    return [(network, runtime_endpoint(endpoint)) for network, endpoint in pairs]


def _prefix(address: str, length: int) -> str:
    return f"{address}/{length}" if address else ""


def _published_port(port: ports.PublishedPort) -> PublishedPort:
    return PublishedPort(**to_builtins(port))


def _runtime_port(port: PublishedPort) -> ports.PublishedPort:
    return ports.PublishedPort(**to_builtins(port))


def _socket_of(fd: int) -> socket.socket:
    return socket.socket(fileno=fd)


def _name_of(one: socket.socket) -> tuple[str, str, int]:
    """(protocol, address, port) that a socket holds."""
    address, port = one.getsockname()[:2]
    if one.type == socket.SOCK_DGRAM:
        return "udp", address, port
    return ("sctp" if one.proto == ports.IPPROTO_SCTP else "tcp"), address, port


def _host_hosts() -> str:
    try:
        return Path("/etc/hosts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "127.0.0.1\tlocalhost\n"


def _read_cgroups(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _write(path: Path, content: bytes) -> None:
    """In place: the file may be mounted in a running container already."""
    with open(path, "wb") as file:
        file.write(content)
