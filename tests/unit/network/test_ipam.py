"""Subnets and addresses: which are given, which are refused, and what is said when there are none left."""

from __future__ import annotations

import ipaddress
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import Conflict, InvalidArgument
from runtime.network.ipam import (
    allocate_address,
    allocate_endpoint,
    default_subnets,
    parse_hardware_address,
    plan_pools,
)
from runtime.network.leases import Leases
from runtime.network.model import Network, Pool


def test_routes_of_the_host_are_avoided() -> None:
    first = default_subnets()[0]
    (pool,) = plan_pools("a", "front", (), host_routes=["0.0.0.0/0", str(first)])
    assert not ipaddress.ip_network(pool.subnet).overlaps(first)
    # A VPN that takes a whole private block: another block.
    vpn = ["172.16.0.0/12", "10.0.0.0/8"]
    (pool,) = plan_pools("a", "front", (), host_routes=vpn)
    assert pool.subnet.startswith("192.168.")
    # What somebody asks for is theirs to decide.
    (pool,) = plan_pools("a", "front", [Pool(subnet="10.1.0.0/24")], host_routes=vpn)
    assert pool.subnet == "10.1.0.0/24"


def test_hundreds_of_networks_none_twice_and_quick() -> None:
    networks: dict[str, list[str]] = {}
    begin = time.perf_counter()
    for number in range(300):
        (pool,) = plan_pools(str(number), f"n{number}", (), networks=networks)
        networks[f"n{number}"] = [pool.subnet]
    assert time.perf_counter() - begin < 10
    subnets = sorted(ipaddress.IPv4Network(subnet) for (subnet,) in networks.values())
    assert all(not one.overlaps(two) for one, two in itertools.pairwise(subnets))


def test_no_subnet_is_left() -> None:
    taken = ["172.16.0.0/12", "192.168.0.0/16"]
    with pytest.raises(Conflict, match="network front: no free subnet is left") as raised:
        plan_pools("a", "front", (), host_routes=taken)
    assert "subnet of its own" in (raised.value.hint or "")


def test_overlap_names_the_other_network() -> None:
    with pytest.raises(Conflict, match=r"10\.1\.0\.0/24 overlaps with 10\.1\.0\.0/16 of network other"):
        plan_pools("a", "front", [Pool(subnet="10.1.0.0/24")], networks={"other": ["10.1.0.0/16"]})


def test_dual_stack() -> None:
    four, six = plan_pools("a", "front", (), enable_ipv6=True)
    assert "." in four.subnet and six.subnet.startswith("fd")
    network = Network(id="a", name="front", enable_ipv6=True, pools=(four, six))
    endpoint = allocate_endpoint(network, "c", Leases())
    assert endpoint.address4 != four.gateway and endpoint.address6 != six.gateway
    with pytest.raises(InvalidArgument, match="has not enabled IPv6"):
        plan_pools("a", "front", [Pool(subnet="fd00::/64")])


@given(st.integers(24, 30), st.sets(st.integers(0, 255), max_size=40))
def test_no_address_twice(bits: int, reserved: set[int]) -> None:
    subnet = ipaddress.IPv4Network(f"10.5.0.0/{bits}")
    auxiliary = {str(n): str(subnet[n]) for n in reserved if 0 < n < subnet.num_addresses - 1}
    free = subnet.num_addresses - 2 - len(auxiliary)
    asked = Pool(subnet=str(subnet), aux_addresses=auxiliary)
    if not free:
        with pytest.raises(Conflict):
            plan_pools("a", "front", [asked])
        return
    (pool,) = plan_pools("a", "front", [asked])
    leases = Leases()
    used: set[str] = set()
    for number in range(free - 1):  # the gateway has one
        address = allocate_address(pool, leases, name="front").partition("/")[0]
        assert address not in used and address not in auxiliary.values() and address != pool.gateway
        used.add(address)
        leases.take(address, str(number))
    with pytest.raises(Conflict, match="network front: no free address is left in"):
        allocate_address(pool, leases, name="front")


def test_range_and_static_addresses() -> None:
    (pool,) = plan_pools("a", "n", [Pool(subnet="10.1.0.0/24", ip_range="10.1.0.128/25", gateway="10.1.0.5")])
    leases = Leases()
    assert allocate_address(pool, leases, name="n") == "10.1.0.128/24"
    assert allocate_address(pool, leases, requested="10.1.0.9", name="n") == "10.1.0.9/24"
    leases.take("10.1.0.9", "5f3a")
    with pytest.raises(Conflict, match="already in use by web"):
        allocate_address(
            pool, leases, requested="10.1.0.9", name="n", called=lambda holder: {"5f3a": "web"}[holder]
        )
    assert allocate_address(pool, leases, requested="10.1.0.9", name="n", holder="5f3a") == "10.1.0.9/24"
    with pytest.raises(Conflict, match="is the network's gateway"):
        allocate_address(pool, leases, requested="10.1.0.5", name="n")
    with pytest.raises(InvalidArgument, match="is not within subnet"):
        allocate_address(pool, leases, requested="10.2.0.9", name="n")


def test_hardware_addresses() -> None:
    assert parse_hardware_address("02-42-AC-11-00-02") == "02:42:ac:11:00:02"
    for wrong in ("01:00:5e:00:00:01", "00:00:00:00:00:00", "02:42:ac:11:00", "x"):
        with pytest.raises(InvalidArgument, match="no valid MAC"):
            parse_hardware_address(wrong)
