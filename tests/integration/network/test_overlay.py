"""A network over two hosts, which are network namespaces with a cable between them."""

from __future__ import annotations

import pytest

from runtime.errors import InvalidArgument
from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network import bridge, connect, ipam, overlay, sandbox
from runtime.network.firewall import Firewall
from runtime.network.host import host_addresses
from runtime.network.model import Network, Pool, validate_network
from tests.integration.network.conftest import Container, Lab, Place, new_namespace

ID = "ef" * 32


def network_on(place: Place, peers: tuple[str, ...], position: int) -> Network:
    """The network as an engine on ``place`` makes it."""
    made = Network(id=ID, name="wide", driver="overlay", options={"peers": ",".join(peers)})
    validate_network(made)
    part = overlay.own_part(made, Pool(subnet="10.90.0.0/16"), position)
    made = Network(
        id=ID, name="wide", driver="overlay", options=made.options, pools=ipam.plan_pools(ID, "wide", [part])
    )
    place.run(lambda: bridge.ensure_bridge(made, "lab"))
    return made


def container_on(lab: Lab, place: Place, network: Network, number: int) -> Container:
    container_id = f"{number:064x}"
    endpoint = ipam.allocate_endpoint(network, container_id, {})
    plan = sandbox.plan_sandbox(container_id, [(network, endpoint)])
    netns = new_namespace()
    place.run(lambda: sandbox.attach(plan, netns))
    descriptors = connect.in_network_namespace(netns, lambda: sandbox.configure(plan))
    made = Container(netns, endpoint.address4, "", [], container_id, dict(plan), descriptors)
    lab.containers.append(made)
    return made


def raise_uplink(lab: Lab) -> None:
    def act() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.set_link_up(name="uplink")])

    lab.host.run(act)


def test_containers_of_two_hosts_talk(lab: Lab) -> None:
    raise_uplink(lab)
    peers = (lab.host.address, lab.machine.address)
    here, there = network_on(lab.host, peers, 0), network_on(lab.machine, peers, 1)
    firewall = lab.host.run(lambda: Firewall("lab"))
    try:
        lab.host.run(lambda: firewall.add_network(here))
        one, two = container_on(lab, lab.host, here, 1), container_on(lab, lab.machine, there, 2)
        assert (one.address, two.address) == ("10.90.0.2", "10.90.128.0")
        assert one.reaches((two.address, 80), two.listen(80)) == one.address
        assert two.reaches((one.address, 80), one.listen(80)) == two.address
        lab.host.run(lambda: bridge.remove_bridge(here.bridge, "lab"))
        assert lab.host.run(lambda: bridge.list_bridges("lab")) == frozenset()
    finally:
        lab.host.run(firewall.remove)
        firewall.close()


def test_frames_of_strangers_are_dropped(lab: Lab) -> None:
    raise_uplink(lab)
    here = network_on(lab.host, (lab.host.address, "198.51.100.77"), 0)
    # The machine is none of the hosts, but takes itself for one.
    there = network_on(lab.machine, (lab.host.address, lab.machine.address), 1)
    firewall = lab.host.run(lambda: Firewall("lab"))
    try:
        one, two = container_on(lab, lab.host, here, 1), container_on(lab, lab.machine, there, 2)

        def both_ways() -> None:
            with NetlinkSocket(NETLINK_ROUTE) as rtnl:
                link = rtnetlink.decode_link(
                    rtnl.query(rtnetlink.get_link(overlay.tunnel_link(here.bridge)))[0]
                )
                rtnl.execute([rtnetlink.add_flooded(link.ifindex, lab.machine.address)])

        lab.host.run(both_ways)
        listener = one.listen(80)
        assert two.reaches((one.address, 80), listener) == two.address
        lab.host.run(lambda: firewall.add_network(here))
        assert two.reaches((one.address, 80), listener, timeout=0.3) is None
    finally:
        lab.host.run(firewall.remove)
        firewall.close()


def test_a_host_that_is_none_of_the_peers(lab: Lab) -> None:
    with pytest.raises(InvalidArgument, match="one of the peers has to be an address of this host"):
        network = Network(id=ID, name="wide", driver="overlay", options={"peers": "192.0.2.1,192.0.2.2"})
        overlay.own_address(network, lab.host.run(host_addresses))
