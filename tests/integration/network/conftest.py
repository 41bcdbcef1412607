"""A laboratory for networks: a "host" in a network namespace of its own, containers on its bridges, and
another machine behind a cable. Whatever a test makes lives in these namespaces and goes with them."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from runtime.kernel import syscalls
from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network import bridge, ipam, sandbox
from runtime.network.connect import in_network_namespace
from runtime.network.firewall import Firewall
from runtime.network.leases import Leases
from runtime.network.model import Endpoint, Network, Pool

CLONE_NEWNET = 0x40000000
HOST_ADDRESS = "198.51.100.1"
MACHINE_ADDRESS = "198.51.100.2"
HOST_ADDRESS6 = "2001:db8:5::1"
MACHINE_ADDRESS6 = "2001:db8:5::2"

T = TypeVar("T")


def new_namespace() -> int:
    """Descriptor of a fresh network namespace, with loopback up."""
    made: list[int] = []

    def make() -> None:
        syscalls.unshare(CLONE_NEWNET)
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.set_link_up(1)])
        made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


@dataclass
class Place:
    """A network namespace to open sockets in."""

    netns: int
    address: str = ""
    address6: str = ""
    sockets: list[socket.socket] = field(default_factory=list)

    def run(self, function: Callable[[], T]) -> T:
        return in_network_namespace(self.netns, function)

    def socket(self, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET) -> socket.socket:
        made = self.run(lambda: socket.socket(family, kind))
        made.settimeout(30.0)
        self.sockets.append(made)
        return made

    def listen(self, port: int, address: str = "0.0.0.0") -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = self.socket(socket.SOCK_STREAM, family)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen()
        made.settimeout(30.0)
        return made

    def reaches(
        self, target: tuple[str, int], listener: socket.socket, *, timeout: float = 30.0
    ) -> str | None:
        """Connect to ``target``; the address that ``listener`` sees the client as, or None if it cannot."""
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        client = self.socket(socket.SOCK_STREAM, family)
        client.settimeout(timeout)
        try:
            client.connect(target)
        except OSError:
            client.close()  # or it goes on asking, and is the one that the listener takes next
            return None
        server, peer = listener.accept()
        with server:
            server.settimeout(timeout)
            client.sendall(b"ping")
            assert server.recv(16) == b"ping"
            server.sendall(b"pong")
            assert client.recv(16) == b"pong"
        client.close()
        return str(peer[0])

    def close(self) -> None:
        for made in self.sockets:
            made.close()
        os.close(self.netns)


@dataclass
class Container(Place):
    id: str = ""
    plan: dict[str, Any] = field(default_factory=dict)
    descriptors: list[int] = field(default_factory=list)
    endpoints: list[tuple[Network, Endpoint]] = field(default_factory=list)

    def close(self) -> None:
        for descriptor in self.descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        super().close()


class Lab:
    """The host, the machine behind the cable, and what tests add."""

    def __init__(self) -> None:
        self.host = Place(new_namespace(), HOST_ADDRESS, HOST_ADDRESS6)
        self.machine = Place(new_namespace(), MACHINE_ADDRESS, MACHINE_ADDRESS6)
        self.containers: list[Container] = []
        self.networks: dict[str, Network] = {}
        self._leases: dict[str, Leases] = {}

        def cable() -> None:
            with NetlinkSocket(NETLINK_ROUTE) as rtnl:
                rtnl.execute([rtnetlink.create_veth("uplink", peer="wire", peer_netns=self.machine.netns)])
                index = socket.if_nametoindex("uplink")
                rtnl.execute(
                    [
                        rtnetlink.add_address(index, f"{HOST_ADDRESS}/24"),
                        rtnetlink.add_address(index, f"{HOST_ADDRESS6}/64"),
                    ]
                )

        def other_end() -> None:
            with NetlinkSocket(NETLINK_ROUTE) as rtnl:
                index = socket.if_nametoindex("wire")
                rtnl.execute(
                    [
                        rtnetlink.set_link_up(index),
                        rtnetlink.add_address(index, f"{MACHINE_ADDRESS}/24"),
                        rtnetlink.add_address(index, f"{MACHINE_ADDRESS6}/64"),
                        # The attacker's routes: everything goes to the host, whatever the host thinks of it.
                        rtnetlink.add_route("172.16.0.0/12", gateway=HOST_ADDRESS),
                        rtnetlink.add_route("fd00::/8", gateway=HOST_ADDRESS6, index=index),
                    ]
                )

        self.host.run(cable)
        self.machine.run(other_end)

    def network(self, name: str, **fields: Any) -> Network:
        network_id = name.encode().hex().ljust(64, "0")
        pools: tuple[Pool, ...] = ipam.plan_pools(
            network_id,
            name,
            fields.pop("pools", ()),
            enable_ipv4=fields.get("enable_ipv4", True),
            enable_ipv6=fields.get("enable_ipv6", False),
            networks={n.name: [p.subnet for p in n.pools] for n in self.networks.values()},
        )
        network = Network(id=network_id, name=name, pools=pools, **fields)
        self.host.run(lambda: bridge.ensure_bridge(network, "lab"))
        self.networks[name] = network
        return network

    def container(self, name: str, *networks: Network, **fields: Any) -> Container:
        container_id = name.encode().hex().ljust(64, "0")
        endpoints = []
        for network in networks:
            leases = self._leases.setdefault(network.id, Leases())
            endpoint = ipam.allocate_endpoint(network, container_id, leases)
            for address in filter(None, (endpoint.address4, endpoint.address6)):
                leases.take(address, container_id)
            endpoints.append((network, endpoint))
        plan = sandbox.plan_sandbox(container_id, endpoints, **fields)
        netns = new_namespace()
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        in_network_namespace(netns, lambda: sandbox.prepare(plan, proc))
        os.close(proc)
        self.host.run(lambda: sandbox.attach(plan, netns))
        descriptors = in_network_namespace(netns, lambda: sandbox.configure(plan))
        first = endpoints[0][1] if endpoints else Endpoint(network_id="")
        container = Container(
            netns, first.address4, first.address6, [], container_id, dict(plan), descriptors, endpoints
        )
        self.containers.append(container)
        return container

    def close(self) -> None:
        for place in (*self.containers, self.machine, self.host):
            place.close()


BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@pytest.fixture(params=["bridged packets filtered", "bridged packets not filtered"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Twice: with br_netfilter (as where a Docker runs) and without."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and nf_tables")
    is_filtered = request.param == "bridged packets filtered"
    if is_filtered and not BRIDGE_FILTER.exists():
        pytest.skip("needs the kernel module br_netfilter")
    made = Lab()
    if BRIDGE_FILTER.exists():
        made.host.run(lambda: BRIDGE_FILTER.write_text("1" if is_filtered else "0"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def firewall(lab: Lab) -> Iterator[Firewall]:
    """An engine's rules on the laboratory's host."""
    made = lab.host.run(lambda: Firewall("lab"))
    yield made
    lab.host.run(made.remove)
    made.close()
