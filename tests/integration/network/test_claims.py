"""Engines on one host agree on who has a subnet, by what is in the kernel."""

from __future__ import annotations

import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import pytest

from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.message import Request
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network import bridge, ipam
from runtime.network.model import Network, Pool
from runtime.network.routes import HostRoutes
from tests.e2e.engine import wait_for
from tests.integration.network.conftest import Lab


def network(number: int, *, subnet: str = "", **fields: object) -> Network:
    network_id = f"{number:010x}".ljust(64, "0")
    pools = ipam.plan_pools(network_id, f"n{number}", [Pool(subnet=subnet)] if subnet else ())
    made = Network(id=network_id, name=f"n{number}", pools=pools, has_chosen_subnet=not subnet)
    return made


def prefixes(lab: Lab) -> frozenset[str]:
    with closing(HostRoutes()) as looked_up:
        return lab.host.run(looked_up.prefixes)


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
    found = prefixes(lab)
    assert "172.30.1.0/24" in found
    (pool,) = ipam.plan_pools("a", "front", (), host_routes=found)
    assert pool.subnet == "172.30.4.0/22"
    # What came after the choice: only what was chosen gives way.
    with pytest.raises(bridge.SubnetTaken, match=r"reaches 172\.30\.1\.0/24 through uplink"):
        lab.host.run(lambda: bridge.ensure_bridge(network(1), "one"))
    assert lab.host.run(lambda: bridge.ensure_bridge(network(2, subnet="172.30.1.0/24"), "one"))


def test_routes_are_followed(lab: Lab) -> None:
    """What comes is heard of, what goes has all be looked up again; and a flood of news loses nothing."""
    with closing(HostRoutes()) as followed:
        looks = [0]
        look = followed._look

        def count() -> None:
            looks[0] += 1
            look()

        followed._look = count  # type: ignore[method-assign]

        def act(*requests: Request) -> int:
            """How often it looked at everything after these."""

            def execute() -> None:
                with NetlinkSocket(NETLINK_ROUTE) as rtnl:
                    for request in requests:
                        rtnl.execute([request])

            looks[0] = 0
            lab.host.run(execute)
            wait_for(lambda: lab.host.run(followed.prefixes) == prefixes(lab), "the same routes")
            return looks[0]

        index = lab.host.run(lambda: socket.if_nametoindex("uplink"))
        add = rtnetlink.add_route
        assert act(rtnetlink.set_link_up(index)) == 1, "the first time"
        assert (
            act(rtnetlink.add_address(index, "10.9.0.1/24"), rtnetlink.add_address(index, "fd09::1/64")) == 0
        )
        assert (
            act(add("172.31.1.0/24", gateway="198.51.100.2", table=52), add("172.31.8.0/24", index=index))
            == 0
        )
        assert lab.host.run(lambda: bridge.ensure_bridge(network(7), "one", followed))
        assert act() == 0
        assert act(add("172.31.8.0/24", gateway="198.51.100.2", replace=True)) == 1
        assert act(rtnetlink.delete_address(index, "10.9.0.1/24")) == 1
        flood = [f"10.{number >> 8}.{number & 255}.0/24" for number in range(6000)]
        assert act(*(add(destination, index=index) for destination in flood)) == 1
        lab.host.run(lambda: bridge.remove_bridge("cmp-0000000007", "one"))
        assert act() == 1


def test_a_way_that_has_gone_unheard_is_nobody_s(lab: Lab) -> None:
    def uplink(*requests: Request) -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute(requests)

    index = lab.host.run(lambda: socket.if_nametoindex("uplink"))
    down = rtnetlink.set_link_up(index)._replace(
        body=struct.pack("=BxHiII", 0, 0, index, 0, rtnetlink.IFF_UP)
    )
    with closing(HostRoutes()) as followed:
        lab.host.run(
            lambda: uplink(rtnetlink.set_link_up(index), rtnetlink.add_route("172.30.1.0/24", index=index))
        )
        assert "172.30.1.0/24" in lab.host.run(followed.prefixes)
        lab.host.run(lambda: uplink(down))
        assert "172.30.1.0/24" not in prefixes(lab)
        assert lab.host.run(lambda: bridge.ensure_bridge(network(1), "one", followed))
