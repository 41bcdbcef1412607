"""What contradicts the network mode is refused in Docker's words, and says where it stands."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.container.config import ContainerConfig, PortBinding
from runtime.container.network_options import check_network_options
from runtime.errors import InvalidArgument

PORTS = (PortBinding(container_port=80, protocol="tcp", host_port=8080),)


@pytest.mark.parametrize(
    ("fields", "about", "message"),
    [
        ({"hostname": "x"}, "hostname", "conflicting options: hostname and the network mode"),
        ({"dns": ("192.0.2.1",)}, "dns", "conflicting options: dns and the network mode"),
        (
            {"extra_hosts": ("a=192.0.2.1",)},
            "extra_hosts",
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        ({"mac_address": "02:42:ac:11:00:02"}, "mac_address", "conflicting options: mac-address and"),
        ({"ports": PORTS}, "ports", "port publishing and the container type network mode"),
        ({"publish_all": True}, "ports", "port publishing and the container type network mode"),
        ({"expose": ("80",)}, "expose", "port exposing and the container type network mode"),
        ({"links": ("db",)}, "links", "container type network can't be used with links"),
    ],
)
def test_what_is_another_container_s(fields: dict[str, Any], about: str, message: str) -> None:
    check_network_options(ContainerConfig(image="x", **fields))
    with pytest.raises(InvalidArgument, match=message) as caught:
        check_network_options(ContainerConfig(image="x", network_mode="container:other", **fields))
    assert caught.value.about == about


def test_on_the_host() -> None:
    config = ContainerConfig(image="x", network_mode="host", ports=PORTS, hostname="x", dns=("192.0.2.1",))
    check_network_options(config)
    assert config.warnings == ("Published ports are discarded when using host network mode",)
    assert ContainerConfig(image="x", ports=PORTS).warnings == ()
    with pytest.raises(InvalidArgument, match="host type networking can't be used with links"):
        check_network_options(ContainerConfig(image="x", network_mode="host", links=("db",)))
