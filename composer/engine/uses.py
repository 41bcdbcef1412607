"""Events about what a container uses while it runs: its volumes and networks, in Docker's words."""

from __future__ import annotations

from typing import Literal

from composer.engine.containers import Container
from composer.engine.events import Events
from composer.engine.networking.networks import Networks

_BUILT_IN = ("none", "host")


def publish_begin(container: Container, networks: Networks, events: Events) -> None:
    """It is about to run."""
    _publish_networks(container, networks, events, "connect")
    read_only = {mount.target for mount in container.config.mounts if mount.read_only}
    for target, name in container.record.volumes.items():
        attributes = {
            "container": container.id,
            "destination": target,
            "driver": "local",
            "propagation": "",
            "read/write": str(target not in read_only).lower(),
        }
        events.publish("volume", "mount", name, attributes)


def publish_end(container: Container, networks: Networks, events: Events) -> None:
    """It has ended."""
    _publish_networks(container, networks, events, "disconnect")
    for name in container.record.volumes.values():
        events.publish("volume", "unmount", name, {"container": container.id, "driver": "local"})


def _publish_networks(
    container: Container, networks: Networks, events: Events, action: Literal["connect", "disconnect"]
) -> None:
    mode = container.config.network_mode
    for name in (mode,) if mode in _BUILT_IN else tuple(container.endpoints):
        if network := networks.find(name):
            driver = "null" if network.driver == "none" else network.driver
            attributes = {"container": container.id, "name": network.name, "type": driver}
            events.publish("network", action, network.id, attributes)
