"""Which part of an overlay network is whose, and what its options may be."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from runtime.errors import InvalidArgument
from runtime.network import ipam, overlay
from runtime.network.leases import Leases
from runtime.network.model import Network, Pool, validate_network
from runtime.network.names import ContainerNames, EndpointNames, NameTable
from runtime.network.overlay_names import Told, heard

PEERS = "192.0.2.1, 192.0.2.2,192.0.2.3"


def network(**options: str) -> Network:
    return Network(id="ab" * 32, name="wide", driver="overlay", options={"peers": PEERS, **options})


def test_parts_do_not_overlap() -> None:
    parts = [overlay.own_part(network(), Pool(subnet="10.90.0.0/16"), n) for n in range(3)]
    assert [part.ip_range for part in parts] == ["10.90.0.0/18", "10.90.64.0/18", "10.90.128.0/18"]
    assert [part.gateway for part in parts] == ["10.90.0.1", "10.90.64.1", "10.90.128.1"]


RANGES = "10.90.7.0/24, 10.90.8.0/24,10.90.9.0/25"


def test_parts_that_are_listed() -> None:
    made = network(ranges=RANGES)
    asked = Pool(subnet="10.90.0.0/16", aux_addresses={"printer": "10.90.1.1"})
    part = overlay.own_part(made, asked, 2)
    assert part == replace(asked, ip_range="10.90.9.0/25", gateway="10.90.9.1")
    assert overlay.own_part(made, part, 2) == part, "the same may be said twice"
    parts = overlay.peer_parts(replace(made, pools=(part,)))
    assert [(one.ip_range, one.gateway) for (one,) in parts.values()] == [
        ("10.90.7.0/24", "10.90.7.1"),
        ("10.90.8.0/24", "10.90.8.1"),
        ("10.90.9.0/25", "10.90.9.1"),
    ]
    six = overlay.own_part(made, Pool(subnet="fd00:7::/64"), 1)
    assert six.ip_range == "fd00:7:0:0:4000::/66", "IPv6 is not listed"


@pytest.mark.parametrize(
    ("options", "pool", "message"),
    [
        ({}, {"ip_range": "10.90.7.0/24"}, r"is not this host's part of 10.90.0.0/16, 10.90.64.0/18"),
        ({"ranges": RANGES}, {"ip_range": "10.90.7.0/24"}, r"is not this host's part .*, 10.90.8.0/24"),
        ({}, {"ip_range": "some"}, "'some' is no valid ip_range"),
        ({}, {"gateway": "10.90.0.1"}, r"not the first address of this host's part, 10.90.64.1"),
        ({}, {"gateway": "10.90.64"}, r"'10.90.64' is no valid gateway"),
        ({"ranges": RANGES}, {"subnet": "10.90.0.0/21"}, r"10.90.8.0/24 is not within subnet 10.90.0.0/21"),
    ],
)
def test_parts_that_others_would_not_know(
    options: dict[str, str], pool: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        overlay.own_part(network(**options), Pool(**{"subnet": "10.90.0.0/16", **pool}), 1)


def test_addresses_that_are_asked_for() -> None:
    made = replace(network(), pools=(overlay.own_part(network(), Pool(subnet="10.90.0.0/16"), 1),))
    given = ipam.allocate_endpoint(made, "ab" * 32, Leases(), ipv4="10.90.64.77")
    assert given.ipv4 == "10.90.64.77/16"
    with pytest.raises(InvalidArgument, match=r"10.90.1.1 is not in this host's part .*10.90.64.0/18"):
        ipam.allocate_endpoint(made, "ab" * 32, Leases(), ipv4="10.90.1.1")


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
        ({"peers": "192.0.2.1,example.org"}, "'example.org' is no address"),
        ({"peers": "192.0.2.1,2001:db8::2"}, "some addresses are IPv4, some IPv6"),
        ({"peers": "192.0.2.1,192.0.2.1"}, "is there twice"),
        ({"vxlan_port": "70000"}, "vxlan_port must be between 1 and 65535"),
        ({overlay.VNI_OPTION: "0"}, "must be between 1 and 16777215"),
        ({"ranges": "10.90.7.0/24"}, "ranges has 1 of IPv4 for 3 peers"),
        ({"ranges": "10.90.7.0/24,10.90.8.0/24,x"}, "'x' is no valid ranges"),
        ({"ranges": "10.90.7.0/24,10.90.8.0/24,10.90.8.128/25"}, "10.90.8.128/25 overlaps with 10.90.8.0/24"),
        ({"ranges": "10.90.7.0/24,10.90.8.0/24,10.90.9.0/31"}, "10.90.9.0/31 is too small for a host"),
        ({"encrypted": ""}, "are not encrypted"),
        ({"com.docker.network.bridge.name": "br0"}, "has no other name"),
        ({"other": "x"}, "driver option 'other' is not supported"),
    ],
)
def test_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        validate_network(network(**options))


def test_parts_of_the_others() -> None:
    pool = overlay.own_part(network(), Pool(subnet="10.90.0.0/16"), 1)
    parts = overlay.peer_parts(replace(network(), pools=(pool,)))
    assert {peer: [part.gateway for part in one] for peer, one in parts.items()} == {
        "192.0.2.1": ["10.90.0.1"],
        "192.0.2.2": ["10.90.64.1"],
        "192.0.2.3": ["10.90.128.1"],
    }
    # A network of an earlier version, whose part was given by hand: nobody knows those of the others.
    given = Pool(subnet="10.90.0.0/16", ip_range="10.90.7.0/24", gateway="10.90.7.9")
    assert overlay.peer_parts(replace(network(), pools=(given,))) == {}
    six = overlay.own_part(network(), Pool(subnet="fd00:7::/64"), 1)
    both = overlay.peer_parts(replace(network(), pools=(pool, six)))
    assert [part.gateway for part in both["192.0.2.3"]] == ["10.90.128.1", "fd00:7::8000:0:0:1"]
    assert [
        part.gateway for part in overlay.peer_parts(replace(network(), pools=(given, six)))["192.0.2.1"]
    ] == ["fd00:7::1"]


def test_pools_of_both_families() -> None:
    made = replace(network(), enable_ipv6=True)
    asked = [Pool(subnet="10.90.0.0/16")]
    one, two = (overlay.own_parts(made, asked, position) for position in (0, 1))
    assert [pool.subnet for pool in one] == [pool.subnet for pool in two], "nobody has to agree on the subnet"
    assert one[1].subnet.startswith("fd")
    assert one[1].subnet.endswith("::/64")
    assert one[1].ip_range != two[1].ip_range
    (given,) = overlay.own_parts(
        replace(made, enable_ipv4=False), [Pool(), Pool(subnet="fd00:7::/64", gateway="fd00:7:0::1")], 0
    )
    assert given == Pool(subnet="fd00:7::/64", ip_range="fd00:7::/66", gateway="fd00:7::1")
    with pytest.raises(InvalidArgument, match="needs a subnet, the same on each host"):
        overlay.own_parts(made, [Pool(subnet="fd00:7::/64")], 0)
    with pytest.raises(InvalidArgument, match="IPv6 needs an MTU of at least 1280, not 1200"):
        validate_network(replace(made, options={**made.options, "com.docker.network.driver.mtu": "1200"}))


def test_a_host_speaks_for_its_own_part_only() -> None:
    made = network()
    here = overlay.own_part(made, Pool(subnet="10.90.0.0/16"), 0)
    there = overlay.own_part(made, Pool(subnet="10.90.0.0/16"), 1)
    known = NameTable()
    known.set(
        "a" * 64, ContainerNames(name="db", endpoints=(EndpointNames(network_id=made.id, network="wide"),))
    )
    said = [
        Told("b" * 64, "web", "10.90.64.2", ("web", "two words", "x" * 300)),
        Told("c" * 64, "db", "10.90.0.5", ("db",)),  # an address of the first host
        Told("a" * 64, "db", "10.90.64.3", ("db",)),  # a container of this host
        Told("../x", "evil", "10.90.64.4"),
        Told("d" * 64, "with blank", "10.90.64.5"),
    ]
    found = heard(msgspec.json.encode(said), replace(made, pools=(here,)), [there], known)
    assert list(found) == ["b" * 64]
    (endpoint,) = found["b" * 64].endpoints
    assert (endpoint.names, endpoint.ipv4) == (("web",), "10.90.64.2/16")
    with pytest.raises(ValueError, match="Expected"):
        heard(b'[{"id": 1}]', made, [there], known)


def test_a_host_speaks_for_its_own_part_in_both_families() -> None:
    made = network()
    parts = [overlay.own_part(made, Pool(subnet=subnet), 1) for subnet in ("10.90.0.0/16", "fd00:7::/64")]
    theirs, ours = "fd00:7::4000:0:0:2", "fd00:7::2"
    said = [
        Told("b" * 64, "both", "10.90.64.2", ipv6=theirs),
        Told("c" * 64, "six", ipv6=theirs),
        Told("d" * 64, "half", "10.90.64.3", ipv6=ours),  # an address of the first host
        Told("e" * 64, "nowhere"),
    ]
    message = msgspec.json.encode(said)
    found = heard(message, made, parts, NameTable())
    assert [(names.name, names.endpoints[0].ipv4, names.endpoints[0].ipv6) for names in found.values()] == [
        ("both", "10.90.64.2/16", f"{theirs}/64"),
        ("six", "", f"{theirs}/64"),
    ]
    # Of IPv6, whose parts were given by hand, nothing is believed.
    found = heard(message, made, parts[:1], NameTable())
    assert [(names.name, names.endpoints[0].ipv6) for names in found.values()] == [("both", ""), ("half", "")]


def test_a_subnet_is_needed() -> None:
    with pytest.raises(InvalidArgument, match="needs a subnet, the same on each host"):
        overlay.own_part(network(), Pool(), 0)
    with pytest.raises(InvalidArgument, match="too small for its hosts"):
        overlay.own_part(network(), Pool(subnet="10.90.0.0/30"), 0)
