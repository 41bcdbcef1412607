"""Options of networks and endpoints: what is known, what is refused by name."""

from __future__ import annotations

import pytest

from runtime.errors import InvalidArgument
from runtime.network.model import Endpoint, Network, endpoint_options, validate_network
from runtime.network.sandbox import plan_sandbox

PREFIX = "com.docker.network.endpoint."


def test_endpoint_options() -> None:
    given = {
        f"{PREFIX}ifname": "lan0",
        f"{PREFIX}sysctls": "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=2",
    }
    name, sysctls = endpoint_options(given, "front")
    assert name == "lan0"
    network = Network(id="ab" * 32, name="front")
    endpoint = Endpoint(network_id=network.id, ipv4="10.0.0.2/24", interface_name=name, sysctls=sysctls)
    (planned,) = plan_sandbox("c" * 64, [(network, endpoint)])["endpoints"]
    assert planned["name"] == "lan0"
    assert planned["sysctls"]["net.ipv4.conf.lan0.log_martians"] == "1"
    assert planned["sysctls"]["net.ipv6.conf.lan0.accept_ra"] == "2"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sysctls", "kernel.hostname=x", "is no sysctl of an interface"),
        ("sysctls", "net.ipv4.conf.IFNAME.../../x=1", "is no sysctl of an interface"),
        ("sysctls", "net.ipv4.conf.IFNAME.log_martians", "is no sysctl of an interface"),
        ("ifname", "a/b", "is no valid name"),
        ("other", "x", "endpoint option '.*other' is not supported"),
    ],
)
def test_endpoint_options_refused(key: str, value: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        endpoint_options({PREFIX + key: value}, "front")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"com.docker.network.driver.mtu": "20"}, "between 68 and 65535"),
        ({"com.docker.network.bridge.enable_icc": "maybe"}, "must be true or false"),
        ({"com.docker.network.bridge.name": "far-too-long-a-name"}, "no valid name for a link"),
        ({"com.example.other": "1"}, "'com.example.other' is not supported"),
    ],
)
def test_network_options_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        validate_network(Network(id="a", name="front", options=options))
