"""ipvlan on a real link, in layer 2 beside the host and in layer 3 behind it, without rules of ours."""

from __future__ import annotations

import errno
import os

import pytest

from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkError, NetlinkSocket
from runtime.network import connect, ipam, sandbox
from runtime.network.leases import Leases
from runtime.network.model import Network, Pool, validate_network
from tests.integration.network.conftest import HOST_ADDRESS, MACHINE_ADDRESS, Container, Lab, new_namespace

POOL = Pool(subnet="203.0.113.0/24")


def network_of(mode: str, pool: Pool = POOL, **options: str) -> Network:
    made = Network(
        id="cd" * 32,
        name="lan",
        driver="ipvlan",
        options={"parent": "uplink", "ipvlan_mode": mode, **options},
        pools=ipam.plan_pools("cd" * 32, "lan", [pool]),
    )
    validate_network(made)
    return made


def container(lab: Lab, network: Network, leases: Leases) -> Container:
    container_id = f"{len(lab.containers):064x}"
    endpoint = ipam.allocate_endpoint(network, container_id, leases)
    leases.take(endpoint.address4, container_id)
    plan = sandbox.plan_sandbox(container_id, [(network, endpoint)])
    netns = new_namespace()
    try:
        lab.host.run(lambda: sandbox.attach(plan, netns))
    except NetlinkError as error:
        os.close(netns)
        if error.errno == errno.EOPNOTSUPP:
            assert "modprobe ipvlan), or run one with CONFIG_IPVLAN" in str(error)
            pytest.skip("needs a kernel with ipvlan")
        raise
    descriptors = connect.in_network_namespace(netns, lambda: sandbox.configure(plan))
    made = Container(netns, endpoint.address4, "", [], container_id, dict(plan), descriptors)
    lab.containers.append(made)
    return made


def link_up_and_routed(lab: Lab) -> None:
    def host() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.set_link_up(name="uplink")])

    def machine() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.add_route(POOL.subnet, gateway=HOST_ADDRESS)])

    lab.host.run(host)
    lab.machine.run(machine)


def test_layer_2_is_a_part_of_the_parent_s_lan(lab: Lab) -> None:
    link_up_and_routed(lab)
    lan = Pool(subnet="198.51.100.0/24", ip_range="198.51.100.64/26", gateway=MACHINE_ADDRESS)
    network = network_of("l2", lan)
    leases = Leases()
    one, two = container(lab, network, leases), container(lab, network, leases)
    listener = two.listen(80)
    assert one.reaches((two.address, 80), listener) == one.address
    assert lab.machine.reaches((two.address, 80), listener) == lab.machine.address
    assert one.reaches((lab.machine.address, 80), lab.machine.listen(80)) == one.address
    # As with Docker: the parent's own host is the one that they do not reach, nor it them.
    assert lab.host.reaches((two.address, 80), listener, timeout=0.3) is None


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_layer_3_is_routed_by_the_parent(lab: Lab, mode: str) -> None:
    link_up_and_routed(lab)
    network = network_of(mode)
    leases = Leases()
    one, two = container(lab, network, leases), container(lab, network, leases)
    listener = two.listen(80)
    assert one.reaches((two.address, 80), listener) == one.address
    # Nothing is translated: another machine with a route sees, and reaches, the container itself.
    assert lab.machine.reaches((two.address, 80), listener) == lab.machine.address
    assert one.reaches((lab.machine.address, 80), lab.machine.listen(80)) == one.address


def test_private_containers_do_not_reach_each_other(lab: Lab) -> None:
    link_up_and_routed(lab)
    network = network_of("l3", ipvlan_flag="private")
    leases = Leases()
    one, two = container(lab, network, leases), container(lab, network, leases)
    listener = two.listen(80)
    assert one.reaches((two.address, 80), listener, timeout=0.3) is None
    assert lab.machine.reaches((two.address, 80), listener) == lab.machine.address
