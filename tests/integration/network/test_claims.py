"""Engines on one host agree on who has a subnet, by what is in the kernel."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network import bridge, ipam
from runtime.network.host import host_routes
from runtime.network.model import Network, Pool
from tests.integration.network.conftest import Lab


def network(number: int, *, subnet: str = "", **fields: object) -> Network:
    network_id = f"{number:010x}".ljust(64, "0")
    pools = ipam.plan_pools(network_id, f"n{number}", [Pool(subnet=subnet)] if subnet else ())
    made = Network(id=network_id, name=f"n{number}", pools=pools, has_chosen_subnet=not subnet)
    return made


def test_the_second_gives_way(lab: Lab) -> None:
    lab.host.run(lambda: bridge.ensure_bridge(network(1), "one"))
    with pytest.raises(
        bridge.SubnetTaken, match=r"subnet 172\.30\.0\.0/22 is taken: .* through cmp-0000000001"
    ):
        lab.host.run(lambda: bridge.ensure_bridge(network(2), "two"))
    assert not lab.host.run(lambda: bridge.list_bridges("two"))
    # Also where the subnet was asked for: containers of both could not be told apart.
    with pytest.raises(bridge.SubnetTaken):
        lab.host.run(lambda: bridge.ensure_bridge(network(3, subnet="172.30.2.0/24"), "two"))
    assert lab.host.run(lambda: bridge.list_bridges("one")) == {"cmp-0000000001"}


def test_at_the_same_moment_never_both(lab: Lab) -> None:
    for turn in range(10):
        ready = Barrier(2)

        def make(number: int, ready: Barrier = ready) -> bool:
            def act() -> bool:
                ready.wait()
                try:
                    return bridge.ensure_bridge(network(number), f"engine {number}")
                except bridge.SubnetTaken:
                    return False

            return lab.host.run(act)

        numbers = (2 * turn + 1, 2 * turn + 2)
        with ThreadPoolExecutor(2) as pool:
            made = dict(zip(numbers, pool.map(make, numbers), strict=True))
        assert sum(made.values()) <= 1
        for number in numbers:
            left = lab.host.run(lambda number=number: bridge.list_bridges(f"engine {number}"))
            assert bool(left) == made[number]
            for name in left:
                lab.host.run(lambda name=name, number=number: bridge.remove_bridge(name, f"engine {number}"))


def test_ways_of_the_host(lab: Lab) -> None:
    """A VPN's routes, in a table of its own, and those that take the whole world."""

    def routes() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            index = socket.if_nametoindex("uplink")
            rtnl.execute([rtnetlink.set_link_up(index)])
            for destination in ("0.0.0.0/1", "128.0.0.0/1"):
                rtnl.execute([rtnetlink.add_route(destination, gateway="198.51.100.2")])
            rtnl.execute([rtnetlink.add_route("172.30.1.0/24", gateway="198.51.100.2", table=52)])

    lab.host.run(routes)
    found = lab.host.run(host_routes)
    assert "172.30.1.0/24" in found
    (pool,) = ipam.plan_pools("a", "front", (), host_routes=found)
    assert pool.subnet == "172.30.4.0/22"
    # What came after the choice: only what was chosen gives way.
    with pytest.raises(bridge.SubnetTaken, match=r"reaches 172\.30\.1\.0/24 through uplink"):
        lab.host.run(lambda: bridge.ensure_bridge(network(1), "one"))
    assert lab.host.run(lambda: bridge.ensure_bridge(network(2, subnet="172.30.1.0/24"), "one"))
