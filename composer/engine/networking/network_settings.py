"""Networks that are nothing but settings (``--config-only``), for others that take theirs from one (``--config-from``).
Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.container.config import ContainerConfig, EndpointConfig
from runtime.errors import Conflict, InvalidArgument, NotFound, concerning
from runtime.network import ipam
from runtime.network.files import check_resolver_options, parse_extra_host
from runtime.network.model import Network, Pool


def asked_pool(pool: Mapping[str, Any]) -> Pool:
    return Pool(
        subnet=pool.get("subnet", ""),
        ip_range=pool.get("ip_range", ""),
        gateway=pool.get("gateway", ""),
        aux_addresses=dict(pool.get("aux_addresses") or {}),
    )


def check_settings_only(network: Network, asked: Sequence[Pool]) -> None:
    """Raise Conflict or InvalidArgument for what settings cannot have."""
    if network.internal or network.attachable:
        raise Conflict(
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported.",
            status=403,
        )
    if network.config_from:
        raise Conflict("a configuration network cannot depend on another configuration network", status=403)
    for pool in asked:
        ipam.plan_pools(network.id, network.name, [pool], enable_ipv6=True, has_bridge=False)


def settings_of(
    source: Network | None,
    name: str,
    *,
    options: Mapping[str, str],
    labels: Mapping[str, str],
    enable_ipv6: bool,
    pools: Sequence[Pool],
    ipam_options: Mapping[str, str] | None,
) -> Network:
    """The network called ``name`` whose settings are to be taken, if nothing else is asked for. Raises NotFound or
    Conflict."""
    if source is None or not source.config_only:
        raise NotFound(f'configuration network "{name}" does not exist')
    if labels or enable_ipv6 or pools or ipam_options:
        raise Conflict(
            "user specified configurations are not supported if the network depends on a configuration network",
            status=403,
        )
    if options:
        raise Conflict(
            "network driver options are not supported if the network depends on a configuration network",
            status=403,
        )
    return source


def check_is_more_than_settings(network: Network) -> None:
    """Raise InvalidArgument where a container cannot be connected."""
    if network.config_only:
        raise InvalidArgument("cannot create endpoint on configuration-only network")


def check_is_not_taken(network: Network, others: Sequence[Network]) -> None:
    """Raise Conflict where others take their settings from the network."""
    if any(other.config_from == network.name for other in others):
        raise Conflict(
            f'error while removing network: configuration network "{network.name}" is in use', status=403
        )


def check_names(config: ContainerConfig) -> None:
    """Raises InvalidArgument for what cannot stand in a container's resolv.conf or hosts."""
    check_resolver_options(config.dns, config.dns_search, config.dns_opt)
    with concerning("extra_hosts"):
        for entry in config.extra_hosts:
            parse_extra_host(entry)


def check_may_wish(network: Network, asked: EndpointConfig) -> None:
    """Raises InvalidArgument for an address on a network whose subnet nobody chose: the next time it is another."""
    if asked.ipv4_address and network.has_chosen_subnet and network.pool4:
        where = (
            "user defined networks"
            if network.name == "bridge"
            else "networks with a subnet of the user's own"
        )
        raise InvalidArgument(
            f"network {network.name}: an address can only be asked for on {where}",
            hint=""
            if network.name == "bridge"
            else "give the network a subnet (--subnet; ipam: in a project)",
        ).pointing_at("ipv4_address")


def check_may_join(network: Network, config: ContainerConfig, *, has_networks: bool) -> None:
    """Raises Conflict where network or container cannot have an interface more."""
    if network.driver == "host":
        raise Conflict(
            "container cannot be disconnected from host network or connected to host network", status=403
        )
    if config.network_mode == "none" or network.driver == "none":
        raise Conflict(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            status=403,
        )
    if not has_networks and config.network_mode not in ("bridge", "default", ""):
        raise Conflict(
            f"container sharing network namespace with another container or host cannot be connected to any "
            f"other network ({config.network_mode})"
        )
