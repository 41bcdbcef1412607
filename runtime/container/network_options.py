"""Options about the network that say nothing where a container has none of its own. Pure."""

from __future__ import annotations

from runtime.container.config import ContainerConfig
from runtime.errors import InvalidArgument


def check_network_options(config: ContainerConfig) -> None:
    """Raise InvalidArgument for options that contradict the network mode, as Docker words it."""
    mode = config.network_mode
    if config.links and (mode == "host" or mode.startswith("container:")):
        kind = "host type networking" if mode == "host" else "container type network"
        raise InvalidArgument(
            f"conflicting options: {kind} can't be used with links. This would result in undefined behavior"
        ).pointing_at("links")
    if not mode.startswith("container:"):
        return
    for attribute, is_given, what in (
        ("hostname", bool(config.hostname), "hostname and the network mode"),
        ("dns", bool(config.dns), "dns and the network mode"),
        ("extra_hosts", bool(config.extra_hosts), "custom host-to-IP mapping and the network mode"),
        ("mac_address", bool(config.mac_address), "mac-address and the network mode"),
        (
            "ports",
            bool(config.ports or config.publish_all),
            "port publishing and the container type network mode",
        ),
        ("expose", bool(config.expose), "port exposing and the container type network mode"),
    ):
        if is_given:
            raise InvalidArgument(
                f"conflicting options: {what}", hint="give it to the container whose network this one shares"
            ).pointing_at(attribute)
