"""Ports that running containers have published: reserved, forwarded, kept by the keeper for a core to come."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio
from msgspec import to_builtins

from composer.engine.containers import Container, Containers
from composer.engine.model import PublishedPort
from composer.engine.networking.endpoints import runtime_endpoint
from composer.engine.networking.networks import Networks
from runtime.container.client import KeeperClient
from runtime.container.config import PortBinding
from runtime.crash_points import crash_point
from runtime.errors import ComposerError, InvalidArgument
from runtime.kernel.sockets import close_all
from runtime.network import ports
from runtime.network.connections import StaleConnections
from runtime.network.firewall import Firewall
from runtime.network.model import Endpoint as RuntimeEndpoint
from runtime.network.model import Network
from runtime.network.proxy import serve_listener
from runtime.network.ruleset import Forward

log = logging.getLogger(__name__)

PORTS_IN_A_MESSAGE = 100
"""Sockets that go to the keeper at once (the kernel takes at most 253 descriptors in a message)."""


@dataclass
class _Published:
    """What was made for one running container and has to be undone."""

    forwards: tuple[Forward, ...] = ()
    reservations: tuple[ports.Reservation, ...] = ()


@dataclass
class Publishing:
    """The published ports of one engine's containers."""

    containers: Containers
    networks: Networks
    firewall: Firewall
    keeper: KeeperClient
    _published: dict[str, _Published] = field(default_factory=dict)
    _awaited: dict[str, trio.Event] = field(default_factory=dict)
    _freeing: dict[str, trio.Event] = field(default_factory=dict)
    """Of containers whose ports are given up here, but not yet by the keeper."""
    _stale: StaleConnections = field(default_factory=StaleConnections)

    async def publish(self, container: Container) -> None:
        """Reserve and forward the container's ports. Raises Conflict naming who holds one."""
        bindings = self._bindings(container)
        if not bindings or container.id in self._published:
            return
        while self._freeing:
            # What the keeper still holds nobody can have: it may be a port of the container that this one replaces.
            await next(iter(self._freeing.values())).wait()
        target = self._port_target(container)
        if target is None:
            if direct := [network.name for network, _ in self.networks.pairs(container) if network.is_direct]:
                raise InvalidArgument(
                    f"container {container.name}: ports cannot be published on network {direct[0]}, whose "
                    "containers have addresses beside the host's",
                    hint="take ports away, or connect it to a bridge network too",
                )
            return
        network, _ = target
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
        crash_point("core.start.reserved")
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

    async def _store(self, container_id: str, *, is_patient: bool = True) -> None:
        """Give the keeper the sockets that hold the ports, for a core to come. Unless ``is_patient``, raises KeeperGone
        rather than wait for the next keeper."""
        published = self._published[container_id]
        # Duplicates: the container may end, and its ports be released, while the keeper is being asked.
        held = [os.dup(r.socket.fileno()) for r in published.reservations]
        try:
            for number, start in enumerate(range(0, len(held), PORTS_IN_A_MESSAGE)):
                some = held[start : start + PORTS_IN_A_MESSAGE]
                await self.keeper.store(f"ports/{container_id}/{number}", some, is_patient=is_patient)
        finally:
            close_all(held)
        if container_id not in self._published:
            await self._drop(container_id, published)

    async def _drop(self, container_id: str, published: _Published) -> None:
        for number in range(-(-len(published.reservations) // PORTS_IN_A_MESSAGE)):
            await self.keeper.drop(f"ports/{container_id}/{number}")

    async def store_again(self) -> None:
        """A new keeper holds nothing: give it all ports. Raises KeeperGone when it is killed, too."""
        for container_id in list(self._published):
            if container_id in self._published:
                await self._store(container_id, is_patient=False)

    def is_asked(self, container: Container) -> bool:
        """Whether the container has ports to be published at all, on whichever network."""
        return bool(container.ports or self._bindings(container))

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
        pairs = [(n, e) for n, e in self.networks.pairs(container) if not (n.internal or n.is_direct)]
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

    async def _wait_for(self, container_id: str) -> _Published:
        """What the container has published: at its start, or when it first is on a network that is not internal."""
        while container_id not in self._published:
            self._awaited[container_id] = trio.Event()
            await self._awaited[container_id].wait()
        return self._published[container_id]

    def _proxy_target(self, container: Container, port: ports.PublishedPort) -> tuple[str, int] | None:
        target = self._port_target(container)
        return ports.proxy_target(port, target[1]) if target else None

    async def redirect(self, container: Container) -> None:
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
        target = self._port_target(container)
        if target is None or not (container.ports or self._bindings(container)):
            return ()
        if container.record.joining and not container.ports:
            return ()  # they are published when it has joined
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

    async def serve(self, container: Container) -> None:
        """Carry the connections that the kernel does not, until cancelled."""
        async with trio.open_nursery() as nursery:
            for port, held in (await self._wait_for(container.id)).reservations:
                if held is not None:
                    nursery.start_soon(
                        serve_listener, held.dup(), partial(self._proxy_target, container, port)
                    )

    async def release(self, container: Container) -> None:
        """Give a container's ports up: when this returns, others can have them. Repeating it is harmless."""
        self._awaited.pop(container.id, None)
        published = self._published.pop(container.id, None)
        if published is None:
            if (freed := self._freeing.get(container.id)) is not None:
                await freed.wait()
            return
        freed = self._freeing[container.id] = trio.Event()
        try:
            try:
                self.firewall.unpublish(published.forwards)
            except ComposerError as error:
                log.warning("container %s: %s", container.name, error)
            ports.release(published.reservations)
            await self._drop(container.id, published)
        finally:
            del self._freeing[container.id]
            freed.set()
        await self._stale.forget(gone=published.forwards)


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


def _read_cgroups(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
