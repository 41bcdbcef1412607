"""How containers are reached from a machine with a route to them, by what the driver options of their network say."""

from __future__ import annotations

import socket

import pytest

from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network.firewall import Firewall
from runtime.network.ports import plan_openings
from runtime.network.ruleset import Forward
from tests.integration.network.conftest import Container, Lab

OPTION = "com.docker.network.bridge."
QUICK = 0.3


class Binding:
    container_port, protocol, host_ip, host_port, host_port_end = 80, "tcp", "", 8080, 0


def serve(lab: Lab, firewall: Firewall, **options: str) -> Container:
    """A container on a network with ``options`` that has port 80 published, and listens on 81 as well."""
    network = lab.network("front", enable_ipv6=True, options=options)
    other = lab.network("back")
    lab.host.run(lambda: firewall.add_networks([network, other]))
    web = lab.container("web", network)
    openings = plan_openings([Binding()], network, web.endpoints[0][1])
    lab.host.run(lambda: firewall.publish(openings))
    return web


@pytest.mark.parametrize(
    ("options", "published", "others"),
    [
        ({}, False, False),
        ({f"{OPTION}gateway_mode_ipv4": "routed"}, True, False),
        ({f"{OPTION}gateway_mode_ipv4": "nat-unprotected"}, True, True),
        ({f"{OPTION}trusted_host_interfaces": "nowhere:uplink"}, True, False),
        ({f"{OPTION}trusted_host_interfaces": "nowhere"}, False, False),
    ],
)
def test_modes(lab: Lab, firewall: Firewall, options: dict[str, str], published: bool, others: bool) -> None:
    web = serve(lab, firewall, **options)
    for port, expected in ((80, published), (81, others)):
        listener = web.listen(port)
        seen = lab.machine.reaches((web.address, port), listener, timeout=30 if expected else QUICK)
        assert seen == (lab.machine.address if expected else None)
    # Other networks of this host come no nearer by it, but to what is published for everybody.
    far = lab.container("far", lab.networks["back"])
    assert far.reaches((web.address, 82), web.listen(82), timeout=QUICK) is None


def test_what_is_routed_keeps_its_address(lab: Lab, firewall: Firewall) -> None:
    web = serve(lab, firewall, **{f"{OPTION}gateway_mode_ipv6": "routed"})

    def route_back() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.add_route("fd00::/8", gateway=lab.host.address6, replace=True)])

    lab.machine.run(route_back)
    listener = lab.machine.listen(80, "::")
    assert web.reaches((lab.machine.address6, 80), listener) == web.address6
    assert web.reaches((lab.machine.address, 81), lab.machine.listen(81)) == lab.host.address
    assert lab.machine.reaches((web.address6, 80), web.listen(80, "::")) == lab.machine.address6


def test_address_for_what_leaves(lab: Lab, firewall: Firewall) -> None:
    chosen = "198.51.100.99"

    def add() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.add_address(socket.if_nametoindex("uplink"), f"{chosen}/24")])

    lab.host.run(add)
    web = serve(lab, firewall, **{"com.docker.network.host_ipv4": chosen})
    assert web.reaches((lab.machine.address, 80), lab.machine.listen(80)) == chosen


def test_a_network_without_ipv4(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("six", enable_ipv4=False, enable_ipv6=True)
    lab.host.run(lambda: firewall.add_network(network))
    one, two = lab.container("one", network), lab.container("two", network)
    assert not one.address
    assert one.reaches((two.address6, 80), two.listen(80, "::")) == one.address6
    assert one.reaches((lab.machine.address6, 80), lab.machine.listen(80, "::")) == lab.host.address6
    lab.host.run(lambda: firewall.publish([Forward("tcp", "::", 8080, two.address6, 81)]))
    assert lab.machine.reaches((lab.host.address6, 8080), two.listen(81, "::")) == lab.machine.address6
