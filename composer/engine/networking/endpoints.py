"""A container's place in a network: from what was asked for and leased to the record, and from the record to what the
runtime wants. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from composer.engine.model import Endpoint
from runtime.container.config import EndpointConfig
from runtime.network.model import Endpoint as RuntimeEndpoint
from runtime.network.model import Network
from runtime.network.sandbox import host_interface

if TYPE_CHECKING:
    from composer.engine.containers import Container


def leased_endpoint(
    network: Network,
    planned: RuntimeEndpoint,
    asked: EndpointConfig,
    container_id: str,
    name: str,
    hostname: str,
    interface_name: str,
    sysctls: Mapping[str, str],
) -> Endpoint:
    """The record of the lease ``planned`` for a container, with the names it answers to."""
    names = [name, *asked.aliases, container_id[:12]]
    if hostname:
        names.append(hostname)
    ipv4, _, prefix = planned.ipv4.partition("/")
    ipv6, _, prefix6 = planned.ipv6.partition("/")
    return Endpoint(
        network_id=network.id,
        ipv4=ipv4,
        prefix=int(prefix or 0),
        ipv6=ipv6,
        prefix6=int(prefix6 or 0),
        gateway="" if network.internal or not ipv4 else network.gateway_of(ipv4),
        gateway6="" if network.internal or not ipv6 else network.gateway_of(ipv6),
        mac=planned.mac,
        aliases=tuple(dict.fromkeys((*asked.aliases, container_id[:12]))),
        dns_names=tuple(dict.fromkeys(names)),
        gw_priority=asked.gw_priority,
        priority=asked.priority,
        interface_name=asked.interface_name or interface_name,
        sysctls=dict(sysctls),
        link_local=asked.link_local_ips,
        asked=asked,
    )


def runtime_endpoint(endpoint: Endpoint) -> RuntimeEndpoint:
    """An endpoint as the runtime wants it: addresses as prefixes."""
    return RuntimeEndpoint(
        network_id=endpoint.network_id,
        ipv4=f"{endpoint.ipv4}/{endpoint.prefix}" if endpoint.ipv4 else "",
        ipv6=f"{endpoint.ipv6}/{endpoint.prefix6}" if endpoint.ipv6 else "",
        mac=endpoint.mac,
        link_local=endpoint.link_local,
        priority=endpoint.priority,
        gw_priority=endpoint.gw_priority,
        interface_name=endpoint.interface_name,
        sysctls=endpoint.sysctls,
    )


def wish_of(endpoint: Endpoint) -> EndpointConfig:
    """What is asked for again for an endpoint that came by ``network connect``."""
    if endpoint.asked is not None:
        return endpoint.asked
    return EndpointConfig(
        network="",
        aliases=endpoint.aliases,
        priority=endpoint.priority,
        gw_priority=endpoint.gw_priority,
        interface_name=endpoint.interface_name,
        link_local_ips=endpoint.link_local,
    )


def running_ports(network: Network, containers: Iterable[Container]) -> set[str]:
    """The host's ends of the pairs that containers which run have in the network."""
    return {
        host_interface(container.id, network.id)
        for container in containers
        if network.has_bridge and container.state.is_alive and network.name in container.endpoints
    }
