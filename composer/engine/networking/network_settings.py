"""Networks that are nothing but settings (``--config-only``), for others that take theirs from one (``--config-from``).
Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runtime.container.config import ContainerConfig
from runtime.errors import Conflict, InvalidArgument, NotFound
from runtime.network import ipam
from runtime.network.model import Network, Pool


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
