"""networks, network_mode, ports, links and names of a service, in the runtime's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from composer.compose.model import Network, Port, Project, Service, ServiceNetwork
from composer.plan.invalid import invalid
from composer.plan.references import PREFIX
from runtime.container.config import EndpointConfig, PortBinding
from runtime.errors import NotFound

if TYPE_CHECKING:
    from composer.plan.steps import NetworkSpec

DEFAULT = "default"
Protocol = Literal["tcp", "udp", "sctp"]


def network_mode(project: Project, service: Service) -> str:
    """``none``, ``host``, ``container:<name>``, ``service:<name>`` (see ``references``), else ``bridge``."""
    mode = service.network_mode
    if mode == "container:":
        raise invalid(f"services.{service.name}.network_mode", "container: names no container")
    if mode in ("none", "host") or mode.startswith("container:"):
        return mode
    if mode.startswith(PREFIX):
        _demand_service(project, f"services.{service.name}.network_mode", mode.removeprefix(PREFIX))
        return mode
    return "bridge"


def shared_mode(project: Project, service: Service, attribute: Literal["ipc", "pid"]) -> str:
    """``ipc`` and ``pid``: as given, with what they name checked."""
    mode: str = getattr(service, attribute)
    if mode.startswith(PREFIX):
        _demand_service(project, f"services.{service.name}.{attribute}", mode.removeprefix(PREFIX))
    return mode


def _demand_service(project: Project, path: str, name: str) -> None:
    if name not in project.services and name not in project.disabled_services:
        raise NotFound(f"{path}: there is no service {name}")


def endpoints(project: Project, service: Service) -> tuple[EndpointConfig, ...]:
    """How the service's containers are connected: by priority, then name; the first is the one that
    ``mac_address`` is for. The container's own name is added to the aliases when it is known.

    Raises :class:`NotFound` for a network that the project does not define.
    """
    mode = service.network_mode
    if mode in ("none", "host") or mode.startswith(("container:", PREFIX)):
        return ()
    if mode and mode != DEFAULT:
        return (EndpointConfig(network=mode, mac_address=service.mac_address),)
    given = service.networks or {DEFAULT: None}
    ordered = sorted(given, key=lambda key: (-(given[key] or ServiceNetwork()).priority, key))
    return tuple(
        _endpoint(project, service, key, given[key] or ServiceNetwork(), is_first=n == 0)
        for n, key in enumerate(ordered)
    )


def _endpoint(
    project: Project, service: Service, key: str, given: ServiceNetwork, *, is_first: bool
) -> EndpointConfig:
    return EndpointConfig(
        network=network_name(project, service, key),
        aliases=tuple(dict.fromkeys((service.name, *given.aliases))),
        ipv4_address=given.ipv4_address,
        ipv6_address=given.ipv6_address,
        link_local_ips=given.link_local_ips,
        mac_address=given.mac_address or (service.mac_address if is_first else ""),
        priority=given.priority,
        gw_priority=given.gw_priority,
        interface_name=given.interface_name,
        driver_opts=dict(given.driver_opts),
    )


def network_name(project: Project, service: Service, key: str) -> str:
    """The full name of the network ``key``. The default network need not be written down."""
    if key in project.networks:
        return project.networks[key].name
    if key == DEFAULT:
        return f"{project.name}_{DEFAULT}"
    raise NotFound(
        f"services.{service.name}.networks.{key}: refers to undefined network {key}",
        hint=f"add it under the top-level networks: `{key}: {{}}`",
    )


def used_networks(project: Project) -> tuple[NetworkSpec, ...]:
    """The networks that active services are connected to, by key."""
    return tuple(_spec(project, key) for key in used_network_keys(project))


def used_network_keys(project: Project) -> list[str]:
    keys: set[str] = set()
    for service in project.services.values():
        if service.network_mode in ("", DEFAULT):
            keys |= set(service.networks) or {DEFAULT}
    return sorted(keys)


def defined_networks(project: Project) -> tuple[NetworkSpec, ...]:
    """All networks of the file, and the default one."""
    return tuple(_spec(project, key) for key in sorted({DEFAULT, *project.networks}))


def _spec(project: Project, key: str) -> NetworkSpec:
    from composer.plan.steps import NetworkPool, NetworkSpec

    given = project.networks.get(key) or Network(key=key, name=f"{project.name}_{key}")
    return NetworkSpec(
        key=key,
        name=given.name,
        external=given.external,
        driver=given.driver,
        driver_opts=dict(given.driver_opts),
        internal=given.internal,
        attachable=given.attachable,
        enable_ipv4=given.enable_ipv4 is not False,
        enable_ipv6=given.enable_ipv6 is True,
        ipam_driver=given.ipam.driver,
        ipam_options=dict(given.ipam.options),
        pools=tuple(
            NetworkPool(
                subnet=pool.subnet,
                ip_range=pool.ip_range,
                gateway=pool.gateway,
                aux_addresses=dict(pool.aux_addresses),
            )
            for pool in given.ipam.config
        ),
        labels=dict(given.labels),
    )


def port_bindings(path: str, ports: tuple[Port, ...]) -> tuple[PortBinding, ...]:
    """Published ports; of a range that is published for one port, each replica takes one that is free."""
    return tuple(port_binding(f"{path}[{n}]", port) for n, port in enumerate(ports))


def port_binding(path: str, port: Port) -> PortBinding:
    """One published port; ``path`` says where it stands, for errors."""
    if port.protocol not in ("tcp", "udp", "sctp"):
        raise invalid(f"{path}.protocol", f"{port.protocol} is not tcp, udp or sctp")
    first, _, last = port.published.partition("-")
    begin, end = _port(path, first), _port(path, last)
    if last and end < begin:
        raise invalid(f"{path}.published", f"the range {port.published} ends before it begins")
    return PortBinding(
        container_port=port.target,
        protocol=cast("Protocol", port.protocol),
        host_ip=port.host_ip,
        host_port=begin,
        host_port_end=end if end > begin else 0,
    )


def _port(path: str, text: str) -> int:
    if text and not (text.isdecimal() and int(text) <= 65535):
        raise invalid(f"{path}.published", f'"{text}" is not a port', hint="ports are 0 to 65535")
    return int(text or 0)


def exposed_ports(service: Service) -> tuple[str, ...]:
    """``port/protocol`` of ``expose`` and of published ports, ranges expanded."""
    found: list[str] = []
    for n, item in enumerate(service.expose):
        text, _, protocol = item.partition("/")
        first, _, last = text.partition("-")
        path = f"services.{service.name}.expose[{n}]"
        ports = range(_port(path, first), _port(path, last or first) + 1)
        found += [f"{p}/{protocol or 'tcp'}" for p in ports]
    found += [f"{port.target}/{port.protocol}" for port in service.ports]
    return tuple(dict.fromkeys(found))


def link_targets(project: Project, service: Service) -> tuple[str, ...]:
    """``name:alias`` for ``links`` and ``external_links``: within the container ``alias`` is to resolve as
    ``name`` (of a service or a container) does on its networks."""
    found: list[str] = []
    for n, link in enumerate(service.links):
        name, _, alias = link.partition(":")
        _demand_service(project, f"services.{service.name}.links[{n}]", name)
        found.append(f"{name}:{alias or name}")
    for link in service.external_links:
        container, _, alias = link.partition(":")
        found.append(f"{container}:{alias or container}")
    return tuple(dict.fromkeys(found))
