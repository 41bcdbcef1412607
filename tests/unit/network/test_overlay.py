"""Which part of an overlay network is whose, and what its options may be."""

from __future__ import annotations

import pytest

from runtime.errors import InvalidArgument
from runtime.network import overlay
from runtime.network.model import Network, Pool, validate_network

PEERS = "192.0.2.1, 192.0.2.2,192.0.2.3"


def network(**options: str) -> Network:
    return Network(id="ab" * 32, name="wide", driver="overlay", options={"peers": PEERS, **options})


def test_parts_do_not_overlap() -> None:
    parts = [overlay.own_part(network(), Pool(subnet="10.90.0.0/16"), n) for n in range(3)]
    assert [part.ip_range for part in parts] == ["10.90.0.0/18", "10.90.64.0/18", "10.90.128.0/18"]
    assert [part.gateway for part in parts] == ["10.90.0.1", "10.90.64.1", "10.90.128.1"]


def test_what_is_given_stays() -> None:
    given = Pool(subnet="10.90.0.0/16", ip_range="10.90.7.0/24", gateway="10.90.7.9")
    assert overlay.own_part(network(), given, 2) == given


def test_the_number_is_the_same_on_each_host() -> None:
    assert overlay.tunnel_of(network()).vni == overlay.tunnel_of(network()).vni
    chosen = overlay.tunnel_of(network(**{overlay.VNI_OPTION: "77", "vxlan_port": "4789"}))
    assert chosen == (("192.0.2.1", "192.0.2.2", "192.0.2.3"), 77, 4789)


def test_room_for_the_tunnel_s_header() -> None:
    assert network().mtu == 1450
    assert network(**{"com.docker.network.driver.mtu": "8950"}).mtu == 8950


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"peers": ""}, "needs the addresses of its hosts"),
        ({"peers": "192.0.2.1"}, "needs the addresses of its hosts"),
        ({"peers": "192.0.2.1,example.org"}, "'example.org' is no IPv4 address"),
        ({"peers": "192.0.2.1,192.0.2.1"}, "is there twice"),
        ({"vxlan_port": "70000"}, "vxlan_port must be between 1 and 65535"),
        ({overlay.VNI_OPTION: "0"}, "must be between 1 and 16777215"),
        ({"encrypted": ""}, "are not encrypted"),
        ({"com.docker.network.bridge.name": "br0"}, "has no other name"),
        ({"other": "x"}, "driver option 'other' is not supported"),
    ],
)
def test_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        validate_network(network(**options))


def test_a_subnet_is_needed() -> None:
    with pytest.raises(InvalidArgument, match="needs a subnet, the same on each host"):
        overlay.own_part(network(), Pool(), 0)
    with pytest.raises(InvalidArgument, match="too small for its hosts"):
        overlay.own_part(network(), Pool(subnet="10.90.0.0/30"), 0)
