"""A container's place on its networks while it runs: addresses, published ports, names, and the files that tell them."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from composer.engine.containers import Container, Containers
from composer.engine.model import Endpoint, PublishedPort
from composer.engine.networks import Networks, runtime_endpoint
from composer.engine.volumes import Volumes
from runtime.container.client import KeeperClient, Shim
from runtime.errors import ComposerError
from runtime.kernel import cgroups
from runtime.network import host, ports, sandbox
from runtime.network.firewall import Firewall
from runtime.network.model import Network
from runtime.network.names import hosts_file, resolv_conf
from runtime.network.resolver import NameTable, Resolver
from runtime.network.ruleset import Forward
from runtime.storage.paths import Paths
from runtime.storage.removal import remove_tree

log = logging.getLogger(__name__)


@dataclass
class _Published:
    """What was made for one running container and has to be undone."""

    forwards: tuple[Forward, ...] = ()
    listeners: tuple[ports.Listener, ...] = ()


@dataclass
class Sandboxes:
    """Connects containers when they start and disconnects them when they have ended."""

    containers: Containers
    networks: Networks
    volumes: Volumes
    firewall: Firewall
    names: NameTable
    resolver: Resolver
    paths: Paths
    keeper: KeeperClient
    cgroups: cgroups.Cgroups
    _published: dict[str, _Published] = field(default_factory=dict)

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
        for network, _ in pairs:
            self.networks.ensure(network)
        await self._publish(container)
        self.register(container)
        self._write_files(container)
        return dict(
            sandbox.plan_sandbox(
                container.id,
                [(network, runtime_endpoint(endpoint)) for network, endpoint in pairs],
                sysctls=container.config.sysctls,
            )
        )

    def _pairs(self, container: Container) -> list[tuple[Network, Endpoint]]:
        return [(self.networks.get(e.network_id), e) for e in container.endpoints.values()]

    def register(self, container: Container) -> None:
        """Let others on its networks find the container by its names."""
        self.names.set(
            container.id,
            name=container.name,
            networks={
                endpoint.network_id: (
                    tuple(a for a in (endpoint.ipv4, endpoint.ipv6) if a),
                    endpoint.dns_names,
                )
                for endpoint in container.endpoints.values()
            },
        )

    def _write_files(self, container: Container) -> None:
        """hosts, hostname and resolv.conf, which are mounted into the container."""
        config = container.config
        directory = self.paths.container_run(container.id)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if config.network_mode.startswith("container:"):
            other = self.containers.get(config.network_mode.removeprefix("container:"))
            source = self.paths.container_run(other.id)
            for name in ("hosts", "hostname", "resolv.conf"):
                (directory / name).write_bytes((source / name).read_bytes())
            return
        is_host = config.network_mode == "host"
        hostname = config.hostname or (socket.gethostname() if is_host else container.id[:12])
        addresses = [a for e in container.endpoints.values() for a in (e.ipv4, e.ipv6) if a]
        gateway = self.host_gateway(container)
        full = f"{hostname}.{config.domainname}" if config.domainname else hostname
        (directory / "hostname").write_text(f"{hostname}\n")
        (directory / "hosts").write_text(
            hosts_file(
                hostname=full,
                addresses=addresses,
                extra_hosts=config.extra_hosts,
                host_gateway=gateway,
                host_file=(host.read_hosts() if is_host else ""),
            )
        )
        (directory / "resolv.conf").write_text(
            resolv_conf(
                host_text=host.read_resolv_conf(),
                is_embedded=bool(container.endpoints),
                servers=config.dns,
                search=config.dns_search,
                options=config.dns_opt,
            )
        )

    def host_gateway(self, container: Container) -> str:
        """The address under which a container reaches its host."""
        gateways = [e.gateway for e in container.endpoints.values() if e.gateway]
        return gateways[0] if gateways else "127.0.0.1"

    # Ports

    async def _publish(self, container: Container) -> None:
        """Reserve and forward the container's ports. Raises Conflict naming who holds one."""
        bindings = self._bindings(container)
        if not bindings or container.id in self._published:
            return
        target = self._port_target(container)
        if target is None:
            return
        network, endpoint = target
        reserved = ports.reserve(
            bindings, default_host_ip=network.host_binding, owner_of=self._owner_of, keep=self._kept(container)
        )
        listeners = tuple(listener for port in reserved for listener in port.listeners)
        forwards = tuple(
            forward for port in reserved for forward in port.forwards(endpoint.ipv4, endpoint.ipv6)
        )
        try:
            self.firewall.publish(forwards)
        except BaseException:
            for listener in listeners:
                listener.close()
            raise
        self._published[container.id] = _Published(forwards, listeners)
        container.update(
            ports=tuple(
                PublishedPort(
                    container_port=port.container_port, protocol=port.protocol, host_ip=host_ip, host_port=port.host_port
                )
                for port in reserved
                for host_ip in port.host_ips
            )
        )
        await self.keeper.store(f"ports/{container.id}", [listener.fileno() for listener in listeners])

    def _bindings(self, container: Container) -> Sequence[ports.PortBinding]:
        asked = list(container.config.ports)
        if container.config.publish_all:
            taken = {(p.container_port, p.protocol) for p in asked}
            asked += [
                ports.PortBinding(container_port=number, protocol=protocol)  # type: ignore[arg-type]
                for number, protocol in container.exposed_ports
                if (number, protocol) not in taken
            ]
        return asked

    def _kept(self, container: Container) -> dict[tuple[int, str, str], int]:
        """Ephemeral ports that the container had before: asked for again, so that they stay the same."""
        return {(p.container_port, p.protocol, p.host_ip): p.host_port for p in container.ports}

    def _port_target(self, container: Container) -> tuple[Network, Endpoint] | None:
        """The endpoint that published ports lead to: that of the default route, on a network that is not internal."""
        pairs = [(n, e) for n, e in self._pairs(container) if not n.internal and e.ipv4]
        if not pairs:
            return None
        return min(pairs, key=lambda pair: (-pair[1].gw_priority, pair[0].name))

    def _owner_of(self, protocol: str, host_ip: str, port: int) -> str:
        """Which container of ours holds a port of the host: for error messages. "" if none does."""
        for container in self.containers.all():
            if not container.state.is_alive:
                continue
            for published in container.ports:
                if (published.protocol, published.host_port) == (protocol, port):
                    project = container.config.labels.get("com.docker.compose.project")
                    return f"container {container.name}" + (f" of project {project}" if project else "")
        return ""

    # While it runs

    async def serve(self, container: Container, shim: Shim) -> None:
        """Answer the container's questions for names, and carry connections that the kernel does not, until
        cancelled."""
        udp, tcp = shim.take("udp"), shim.take("tcp")
        published = self._published.get(container.id)
        async with trio.open_nursery() as nursery:
            if udp is not None and tcp is not None:
                nursery.start_soon(self._serve_names, container, udp, tcp)
            if published is not None:
                target = self._port_target(container)
                for listener in published.listeners:
                    if target is not None:
                        nursery.start_soon(ports.serve_listener, listener, target[1].ipv4)
            await trio.sleep_forever()

    async def _serve_names(self, container: Container, udp: int, tcp: int) -> None:
        await self.resolver.serve(
            container.id,
            udp,
            tcp,
            upstreams=container.config.dns,
            gateway=self.host_gateway(container),
        )

    async def adopt(self, container: Container) -> tuple[Forward, ...]:
        """Take up the ports of a container that ran on while there was no engine: its forwards."""
        self.register(container)
        target = self._port_target(container)
        if target is None or not container.ports:
            return ()
        fds = await self.keeper.fetch(f"ports/{container.id}")
        listeners = tuple(ports.Listener.adopt(fd) for fd in fds)
        forwards = tuple(
            forward
            for port in container.ports
            for forward in ports.forwards_of(
                port.protocol, port.host_ip, port.host_port, port.container_port, target[1].ipv4, target[1].ipv6
            )
        )
        self._published[container.id] = _Published(forwards, listeners)
        return forwards

    # After the end

    async def release(self, container: Container) -> None:
        """Undo what a start made. Repeating it is harmless."""
        self.names.remove(container.id)
        published = self._published.pop(container.id, None)
        if published is not None:
            try:
                self.firewall.unpublish(published.forwards)
            except ComposerError as error:
                log.warning("container %s: %s", container.name, error)
            for listener in published.listeners:
                listener.close()
            await self.keeper.drop(f"ports/{container.id}")

    async def clean(self, container: Container) -> None:
        """Remove the container's files and what may be left of its cgroup."""
        self.cgroups.remove(container.id)
        for directory in (self.paths.container_run(container.id), self.paths.container(container.id)):
            remove_tree(directory)
        await trio.lowlevel.checkpoint()

    # Running containers

    async def connect(self, container: Container, network: Network, endpoint: Endpoint) -> None:
        """Give a running container an interface on another network."""
        self.networks.ensure(network)
        self.register(container)
        assert container.shim is not None
        netns = os.open(f"/proc/{container.shim.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            await trio.to_thread.run_sync(
                sandbox.connect, container.id, network, runtime_endpoint(endpoint), netns
            )
        finally:
            os.close(netns)

    async def disconnect(self, container: Container, network: Network) -> None:
        """Take a running container off a network."""
        await trio.to_thread.run_sync(sandbox.detach, sandbox.host_interface(container.id, network.id))
        self.register(container)
