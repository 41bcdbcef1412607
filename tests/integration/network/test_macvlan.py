"""Containers beside the host: macvlan on a real link; the machine behind the cable is on the same network."""

from __future__ import annotations

import socket

import pytest

from runtime.errors import InvalidArgument
from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network import connect, ipam, sandbox
from runtime.network.leases import Leases
from runtime.network.model import Endpoint, Network, Pool, validate_network
from tests.integration.network.conftest import Container, Lab, new_namespace

POOL = Pool(subnet="198.51.100.0/24", ip_range="198.51.100.64/26", gateway="198.51.100.2")


def direct(**options: str) -> Network:
    made = Network(
        id="ab" * 32,
        name="lan",
        driver="macvlan",
        options={"parent": "uplink", **options},
        pools=ipam.plan_pools("ab" * 32, "lan", [POOL]),
    )
    validate_network(made)
    return made


def container(lab: Lab, network: Network, number: int) -> Container:
    container_id = f"{number:064x}"
    leases = Leases()
    for other in range(1, number):
        leases.take(f"198.51.100.{63 + other}", "another")
    endpoint: Endpoint = ipam.allocate_endpoint(network, container_id, leases)
    plan = sandbox.plan_sandbox(container_id, [(network, endpoint)])
    netns = new_namespace()
    lab.host.run(lambda: sandbox.attach(plan, netns))
    descriptors = connect.in_network_namespace(netns, lambda: sandbox.configure(plan))
    made = Container(netns, endpoint.address4, "", [], container_id, dict(plan), descriptors)
    lab.containers.append(made)
    return made


def raise_uplink(lab: Lab) -> None:
    def act() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.set_link_up(name="uplink")])

    lab.host.run(act)


def test_beside_the_host(lab: Lab) -> None:
    raise_uplink(lab)
    network = direct()
    one, two = container(lab, network, 1), container(lab, network, 2)
    assert one.address == "198.51.100.64"
    listener = two.listen(80)
    assert one.reaches((two.address, 80), listener) == one.address
    # From the cable its own address is seen: nothing is translated.
    assert lab.machine.reaches((two.address, 80), listener) == lab.machine.address
    assert one.reaches((lab.machine.address, 80), lab.machine.listen(80)) == one.address
    # The kernel keeps a parent apart from its macvlans.
    assert lab.host.reaches((two.address, 80), listener, timeout=0.3) is None


def test_private_mode_keeps_containers_apart(lab: Lab) -> None:
    raise_uplink(lab)
    network = direct(macvlan_mode="private")
    one, two = container(lab, network, 1), container(lab, network, 2)
    listener = two.listen(80)
    assert lab.machine.reaches((two.address, 80), listener) == lab.machine.address
    assert one.reaches((two.address, 80), listener, timeout=0.3) is None


def test_disconnected(lab: Lab) -> None:
    raise_uplink(lab)
    network = direct()
    one = container(lab, network, 1)
    link = sandbox.host_interface(one.id, network.id)
    lab.host.run(lambda: connect.disconnect_endpoint(one.netns, link, []))
    assert [name for _, name in one.run(socket.if_nameindex)] == ["lo"]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(InvalidArgument, match="needs the link of the host"):
        validate_network(Network(id="a", name="lan", driver="macvlan"))
    with pytest.raises(InvalidArgument, match="macvlan_mode 'wrong' is not supported"):
        direct(macvlan_mode="wrong")
    with pytest.raises(InvalidArgument, match="ipvlan_mode 'l4' is not supported"):
        options = {"parent": "uplink", "ipvlan_mode": "l4"}
        validate_network(Network(id="a", name="lan", driver="ipvlan", options=options))
    with pytest.raises(InvalidArgument, match=r"'com\.docker\.network\.bridge\.name' is not supported"):
        direct(**{"com.docker.network.bridge.name": "br0"})
