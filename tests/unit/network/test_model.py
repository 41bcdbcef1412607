"""Options of networks and endpoints: what is known, what is refused by name."""

from __future__ import annotations

import pytest

from runtime.errors import InvalidArgument
from runtime.network.model import Endpoint, Network, Pool, endpoint_options, validate_network
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


def test_names_of_interfaces_begin_as_the_network_says() -> None:
    options = {"com.docker.network.container_iface_prefix": "lan"}
    pairs = []
    for number, given in enumerate((options, {}, options)):
        network = Network(id=f"{number:064x}", name=f"n{number}", options=given)
        validate_network(network)
        pairs.append((network, Endpoint(network_id=network.id, ipv4=f"10.0.{number}.2/24")))
    assert [planned["name"] for planned in plan_sandbox("c" * 64, pairs)["endpoints"]] == [
        "lan0",
        "eth0",
        "lan1",
    ]


@pytest.mark.parametrize(
    ("options", "internal", "has4", "has6"),
    [
        ({}, False, True, True),
        ({"com.docker.network.bridge.inhibit_ipv4": "true"}, False, False, True),
        ({"com.docker.network.bridge.gateway_mode_ipv4": "nat"}, False, True, True),
        ({"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}, True, False, True),
        ({"com.docker.network.bridge.gateway_mode_ipv6": "isolated"}, True, True, False),
    ],
)
def test_whether_the_bridge_has_an_address(
    options: dict[str, str], internal: bool, has4: bool, has6: bool
) -> None:
    network = Network(id="a", name="front", options=options, internal=internal)
    validate_network(network)
    assert network.has_bridge_address(Pool(subnet="10.0.0.0/24")) is has4
    assert network.has_bridge_address(Pool(subnet="fd00::/64")) is has6


@pytest.mark.parametrize("mode", ["isolated", "other"])
def test_gateway_modes_refused(mode: str) -> None:
    options = {"com.docker.network.bridge.gateway_mode_ipv4": mode}
    with pytest.raises(InvalidArgument, match=r"is for internal networks|is not supported"):
        validate_network(Network(id="a", name="front", options=options))
