"""Bridges that somebody else has taken away under running containers: whose ends they were, and making them again."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from composer.engine.containers import Container
from composer.engine.networking.networks import Networks
from runtime.network import bridge

log = logging.getLogger(__name__)


def repair(networks: Networks, containers: Iterable[Container], name: str) -> None:
    """Have the network's bridge, with all that was in it, where containers that run are on it."""
    network = networks.find(name)
    if network is None or not network.has_bridge or bridge.is_there(network.bridge):
        return
    if any(container.state.is_alive and name in container.endpoints for container in containers):
        log.warning("network %s: its bridge %s is gone; making it again", name, network.bridge)
        networks.ensure(network)
