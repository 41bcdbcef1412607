"""Whoever sends under another's address, or knows the way to a container's own, gets no further than anybody else."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network.firewall import Firewall
from runtime.network.ruleset import Forward
from tests.integration.network.conftest import Place

Lab = Any
MANY = 300
"""Tries, a tenth of a second each: the first ones may be lost, while neighbours are looked for."""
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75  # linux/in.h, linux/in6.h: bind to addresses of others


def add_default_route(gateway: str) -> None:
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        rtnl.execute([rtnetlink.add_route("0.0.0.0/0", gateway=gateway)])


def hears(place: Place, port: int, *, six: bool = False) -> socket.socket:
    made = place.socket(socket.SOCK_DGRAM, socket.AF_INET6 if six else socket.AF_INET)
    made.bind(("::" if six else "0.0.0.0", port))
    made.settimeout(0.1)
    return made


def arrives(
    sender: Place, source: str, listener: socket.socket, target: tuple[str, int], *, tries: int = 2
) -> bool:
    """Whether datagrams from ``sender``, under the address ``source``, come to ``listener``."""
    six = ":" in source
    with sender.socket(socket.SOCK_DGRAM, socket.AF_INET6 if six else socket.AF_INET) as sending:
        if six:
            sending.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
        else:
            sending.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        sending.bind((source, 0))
        for _ in range(tries):
            with contextlib.suppress(TimeoutError):
                sending.sendto(b"forged", target)
                listener.recv(16)
                return True
    return False


def test_forged_sources(lab: Lab, firewall: Firewall) -> None:
    front, back = lab.network("front"), lab.network("back")
    inner = lab.network("inner", internal=True)
    lab.host.run(lambda: firewall.add_networks([front, back, inner]))
    one, two = lab.container("one", front), lab.container("two", back)
    far, hidden, beside = (
        lab.container("far", back),
        lab.container("hidden", inner),
        lab.container("beside", inner),
    )
    at_far, at_hidden = hears(far, 5000), hears(hidden, 5000)
    at_host, outside = hears(lab.host, 5000), hears(lab.machine, 5000)
    one.run(lambda: Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1"))
    # Between networks, as a neighbour of the one there, as its gateway, as the machine outside, as loopback.
    for source in (two.address, back.gateway4, lab.machine.address, "127.0.0.1", one.address):
        assert not arrives(one, source, at_far, (far.address, 5000)), source
    for source in (beside.address, inner.gateway4, lab.machine.address, one.address):
        assert not arrives(one, source, at_hidden, (hidden.address, 5000)), source
    assert arrives(two, two.address, at_far, (far.address, 5000), tries=MANY)
    # The host's own services are not to take a container for the host.
    assert not arrives(one, "127.0.0.1", at_host, (front.gateway4, 5000))
    assert arrives(one, one.address, at_host, (front.gateway4, 5000), tries=MANY)
    # Out of an internal network there is no way under any address, whatever routes are made there.
    hidden.run(lambda: add_default_route(inner.gateway4))
    for source in (hidden.address, one.address, lab.host.address):
        assert not arrives(hidden, source, outside, (lab.machine.address, 5000)), source
    # What leaves a network does so under the host's address, whatever it had.
    with one.socket(socket.SOCK_DGRAM) as sending:
        sending.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        sending.bind(("203.0.113.66", 0))
        for _ in range(MANY):
            sending.sendto(b"forged", (lab.machine.address, 5000))
            with contextlib.suppress(TimeoutError):
                _, (seen, _) = outside.recvfrom(16)
                assert seen == lab.host.address
                break
        else:
            raise AssertionError("nothing leaves")


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_the_way_to_a_container_s_own_address(lab: Lab, firewall: Firewall, six: bool) -> None:
    """A machine outside has a route; one port is published, others are not."""
    network = lab.network("front", enable_ipv6=True)
    inner = lab.network("inner", enable_ipv6=True, internal=True)
    lab.host.run(lambda: firewall.add_networks([network, inner]))
    web, neighbour, hidden = (
        lab.container("web", network),
        lab.container("neighbour", network),
        lab.container("hidden", inner),
    )

    def of(place: Any) -> str:
        return str(place.address6 if six else place.address)

    everywhere = "::" if six else "0.0.0.0"
    lab.host.run(lambda: firewall.publish([Forward("udp", everywhere, 5353, of(web), 5000)]))
    at_web, at_hidden = hears(web, 5000, six=six), hears(hidden, 5000, six=six)
    for source in (of(lab.machine), of(neighbour), of(lab.host)):
        assert not arrives(lab.machine, source, at_web, (of(web), 5000)), source
        assert not arrives(lab.machine, source, at_hidden, (of(hidden), 5000)), source
    assert arrives(lab.machine, of(lab.machine), at_web, (of(lab.host), 5353), tries=MANY)
