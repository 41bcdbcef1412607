"""Networks: records, address leases, bridges and who is connected."""

from __future__ import annotations

import builtins
import logging
import random
import secrets
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import trio
from msgspec.structs import replace

from composer.engine.containers import Container, Containers
from composer.engine.events import Events
from composer.engine.model import Endpoint, NetworkAttachment
from composer.engine.networking import network_settings
from composer.engine.networking.address_book import AddressBook
from composer.engine.networking.endpoints import leased_endpoint, running_ports, runtime_endpoint, wish_of
from composer.engine.records import Records
from runtime.container.config import ContainerConfig, EndpointConfig
from runtime.crash_points import crash_point
from runtime.errors import ComposerError, Conflict, InvalidArgument, NotFound, concerning
from runtime.network import bridge, ipam, overlay
from runtime.network.bridge_removal import BridgeRemoval
from runtime.network.firewall import Firewall
from runtime.network.host import host_addresses
from runtime.network.model import (
    Network,
    Pool,
    enabled_families,
    endpoint_options,
    validate_ipam_driver,
    validate_network,
)
from runtime.network.routes import HostRoutes
from runtime.storage.state import StateDatabase

BUILT_IN = {"bridge": "bridge", "host": "host", "none": "none"}
"""Networks that always are there: name -> driver."""
CLAIMS = 16
"""Subnets that are tried for a network, when other engines choose at the same moment."""

log = logging.getLogger(__name__)


class Networks:
    """The engine's networks. Bridges are made when the first container needs them."""

    def __init__(
        self, database: StateDatabase, containers: Containers, events: Events, firewall: Firewall, tag: str
    ) -> None:
        self._records = Records(database, "network", Network)
        self._containers = containers
        self._addresses = AddressBook(containers)
        self._events = events
        self._firewall = firewall
        self._tag = tag
        self.bridges_changed = trio.Event()
        """Set, and replaced, when a bridge has come or gone."""
        self._removal = BridgeRemoval(tag)
        self._host_routes = HostRoutes()
        self._made: set[str] = set()
        """Names of bridges that this engine has made, or found to be its own."""
        for name, driver in BUILT_IN.items():
            found = self.find(name)
            network = found or Network(
                id=bridge.built_in_id(name, tag), name=name, driver=driver, created=time.time_ns()
            )
            # Nobody asked for the subnet of a built-in network, whatever an older version wrote down.
            network = replace(network, has_chosen_subnet=network.has_bridge)
            if network != found:  # on a disk that cannot be written an engine starts all the same
                self._records.put(network.id, network)

    async def create(
        self,
        name: str,
        driver: str = "bridge",
        *,
        options: Mapping[str, str],
        labels: Mapping[str, str],
        internal: bool = False,
        attachable: bool = False,
        enable_ipv4: bool = True,
        enable_ipv6: bool = False,
        pools: Sequence[Mapping[str, Any]] = (),
        ipam_driver: str = "",
        ipam_options: Mapping[str, str] | None = None,
        config_only: bool = False,
        config_from: str = "",
    ) -> Network:
        """Make a network; each of ``pools`` may have subnet, ip_range, gateway and aux_addresses."""
        families = enabled_families(options, name)
        validate_ipam_driver(ipam_driver, name)
        if name in BUILT_IN:
            raise Conflict(f"operation is not permitted on predefined {name} network", status=403)
        if self.find(name) is not None:
            raise Conflict(f"network with name {name} already exists")
        enable_ipv4 = families.get(4, enable_ipv4)
        enable_ipv6 = families.get(6, enable_ipv6)
        network_id = secrets.token_hex(32)
        asked = list(map(network_settings.asked_pool, pools))
        if config_from and not config_only:
            source = network_settings.settings_of(
                self.find(config_from),
                config_from,
                options=options,
                labels=labels,
                enable_ipv6=enable_ipv6,
                pools=asked,
                ipam_options=ipam_options,
            )
            options, labels, asked = source.options, source.labels, list(source.pools)
            enable_ipv6, ipam_options = source.enable_ipv6, source.ipam_options
        network = Network(
            id=network_id,
            name=name,
            driver="none" if config_only else driver,
            config_only=config_only,
            config_from=config_from,
            internal=internal,
            attachable=attachable,
            enable_ipv4=enable_ipv4,
            enable_ipv6=enable_ipv6,
            options=dict(options),
            ipam_options=None if ipam_options is None else dict(ipam_options),
            labels=dict(labels),
            created=time.time_ns(),
        )
        validate_network(network)
        if config_only:
            network_settings.check_settings_only(network, asked)
            network = replace(network, pools=tuple(asked))
        elif driver in ("host", "none"):
            raise Conflict(
                f'only one instance of "{"null" if driver == "none" else driver}" network is allowed',
                status=403,
            )
        if network.driver == "overlay":
            position = overlay.tunnel_of(network).peers.index(overlay.own_address(network, host_addresses()))
            asked = overlay.own_parts(network, asked, position)
        if network.has_bridge or network.is_direct:
            has_chosen_subnet = network.has_bridge and all(
                ":" in pool.subnet for pool in asked if pool.subnet
            )
            with concerning("ipam"):
                planned = self._plan_pools(network, asked)
            network = replace(network, pools=planned, has_chosen_subnet=has_chosen_subnet)
        self._records.put(network_id, network)
        crash_point("core.network.recorded")
        self._events.publish("network", "create", network_id, {"name": name, "type": driver})
        return network

    def _plan_pools(
        self, network: Network, asked: Sequence[Pool], chance: random.Random | None = None
    ) -> tuple[Pool, ...]:
        others = {
            n.name: [p.subnet for p in n.pools]
            for n in self._records.values()
            if n.id != network.id and not n.config_only
        }
        return ipam.plan_pools(
            network.id,
            network.name,
            asked,
            enable_ipv4=network.enable_ipv4,
            enable_ipv6=network.enable_ipv6,
            has_bridge=network.has_bridge,
            networks=others,
            host_routes=self._host_routes.prefixes(),
            chance=chance,
        )

    def list(self) -> list[Network]:
        return sorted(self._records.values(), key=lambda network: network.name)

    def find(self, name: str) -> Network | None:
        return next((n for n in self._records.values() if n.name == name), None)

    def get(self, ref: str) -> Network:
        """By name, id, or an unambiguous beginning of the id."""
        if found := self._records.get(ref) or self.find(ref):
            return found
        matches = [n for n in self._records.values() if ref and n.id.startswith(ref)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise InvalidArgument(f"network {ref} is ambiguous ({len(matches)} matches found on name)")
        raise NotFound(f"network {ref} not found")

    def pairs(self, container: Container) -> builtins.list[tuple[Network, Endpoint]]:
        """A container's networks and its places in them."""
        return [(self.get(e.network_id), e) for e in container.endpoints.values()]

    def attachments(self, ref: str) -> Iterable[NetworkAttachment]:
        """The running containers on a network."""
        network = self.get(ref)
        for container in self._containers.all():
            endpoint = container.endpoints.get(network.name)
            if endpoint is not None and container.state.is_alive:
                yield NetworkAttachment(container_id=container.id, name=container.name, endpoint=endpoint)

    async def remove(self, ref: str) -> None:
        """Remove a network nobody uses, with its bridge."""
        network = self.get(ref)
        if network.name in BUILT_IN:
            raise InvalidArgument(
                f"{network.name} is a pre-defined network and cannot be removed", status=403
            )
        if active := self._active(network):
            names = " ".join(f'name:"{c.name}"' for c in active)
            raise Conflict(
                f"error while removing network: network {network.name} has active endpoints ({names})",
                status=403,
            )
        network_settings.check_is_not_taken(network, self.list())
        # Before anything is waited for, so that nobody gets onto a network that goes; the sweep knows what it leaves.
        self._records.delete(network.id)
        try:
            await self._remove_bridge(network)
        except BaseException:
            self._records.put(network.id, network)
            raise
        self._events.publish("network", "destroy", network.id, {"name": network.name, "type": network.driver})

    async def retire(self, ref: str) -> None:
        """Take away the bridge of a network that will be removed next, if no container is active on it.

        The kernel takes some 50 ms for it, in which the files of the last containers can go."""
        network = self.get(ref)
        if network.name not in BUILT_IN and not self._active(network):
            await self._remove_bridge(network)

    def _active(self, network: Network) -> builtins.list[Container]:
        return [
            container
            for container in self._containers.all()
            if network.name in container.endpoints
            and container.state.status in ("running", "paused", "restarting")
        ]

    async def _remove_bridge(self, network: Network) -> None:
        if network.has_bridge:
            # The firewall has one socket and one state: it is used in this thread only.
            self._made.discard(network.bridge)
            self._firewall.remove_network(network.bridge)
            self._tell_bridges_changed()
            crash_point("core.network-rm.unruled")
            await self._removal.remove(network.bridge)
            crash_point("core.network-rm.unbridged")

    # What containers need

    def ensure(self, network: Network) -> Network:
        """Have the bridge and its rules. Quick when they are there. The network as it is then: a subnet that was chosen
        for it and that somebody else has by now is another one."""
        if network.is_direct:
            try:
                socket.if_nametoindex(network.parent)
            except OSError:
                raise ComposerError(
                    f"network {network.name}: its parent link {network.parent} is not there",
                    hint=f"make it, or give the network another one: {network.driver} needs a link of the host",
                ) from None
        if not network.has_bridge:
            return network
        if network.name in BUILT_IN and not network.pools:
            pools = self._plan_pools(network, ())
            network = self._records.put(network.id, replace(network, pools=pools))
        if not (network.bridge in self._made and bridge.is_there(network.bridge)):
            network = self._make_bridge(network)
            self._made.add(network.bridge)
            crash_point("core.network.bridged")
            self._firewall.add_network(network)
            bridge.rejoin(network, running_ports(network, self._containers.all()))
            self._tell_bridges_changed()
            crash_point("core.network.ruled")
        return network

    def _tell_bridges_changed(self) -> None:
        self.bridges_changed.set()
        self.bridges_changed = trio.Event()

    def _make_bridge(self, network: Network) -> Network:
        for _ in range(CLAIMS):
            try:
                bridge.ensure_bridge(network, self._tag, self._host_routes)
            except bridge.SubnetTaken as error:
                if not network.has_chosen_subnet:
                    raise
                log.info("%s: it gets another one", error.message)
                asked = [pool for pool in network.pools if ":" in pool.subnet]
                pools = self._plan_pools(network, asked, random.Random())
                network = self._records.put(network.id, replace(network, pools=pools))
            else:
                return network
        raise Conflict(
            f"network {network.name}: others take one subnet after the other",
            hint="give the network a subnet of its own (ipam: {config: [{subnet: 10.20.0.0/16}]})",
        )

    def is_active(self, network: Network) -> bool:
        """It is an overlay network whose tunnel is there."""
        return network.driver == "overlay" and network.bridge in self._firewall.bridges

    def plan_endpoints(self, config: ContainerConfig, container_id: str, name: str) -> dict[str, Endpoint]:
        """A new container's endpoints: network name -> addresses. Raises NotFound, Conflict, InvalidArgument."""
        network_settings.check_names(config)
        asked = config.endpoints
        if config.network_mode not in ("bridge", "default", ""):
            return {}
        if not asked:
            asked = (EndpointConfig(network="bridge", mac_address=config.mac_address),)
        named = [replace(e, network=self.get(e.network).name) for e in asked]
        return {e.network: self._plan_asked(e, container_id, name, config) for e in named}

    def _plan_asked(
        self, asked: EndpointConfig, container_id: str, name: str, config: ContainerConfig
    ) -> Endpoint:
        with concerning(f"networks.{asked.network}"):
            return self.plan_endpoint(asked, container_id, name, config)

    def _name(self, ref: str) -> str:
        """The network's name, or ``ref`` where it is gone."""
        network = self._records.get(ref) or self.find(ref)
        return network.name if network else ref

    def plan_endpoint(
        self, asked: EndpointConfig, container_id: str, name: str, config: ContainerConfig
    ) -> Endpoint:
        """One endpoint: a lease of addresses, and the names it answers to."""
        network = self.get(asked.network)
        network_settings.check_is_more_than_settings(network)
        network_settings.check_may_wish(network, asked)
        if not (network.has_bridge or network.is_direct):
            raise InvalidArgument(
                f"network {network.name} has driver {network.driver}: use network_mode: {network.driver} alone"
            )
        if network.name in BUILT_IN:
            network = self.ensure(network)
        interface_name, sysctls = endpoint_options(asked.driver_opts, network.name)
        planned = ipam.allocate_endpoint(
            network,
            container_id,
            self._addresses.of(network.id),
            called=lambda holder: self._containers.get(holder).name,
            ipv4=asked.ipv4_address,
            ipv6=asked.ipv6_address,
            mac=asked.mac_address or config.mac_address,
            link_local=asked.link_local_ips,
            priority=asked.priority,
            gw_priority=asked.gw_priority,
        )
        return leased_endpoint(
            network, planned, asked, container_id, name, config.hostname, interface_name, sysctls
        )

    def refresh_endpoints(self, container: Container) -> None:
        """Before a start: a network that was made anew has other ids and subnets, so lease again.

        The networks are there from then on."""
        asked = {self._name(e.network): e for e in container.config.endpoints}
        changed = dict(container.endpoints)
        for name, endpoint in container.endpoints.items():
            network = self.find(name)
            if network is None:
                raise NotFound(f"network {name} not found", hint="composer up makes it again")
            network = self.ensure(network)
            if not ipam.is_leased(network, runtime_endpoint(endpoint)):
                wish = replace(asked.get(name) or wish_of(endpoint), network=name)
                changed[name] = self.plan_endpoint(wish, container.id, container.name, container.config)
        if changed != container.endpoints:
            container.update(endpoints=changed)

    async def connect(self, ref: str, container_ref: str, asked: EndpointConfig) -> None:
        """Connect a container; a running one gets the interface at once."""
        network = self.get(ref)
        container = self._containers.get(container_ref)
        network_settings.check_is_more_than_settings(network)
        self._check_is_free(network, container)
        network_settings.check_may_join(network, container.config, has_networks=bool(container.endpoints))
        async with container.busy:
            self._check_is_free(network, container)
            network = self.ensure(network)
            endpoint = self.plan_endpoint(
                replace(asked, network=network.name), container.id, container.name, container.config
            )
            before = container.endpoints
            is_running = container.shim is not None and container.state.is_alive
            container.update(
                endpoints={**before, network.name: endpoint}, joining=(network.name,) if is_running else ()
            )
            if is_running:
                crash_point("core.connect.leased")
                try:
                    # As a whole: whoever asked may be gone meanwhile.
                    with trio.CancelScope(shield=True):
                        await self.sandboxes.connect(container, network, endpoint)
                except BaseException:
                    container.update(endpoints=before, joining=())
                    raise
                container.update(joining=())
        self._events.publish(
            "network",
            "connect",
            network.id,
            {"container": container.id, "name": network.name, "type": network.driver},
        )

    def _check_is_free(self, network: Network, container: Container) -> None:
        if network.name in container.endpoints:
            raise Conflict(
                f"endpoint with name {container.name} already exists in network {network.name}", status=403
            )

    async def disconnect(self, ref: str, container: Container | str, force: bool = False) -> None:
        """Take a container off a network."""
        network = self.get(ref)
        if isinstance(container, str):
            container = self._containers.get(container)
        if network.driver == "none" and container.config.network_mode == "none":
            # It is on no network then, as one that has left its last, and may join others.
            config = replace(container.config, network_mode="bridge", endpoints=())
            container.update(config=config)
            return
        endpoint = container.endpoints.get(network.name)
        if endpoint is None:
            if force:
                return
            raise NotFound(f"container {container.id} is not connected to network {network.name}")
        async with container.busy:
            endpoint = container.endpoints.get(network.name, endpoint)
            is_running = container.shim is not None and container.state.is_alive
            container.update(
                endpoints={n: e for n, e in container.endpoints.items() if n != network.name},
                leaving={**container.record.leaving, network.name: endpoint} if is_running else {},
            )
            if is_running:
                crash_point("core.disconnect.recorded")
                with trio.CancelScope(shield=True):
                    await self.sandboxes.disconnect(container, endpoint)
                container.update(leaving={})
        self._events.publish(
            "network",
            "disconnect",
            network.id,
            {"container": container.id, "name": network.name, "type": network.driver},
        )

    @property
    def sandboxes(self) -> Any:
        if self._sandboxes is None:
            raise ComposerError("the engine is not running")
        return self._sandboxes

    @sandboxes.setter
    def sandboxes(self, value: Any) -> None:
        self._sandboxes = value

    _sandboxes: Any = None
