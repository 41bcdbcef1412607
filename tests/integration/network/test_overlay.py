"""A network over two hosts, which are network namespaces with a cable between them."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio
from msgspec.structs import replace

from runtime.errors import InvalidArgument
from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network import bridge, connect, ipam, overlay, sandbox
from runtime.network.firewall import Firewall
from runtime.network.host import host_addresses
from runtime.network.leases import Leases
from runtime.network.model import Network, Pool, validate_network
from runtime.network.names import ContainerNames, EndpointNames, NameTable
from runtime.network.overlay_names import OverlayNames
from tests.integration.network.conftest import Container, Lab, Place, new_namespace

ID = "ef" * 32


def network_on(
    place: Place, peers: tuple[str, ...], position: int, families: str = "4", ranges: str = ""
) -> Network:
    """The network as an engine on ``place`` makes it, with addresses of ``families``."""
    network_id = f"{position:02}{ID[2:]}"
    made = Network(
        id=network_id,
        name="wide",
        driver="overlay",
        options={"peers": ",".join(peers), "ranges": ranges},
        enable_ipv4="4" in families,
        enable_ipv6="6" in families,
    )
    validate_network(made)
    asked = [Pool(subnet="10.90.0.0/16")] if made.enable_ipv4 else []
    parts = overlay.own_parts(made, asked, position)
    pools = ipam.plan_pools(
        network_id, "wide", parts, enable_ipv4=made.enable_ipv4, enable_ipv6=made.enable_ipv6
    )
    made = replace(made, pools=pools)
    place.run(lambda: bridge.ensure_bridge(made, "lab"))
    return made


def container_on(lab: Lab, place: Place, network: Network, number: int) -> Container:
    container_id = f"{number:064x}"
    endpoint = ipam.allocate_endpoint(network, container_id, Leases())
    plan = sandbox.plan_sandbox(container_id, [(network, endpoint)])
    netns = new_namespace()
    place.run(lambda: sandbox.attach(plan, netns))
    descriptors = connect.in_network_namespace(netns, lambda: sandbox.configure(plan))
    made = Container(netns, endpoint.address4, endpoint.address6, [], container_id, dict(plan), descriptors)
    lab.containers.append(made)
    return made


def raise_uplink(lab: Lab) -> None:
    def act() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.set_link_up(name="uplink")])

    lab.host.run(act)


@pytest.mark.parametrize("is_six", [False, True], ids=["over IPv4", "over IPv6"])
def test_containers_of_two_hosts_talk(lab: Lab, is_six: bool) -> None:
    raise_uplink(lab)
    peers = (lab.host.address, lab.machine.address)
    if is_six:
        peers = (lab.host.address6, lab.machine.address6)
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


@pytest.mark.parametrize("families", ["46", "6"])
def test_ipv6_over_the_tunnel(lab: Lab, families: str) -> None:
    """Neighbours find each other by multicast, which the tunnel carries to each host; what leaves does so here."""
    raise_uplink(lab)
    peers = (lab.host.address, lab.machine.address)
    here, there = network_on(lab.host, peers, 0, families), network_on(lab.machine, peers, 1, families)
    firewall = lab.host.run(lambda: Firewall("lab"))
    try:
        lab.host.run(lambda: firewall.add_network(here))
        one, two = container_on(lab, lab.host, here, 1), container_on(lab, lab.machine, there, 2)
        assert bool(one.address) == ("4" in families)
        assert one.reaches((two.address6, 80), two.listen(80, "::")) == one.address6
        assert two.reaches((one.address6, 80), one.listen(80, "::")) == two.address6
        assert one.reaches((there.gateway6, 81), lab.machine.listen(81, "::")) == one.address6
        assert one.reaches((lab.machine.address6, 82), lab.machine.listen(82, "::")) == lab.host.address6
    finally:
        lab.host.run(firewall.remove)
        firewall.close()


def test_a_peer_s_address_forged_elsewhere(lab: Lab) -> None:
    """The hosts talk over a link of their own (WireGuard, say). Somebody on another one sends frames under a host's
    address, which the kernel alone would take."""
    raise_uplink(lab)
    own, other = "203.0.113.1", "203.0.113.2"
    far = Place(new_namespace())

    def private_link() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.create_veth("private", peer="wire", peer_netns=far.netns)])
            rtnl.execute([rtnetlink.add_address(socket.if_nametoindex("private"), f"{own}/24")])

    def other_end() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            index = socket.if_nametoindex("wire")
            rtnl.execute([rtnetlink.set_link_up(index), rtnetlink.add_address(index, f"{other}/24")])

    def pretend() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.add_address(1, f"{other}/32")])
            rtnl.execute([rtnetlink.add_route(f"{own}/32", gateway=lab.host.address)])

    lab.host.run(private_link)
    far.run(other_end)
    lab.machine.run(pretend)
    lab.containers.append(Container(far.netns))
    here = network_on(lab.host, (own, other), 0)
    one = container_on(lab, lab.host, here, 1)
    two = container_on(lab, far, network_on(far, (own, other), 1), 2)
    forger = container_on(lab, lab.machine, network_on(lab.machine, (own, other), 1), 3)
    heard = one.socket(socket.SOCK_DGRAM)
    heard.bind(("0.0.0.0", 5000))

    def arrives(sender: Container, word: bytes, tries: int = 100) -> bool:
        heard.settimeout(0.3)
        with sender.socket(socket.SOCK_DGRAM) as sending:
            sending.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            for _ in range(tries):
                sending.sendto(word, ("10.90.255.255", 5000))  # to everybody: nobody has to answer
                with contextlib.suppress(TimeoutError):
                    while heard.recv(64) != word:
                        pass
                    return True
        return False

    assert arrives(forger, b"forged"), "without rules it comes in"
    firewall = lab.host.run(lambda: Firewall("lab"))
    try:
        lab.host.run(lambda: firewall.add_network(here))
        assert not arrives(forger, b"forged again", tries=5)
        assert arrives(two, b"true")
        assert two.reaches((one.address, 80), one.listen(80)) == two.address
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


def test_containers_cannot_speak_for_hosts(lab: Lab) -> None:
    """Frames for a tunnel that come from a container: forged ones to its own host, and through its host, under whose
    address they would arrive, to another."""
    raise_uplink(lab)
    peers = (lab.host.address, lab.machine.address)
    here = network_on(lab.host, peers, 0)
    firewall = lab.host.run(lambda: Firewall("lab"))
    try:
        front = lab.network("front")
        lab.host.run(lambda: firewall.add_networks([here, front]))
        one = lab.container("one", front)
        for target, place in ((lab.host.address, lab.host), (lab.machine.address, lab.machine)):
            # What takes the packet there, if it comes, with nobody's tunnel in the way.
            sink = place.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP))
            place.sockets.append(sink)
            sink.settimeout(0.3)
            sender = one.socket(socket.SOCK_DGRAM)
            for port, expected in ((overlay.PORT, False), (overlay.PORT + 1, True)):
                seen = False
                for _ in range(100 if expected else 3):
                    sender.sendto(b"frame", (target, port))
                    with contextlib.suppress(TimeoutError):
                        packet = sink.recv(512)
                        if packet[22:24] == port.to_bytes(2, "big") and packet.endswith(b"frame"):
                            seen = True
                            break
                assert seen == expected, (target, port)
    finally:
        lab.host.run(firewall.remove)
        firewall.close()


def table_of(network: Network, container_id: str, name: str, address: str) -> NameTable:
    made = NameTable()
    is_six = ":" in address
    endpoint = EndpointNames(
        network_id=network.id,
        network="wide",
        ipv4="" if is_six else f"{address}/16",
        ipv6=f"{address}/64" if is_six else "",
        names=("web", name),
    )
    made.set(container_id, ContainerNames(name=f"{name}-1", endpoints=(endpoint,)))
    return made


@pytest.mark.parametrize(
    ("families", "ranges"),
    [("4", ""), ("6", ""), ("4", "10.90.200.0/24,10.90.7.0/25")],
    ids=["IPv4", "IPv6", "ranges"],
)
def test_names_of_other_hosts(lab: Lab, families: str, ranges: str) -> None:
    raise_uplink(lab)
    peers = (lab.host.address, lab.machine.address)
    here = network_on(lab.host, peers, 0, families, ranges)
    there = network_on(lab.machine, peers, 1, families, ranges)
    one, two = "1" * 64, "2" * 64
    own, other = (str(ipaddress.ip_network(n.pools[0].ip_range)[7]) for n in (here, there))
    sides = {
        "here": (lab.host, here, table_of(here, one, "here", own), one, lab.host.address),
        "there": (lab.machine, there, table_of(there, two, "there", other), two, lab.machine.address),
    }
    kind = 1 if families == "6" else 0
    seen = {side: threading.Event() for side in sides}

    async def exchange(side: str) -> None:
        _, network, table, own, address = sides[side]
        other = "there" if side == "here" else "here"
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(OverlayNames(table).run, network, address)
                while not (
                    (found := table.addresses(own, "web"))
                    and len(found[kind]) == 2
                    and table.addresses(own, other)
                ):
                    await trio.sleep(0.02)
                seen[side].set()
                await trio.to_thread.run_sync(seen[other].wait, 60)
                if side == "there":
                    # What it takes back is known there as well.
                    table.remove(two)
                    table.set(two, ContainerNames(name="new", endpoints=()))
                    while not seen["gone"].is_set():
                        await trio.sleep(0.02)
                else:
                    while table.addresses(own, other):
                        await trio.sleep(0.02)
                    seen["gone"].set()
                nursery.cancel_scope.cancel()
        assert not any(names.is_remote for _, names, _ in table.on_network(network.id))

    seen["gone"] = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        for done in [
            pool.submit(place.run, lambda side=side: trio.run(exchange, side))
            for side, (place, *_) in sides.items()
        ]:
            done.result()


def test_a_host_that_is_none_of_the_peers(lab: Lab) -> None:
    with pytest.raises(InvalidArgument, match="one of the peers has to be an address of this host"):
        network = Network(id=ID, name="wide", driver="overlay", options={"peers": "192.0.2.1,192.0.2.2"})
        overlay.own_address(network, lab.host.run(host_addresses))
