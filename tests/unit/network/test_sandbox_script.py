"""When containers have the same system calls for their networks, and what is each one's own."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.network.sandbox_script import Network, NotWritable


def plan(address: str = "10.1.0.2/24", host_ifname: str = "cmv0123456789a", **changed: Any) -> dict[str, Any]:
    endpoint = {
        "network": "n",
        "kind": "veth",
        "bridge": "b",
        "mode": "",
        "flag": "",
        "host_ifname": host_ifname,
        "name": "eth0",
        "mac": "02:42:0a:01:00:02",
        "mtu": 0,
        "addresses": [address],
        "gateways": ["10.1.0.1"],
        "routes": [],
        "sysctls": {},
        "isolated": False,
    }
    whole = {"mode": "bridge", "resolver": True, "sysctls": {}, "inherited": {}, "descriptors": ["udp"]}
    return {**whole, "endpoints": [{**endpoint, **changed}]}


def network(*, is_filtered: bool = False, is_again: bool = False, **changed: Any) -> Network:
    return Network(plan(**changed), {"b": 7}, is_filtered=is_filtered, netns=9, is_again=is_again)


def test_addresses_and_names_are_not_of_the_shape() -> None:
    one, other = (
        network(),
        network(address="10.1.0.3/24", host_ifname="cmvfedcba98765", mac="02:42:0a:01:00:03"),
    )
    assert one.shape == other.shape
    assert one.pieces != other.pieces
    assert [len(piece) for piece in one.pieces] == [len(piece) for piece in other.pieces]


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "lan0.longer"},
        {"address": "fd00::2/64"},
        {"gateways": []},
        {"routes": [["10.9.0.0/16", "10.1.0.9"]]},
        {"sysctls": {"net.ipv4.conf.eth0.forwarding": "1"}},
        {"isolated": True},
        {"is_filtered": True},
        {"is_again": True},
        {"mtu": 1400},
    ],
)
def test_what_makes_other_calls_is(changed: dict[str, Any]) -> None:
    assert network(**changed).shape != network().shape


def test_links_of_a_parent_are_made_the_other_way() -> None:
    with pytest.raises(NotWritable):
        network(kind="macvlan")
