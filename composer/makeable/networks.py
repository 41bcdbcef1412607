"""Networks and volumes at the top of a file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from composer.compose.model import IpamPool, Network, Volume
from composer.makeable.collecting import Check
from runtime.network import ipam, model
from runtime.network.overlay import tunnel_of
from runtime.storage.volumes import parse_options, validate_name

ANY_ID = "0" * 64
"""Of a network that is only looked at."""


def network_checks(network: Network) -> Iterator[Check]:
    """What the engine's own look at a network would say."""
    asked = model.Network(
        id=ANY_ID,
        name=network.name,
        driver=network.driver or "bridge",
        internal=network.internal,
        enable_ipv4=network.enable_ipv4 is not False,
        enable_ipv6=network.enable_ipv6 is True,
        options=dict(network.driver_opts),
    )
    yield "driver_opts", lambda: model.enabled_families(asked.options, asked.name)
    yield "ipam.driver", lambda: model.validate_ipam_driver(network.ipam.driver, asked.name)
    yield "", lambda: model.validate_network(asked)
    if asked.driver == "overlay":
        yield "driver_opts", lambda: tunnel_of(asked)
    elif asked.has_bridge or asked.is_direct:
        for number, pool in enumerate(network.ipam.config):
            yield f"ipam.config[{number}]", partial(_check_pools, asked, (pool,))
        yield "ipam", partial(_check_pools, asked, network.ipam.config)


def _check_pools(network: model.Network, pools: tuple[IpamPool, ...]) -> None:
    asked = [
        model.Pool(
            subnet=pool.subnet,
            ip_range=pool.ip_range,
            gateway=pool.gateway,
            aux_addresses=dict(pool.aux_addresses),
        )
        for pool in pools
    ]
    options = model.enabled_families(network.options, network.name)
    ipam.plan_pools(
        network.id,
        network.name,
        asked,
        enable_ipv4=options.get(4, network.enable_ipv4),
        enable_ipv6=options.get(6, network.enable_ipv6),
        has_bridge=network.has_bridge,
    )


def volume_checks(volume: Volume) -> Iterator[Check]:
    """What the engine's own look at a volume would say."""
    yield "driver", lambda: parse_options(volume.driver, {})
    if volume.driver in ("", "local"):
        yield "driver_opts", lambda: parse_options(volume.driver, volume.driver_opts)
    yield "name", lambda: validate_name(volume.name)
