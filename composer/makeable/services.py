"""One service: what cannot be said of a container, or not to one."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from msgspec.structs import replace

from composer.compose.model import Network, Project, Service, ServiceNetwork
from composer.makeable.collecting import Check, of_each, placed
from composer.plan import limits, mounts, networking
from composer.plan.automatic import is_automatic
from composer.plan.container import container_config
from composer.plan.references import referenced_services, resolve_references
from runtime.container.checks import faults
from runtime.container.config import ContainerConfig
from runtime.container.config_rules import check_container_name
from runtime.errors import ComposerError, InvalidArgument

_ATTRIBUTES: tuple[tuple[str, Callable[[Project, Service], object], dict[str, Any]], ...] = (
    ("restart", lambda _, s: limits.restart_policy(replace(s, deploy=None)), {"restart": ""}),
    ("deploy.restart_policy", lambda _, s: limits.restart_policy(s), {"deploy": None}),
    ("logging", lambda _, s: limits.log_config(s), {"logging": None}),
    ("expose", lambda _, s: networking.exposed_ports(s), {"expose": ()}),
    ("volumes_from", lambda p, s: mounts.volumes_from(p, s), {"volumes_from": ()}),
    ("links", lambda p, s: networking.link_targets(p, s), {"links": (), "external_links": ()}),
    ("networks", lambda p, s: networking.endpoints(p, s), {"networks": {}}),
    ("network_mode", lambda p, s: networking.network_mode(p, s), {"network_mode": ""}),
    ("ipc", lambda p, s: networking.shared_mode(p, s, "ipc"), {"ipc": ""}),
    ("pid", lambda p, s: networking.shared_mode(p, s, "pid"), {"pid": ""}),
    ("x-composer", is_automatic, {}),
)
"""What translates an attribute, and what the service is without it: then the rest can be looked at."""

_ITEMS: tuple[tuple[str, Callable[[Project, str, Any], object]], ...] = (
    ("ports", lambda _, path, item: networking.port_binding(path, item)),
    ("volumes", mounts.service_mount),
    ("configs", lambda p, path, item: mounts.service_file(path, "config", item, p.configs)),
    ("secrets", lambda p, path, item: mounts.service_file(path, "secret", item, p.secrets)),
)


def service_faults(project: Project, service: Service) -> Iterator[ComposerError]:
    """Each fault, about a path of the file."""
    path = f"services.{service.name}"
    yield from of_each(path, _single_checks(project, service))
    for attribute, translate, without in _ATTRIBUTES:
        try:
            translate(project, service)
        except ComposerError as error:
            yield placed(error, f"{path}.{attribute}")
            service = replace(service, **without)
    places: dict[str, str] = {}
    for attribute, check_item in _ITEMS:
        good = []
        for number, item in enumerate(getattr(service, attribute)):
            here = f"{path}.{attribute}[{number}]"
            try:
                check_item(project, here, item)
            except ComposerError as error:
                yield placed(error, here)
            else:
                good.append(item)
                if attribute == "volumes":
                    places[posixpath.normpath(item.target)] = f"volumes[{number}]"
        service = replace(service, **{attribute: tuple(good)})
    for number, text in enumerate(service.tmpfs):
        places[posixpath.normpath(text.partition(":")[0])] = f"tmpfs[{number}]"
    try:
        config = container_config(project, service)
    except ComposerError as error:
        yield placed(error, path)
        return
    config = resolve_references(config, {name: name for name in referenced_services(config)})
    for fault in faults(config):
        fault.about = f"{path}.{_as_written(fault.about, service, config, places)}"
        yield fault


def _as_written(about: str, service: Service, config: ContainerConfig, places: dict[str, str]) -> str:
    """Where the file has what a container's configuration calls ``about``."""
    if about.startswith("mounts["):
        number, _, rest = about.removeprefix("mounts[").partition("]")
        return places.get(config.mounts[int(number)].target, "volumes") + rest
    if about.startswith("resources."):
        attribute, elsewhere = _RESOURCES[about.removeprefix("resources.")]
        deploy = service.deploy
        for kind, name in elsewhere:
            if deploy is not None and getattr(getattr(deploy, kind), name):
                return f"deploy.resources.{kind}.{name}"
        return attribute
    return about.removesuffix("_mode") if about in ("pid_mode", "ipc_mode", "uts_mode") else about


_RESOURCES: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "memory": ("mem_limit", (("limits", "memory"),)),
    "memory_swap": ("memswap_limit", ()),
    "memory_reservation": ("mem_reservation", (("reservations", "memory"),)),
    "memory_swappiness": ("mem_swappiness", ()),
    "nano_cpus": ("cpus", (("limits", "cpus"),)),
    "cpu_shares": ("cpu_shares", ()),
    "cpu_period": ("cpu_period", ()),
    "cpu_quota": ("cpu_quota", ()),
    "cpuset_cpus": ("cpuset", ()),
    "blkio_weight": ("blkio_config.weight", ()),
    "blkio_weight_device": ("blkio_config.weight_device", ()),
}
"""By what the runtime calls it: the attribute, and where else it may stand."""


def _single_checks(project: Project, service: Service) -> Iterator[Check]:
    """Values that no other has to do with."""
    if service.image:
        yield "image", lambda: _check_image(service.image)
    if service.platform:
        yield "platform", lambda: _check_platform(service.platform)
    if service.container_name:
        yield "container_name", lambda: check_container_name(service.container_name)
    if service.dns or service.dns_search or service.dns_opt or service.extra_hosts:
        from runtime.network.files import check_resolver_options, parse_extra_host

        yield "", lambda: check_resolver_options(service.dns, service.dns_search, service.dns_opt)
        for entry in service.extra_hosts:
            yield "extra_hosts", partial(parse_extra_host, entry)
    if service.mac_address:
        yield "", lambda: _check_place("", None, ServiceNetwork(mac_address=service.mac_address))
    for key, given in service.networks.items():
        if given is None or given == ServiceNetwork(aliases=given.aliases, priority=given.priority):
            continue  # it asks for nothing that could be wrong
        network = project.networks.get(key)
        name = network.name if network is not None else key
        yield f"networks.{key}", partial(_check_place, name, network, given)


def _check_image(reference: str) -> None:
    from runtime.image.reference import parse_reference

    parse_reference(reference)


def _check_platform(text: str) -> None:
    from runtime.image.platform import Platform, parse_platform

    parse_platform(text, Platform(os="linux", architecture="amd64"))


def _check_place(name: str, network: Network | None, given: ServiceNetwork) -> None:
    import ipaddress

    from runtime.network.wishes import check_wishes

    check_wishes(
        name,
        ipv4=given.ipv4_address,
        ipv6=given.ipv6_address,
        mac=given.mac_address,
        link_local=given.link_local_ips,
        interface_name=given.interface_name,
        options=given.driver_opts,
    )
    if network is None or network.external or network.driver not in ("", "bridge"):
        return
    subnets = _subnets(network)
    for version, text in ((4, given.ipv4_address), (6, given.ipv6_address)):
        if not text:
            continue
        own = [subnet for subnet in subnets if subnet.version == version]
        address = ipaddress.ip_address(text.partition("/")[0])
        if own and not any(address in subnet for subnet in own):
            raise InvalidArgument(
                f"network {name}: {address} is not within subnet {', '.join(map(str, own))}"
            ).pointing_at(f"ipv{version}_address")


def _subnets(network: Network) -> list[Any]:
    """Those that are asked for; none where one of them is none, which is said elsewhere."""
    from ipaddress import ip_network

    try:
        return [ip_network(pool.subnet) for pool in network.ipam.config if pool.subnet]
    except ValueError:
        return []
