"""A container's networks and ports in Docker's JSON. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from composer.api.interface import Container
from composer.engine.model import Endpoint, PublishedPort
from runtime.container.config import (
    ContainerConfig,
    EndpointConfig,
)


def port_list(container: Container) -> list[dict[str, Any]]:
    """Published ports, and exposed ones that are not; nothing for a container without a process."""
    if not container.state.is_alive:
        return []
    found: list[dict[str, Any]] = []
    published = set()
    for port in container.ports:
        published.add(f"{port.container_port}/{port.protocol}")
        found += [
            {
                "IP": address,
                "PrivatePort": port.container_port,
                "PublicPort": port.host_port,
                "Type": port.protocol,
            }
            for address in host_addresses(port)
        ]
    for entry in exposed_ports(container) if _has_ports(container.config) else ():
        if entry not in published:
            number, _, protocol = entry.partition("/")
            found.append({"PrivatePort": int(number), "Type": protocol})
    return found


def _has_ports(config: ContainerConfig) -> bool:
    """Nobody reaches a port where there is no network, and on somebody else's it is theirs."""
    return config.network_mode not in ("none", "host") and not config.network_mode.startswith("container:")


def host_addresses(port: PublishedPort) -> tuple[str, ...]:
    return (port.host_ip,) if port.host_ip else ("0.0.0.0", "::")


def exposed_ports(container: Container) -> list[str]:
    """``80/tcp``: of the image, asked for, and published, each once."""
    entries = [*container.image.exposed_ports, *container.config.expose]
    entries += [f"{port.container_port}/{port.protocol}" for port in container.config.ports]
    return list(dict.fromkeys(entry if "/" in entry else f"{entry}/tcp" for entry in entries))


def network_mode(config: ContainerConfig) -> str:
    """Docker's mode: the name of the first network where there are any."""
    return config.endpoints[0].network if config.endpoints else config.network_mode


def networks(container: Container) -> dict[str, Any]:
    if not container.endpoints and container.config.network_mode in ("host", "none"):
        return {
            container.config.network_mode: endpoint_json(container.id, Endpoint(network_id=""), None, False)
        }
    asked = {endpoint.network: endpoint for endpoint in container.config.endpoints}
    is_alive = container.state.is_alive
    return {
        name: endpoint_json(container.id, endpoint, asked.get(name), is_alive)
        for name, endpoint in container.endpoints.items()
    }


def endpoint_id(container_id: str, network_id: str) -> str:
    """A stable id for a container's endpoint; the engine needs none of its own."""
    return hashlib.sha256(f"{container_id}/{network_id}".encode()).hexdigest()


def endpoint_json(
    container_id: str, endpoint: Endpoint, asked: EndpointConfig | None, is_alive: bool
) -> dict[str, Any]:
    """An element of ``NetworkSettings.Networks``; addresses are shown while the container runs."""
    asked = asked or endpoint.asked
    return {
        "IPAMConfig": _ipam_config(asked),
        "Links": (list(asked.links) or None) if asked else None,
        "Aliases": [alias for alias in endpoint.aliases if alias != container_id[:12]] or None,
        "MacAddress": endpoint.mac if is_alive else "",
        "DriverOpts": (asked.driver_opts or None) if asked else None,
        "GwPriority": endpoint.gw_priority,
        "NetworkID": endpoint.network_id,
        "EndpointID": endpoint_id(container_id, endpoint.network_id) if is_alive else "",
        "Gateway": endpoint.gateway if is_alive else "",
        "IPAddress": endpoint.ipv4 if is_alive else "",
        "IPPrefixLen": endpoint.prefix if is_alive else 0,
        "IPv6Gateway": endpoint.gateway6 if is_alive else "",
        "GlobalIPv6Address": endpoint.ipv6 if is_alive else "",
        "GlobalIPv6PrefixLen": endpoint.prefix6 if is_alive else 0,
        "DNSNames": list(endpoint.dns_names) or None,
    }


def _ipam_config(asked: EndpointConfig | None) -> dict[str, Any] | None:
    if asked is None or not (asked.ipv4_address or asked.ipv6_address or asked.link_local_ips):
        return None
    fields: dict[str, Any] = {}
    if asked.ipv4_address:
        fields["IPv4Address"] = asked.ipv4_address
    if asked.ipv6_address:
        fields["IPv6Address"] = asked.ipv6_address
    if asked.link_local_ips:
        fields["LinkLocalIPs"] = list(asked.link_local_ips)
    return fields


def network_settings(container: Container) -> dict[str, Any]:
    is_alive = container.state.is_alive
    found = networks(container)
    default = found.get("bridge", {})
    top = ("Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway")
    shown: Mapping[str, Any] = {
        name: default.get(name, 0 if name.endswith("Len") else "")
        for name in (*top, "MacAddress", "EndpointID")
    }
    return {
        "Bridge": "",
        "SandboxID": container.id if is_alive else "",
        "SandboxKey": f"/proc/{container.state.pid}/ns/net" if is_alive else "",
        "Ports": published_ports(container),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **shown,
        "Networks": found,
    }


def published_ports(container: Container) -> dict[str, list[dict[str, str]] | None]:
    """``NetworkSettings.Ports``: exposed ports with the host's addresses, None where unpublished."""
    if not container.state.is_alive:
        return {}
    exposed = exposed_ports(container) if _has_ports(container.config) else ()
    found: dict[str, list[dict[str, str]] | None] = dict.fromkeys(exposed)
    for port in container.ports:
        entries = found.get(key := f"{port.container_port}/{port.protocol}") or []
        entries += [{"HostIp": address, "HostPort": str(port.host_port)} for address in host_addresses(port)]
        found[key] = entries
    return found
