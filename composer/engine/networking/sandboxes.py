"""A container's place on its networks while it runs: addresses, published ports, names, and the files about them."""

from __future__ import annotations

import itertools
import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from composer.engine.cleaning import Cleaning
from composer.engine.containers import Container, Containers
from composer.engine.model import Endpoint
from composer.engine.networking.endpoints import runtime_endpoint
from composer.engine.networking.left_interfaces import LeftInterfaces
from composer.engine.networking.networks import Networks
from composer.engine.networking.publishing import Publishing
from runtime.container.shim_client import Shim, ShimGone
from runtime.crash_points import crash_point
from runtime.errors import ComposerError
from runtime.kernel.cgroups import Cgroups
from runtime.network import host, sandbox
from runtime.network.connect import (
    connect_endpoint,
    disconnect_endpoint,
    in_network_namespace,
    interface_names,
)
from runtime.network.files import hosts_file, resolv_conf, resolve_extra_hosts
from runtime.network.model import Endpoint as RuntimeEndpoint
from runtime.network.model import Network
from runtime.network.names import ContainerNames, EndpointNames, NameTable
from runtime.network.resolver import Resolver
from runtime.storage.paths import Paths
from runtime.storage.removal import remove_tree

log = logging.getLogger(__name__)

Pair = tuple[Network, Endpoint]
Result = TypeVar("Result")


@dataclass
class Sandboxes:
    """Connects containers when they start and disconnects them when they have ended."""

    containers: Containers
    networks: Networks
    names: NameTable
    resolver: Resolver
    paths: Paths
    publishing: Publishing
    cgroups: Cgroups
    left: LeftInterfaces

    def __post_init__(self) -> None:
        self._cleaning = Cleaning(self._clean)

    # Before a start

    async def prepare(self, container: Container) -> dict[str, Any]:
        """Have networks, ports and files ready; the plan of the container's network namespace."""
        mode = container.config.network_mode
        if mode in ("host", "none") or mode.startswith("container:"):
            self._write_files(container)
            kind = "container" if mode.startswith("container:") else mode
            return dict(sandbox.plan_sandbox(container.id, mode=kind, sysctls=container.config.sysctls))
        self.networks.refresh_endpoints(container)
        pairs = self.networks.pairs(container)
        await self.publishing.publish(container)
        self.register(container)
        self._write_files(container)
        crash_point("core.start.connected")
        return dict(
            sandbox.plan_sandbox(container.id, _runtime_pairs(pairs), sysctls=container.config.sysctls)
        )

    def register(self, container: Container) -> None:
        """Let others on its networks find the container by its names."""
        pairs = self.networks.pairs(container)
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
        asked = [endpoint.asked.links for endpoint in container.endpoints.values() if endpoint.asked]
        for link in (*container.config.links, *itertools.chain(*asked)):
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
        gateways = ["127.0.0.1"] if is_host else self._host_addresses(self.networks.pairs(container))
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
            has_resolver=bool(container.endpoints)
            and (container.shim is None or container.shim.has_resolver.is_set()),
            dns=config.dns,
            search=config.dns_search,
            options=config.dns_opt,
        )
        _write(directory / "hostname", f"{hostname}\n".encode())
        _write(directory / "hosts", hosts.encode())
        _write(directory / "resolv.conf", resolv.encode())

    # While it runs

    async def serve(self, container: Container, shim: Shim) -> None:
        """Answer the container's questions for names, and carry connections that the kernel does not, until
        cancelled, or there is nothing more to do."""
        if not self.publishing.is_asked(container):
            # Without a nursery: each task more is one more to be ended with the container.
            await self._serve_names(container, shim)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_names, container, shim)
            nursery.start_soon(self.publishing.serve, container)

    async def _serve_names(self, container: Container, shim: Shim) -> None:
        """From its start, or, of a container that began without networks, when it has joined the first."""
        await shim.has_resolver.wait()
        udp, tcp = shim.take("udp"), shim.take("tcp")
        if udp is not None and tcp is not None:
            await self.resolver.serve(container.id, udp, tcp)

    # After the end

    async def release(self, container: Container) -> None:
        """Undo what a start made. Repeating it is harmless."""
        self.names.remove(container.id)
        self.left.note(container)
        if container.record.joining or container.record.leaving:
            container.update(joining=(), leaving={})  # interfaces have ended with the namespace
        await self.publishing.release(container)
        await self.resolver.clients.release(container.id)

    async def clean(self, container: Container) -> None:
        """Remove the container's files and what may be left of its cgroup. In a thread: taking a directory off a disk
        that is told what is free (mount option ``discard``) waits for the disk."""
        await self._cleaning.remove(container.id)

    def _clean(self, container_id: str) -> None:
        self.cgroups.remove(container_id)
        for directory in (self.paths.container_run(container_id), self.paths.container(container_id)):
            remove_tree(directory)

    # Running containers

    async def connect(self, container: Container, network: Network, endpoint: Endpoint) -> None:
        """Give a running container an interface on another network, and what was published a way to it."""
        gateways = self._gateways(self.networks.pairs(container))

        def act(netns: int) -> None:
            name = endpoint.interface_name or sandbox.next_interface_name(
                interface_names(netns), network.interface_prefix
            )
            plan = sandbox.plan_endpoint(container.id, network, runtime_endpoint(endpoint), name, [])
            connect_endpoint(netns, plan, gateways)

        await self._in_namespace(container, act)
        crash_point("core.connect.attached")
        try:
            await self._open_resolver(container)
            await self.publishing.publish(container)
            await self._refresh(container)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._detach(container, endpoint)
            raise
        crash_point("core.connect.followed")

    async def _open_resolver(self, container: Container) -> None:
        """Names are asked for in every container that is on a network, also in one that began without."""
        shim = container.shim
        if shim is None or shim.has_resolver.is_set():
            return
        inside = partial(in_network_namespace, function=partial(sandbox.open_resolver, again=True))
        udp, tcp = await self._in_namespace(container, inside)
        crash_point("core.connect-first.opened")
        try:
            await shim.keep({"udp": udp, "tcp": tcp})
            crash_point("core.connect-first.kept")
        except ComposerError as error:
            os.close(udp)
            os.close(tcp)
            if isinstance(error, ShimGone):
                raise
            log.warning("container %s has no names before its next start: %s", container.name, error)

    async def disconnect(self, container: Container, endpoint: Endpoint) -> None:
        """Take a running container, whose record has the endpoint no more, off its network."""
        await self._detach(container, endpoint)
        crash_point("core.disconnect.detached")
        await self._refresh(container)

    async def settle(self, container: Container) -> None:
        """Finish what a killed engine has begun: a running container gets the interfaces that its record speaks of, and
        no others."""
        for endpoint in container.record.leaving.values():
            await self._detach(container, endpoint)
        for name in container.record.joining:
            endpoint, network = container.endpoints[name], self.networks.find(name)
            await self._detach(container, endpoint)
            try:
                if network is None:
                    raise ComposerError(f"network {name} is gone")
                await self.connect(container, network, endpoint)
            except ComposerError as error:
                log.warning("container %s is not connected to network %s: %s", container.name, name, error)
                container.update(endpoints={n: e for n, e in container.endpoints.items() if n != name})
        await self._refresh(container)
        container.update(joining=(), leaving={})

    async def _detach(self, container: Container, endpoint: Endpoint) -> None:
        gateways = self._gateways(
            [pair for pair in self.networks.pairs(container) if pair[0].id != endpoint.network_id]
        )
        link = sandbox.host_interface(container.id, endpoint.network_id)
        await self._in_namespace(container, partial(_disconnect, link=link, gateways=gateways))

    async def _refresh(self, container: Container) -> None:
        """After its networks have changed: names, files and the targets of its ports."""
        self.register(container)
        self._write_files(container)
        await self.publishing.redirect(container)

    async def _in_namespace(self, container: Container, action: Callable[[int], Result]) -> Result:
        assert container.shim is not None
        netns = os.open(f"/proc/{container.shim.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return await trio.to_thread.run_sync(action, netns)
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


def _host_hosts() -> str:
    try:
        return Path("/etc/hosts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "127.0.0.1\tlocalhost\n"


def _write(path: Path, content: bytes) -> None:
    """In place: the file may be mounted in a running container already."""
    with open(path, "wb") as file:
        file.write(content)
