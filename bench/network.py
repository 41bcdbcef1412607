"""Networks of composer beside Docker's, in one run, on this machine: traffic, and what it costs to set them up.

    python -m bench.network --docker-compose PATH [--docker-host URL] [--composer PATH] [--runs N]

Needs what ``bench.compare`` needs. The machine from which published ports are called is a network namespace behind a
veth pair. The load generator is the same for both and lives in the containers' network namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from bench import attachment
from bench.compare import Comparison, Row, arguments, both_tools
from bench.measure import ENVIRONMENT, Tool, median_of
from bench.stacks import IMAGE
from bench.traffic import Figures, measure, serving
from runtime.kernel import syscalls
from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network.connect import in_network_namespace

CLONE_NEWNET = 0x40000000
HOST, MACHINE = "198.51.100.1", "198.51.100.2"
LINK = "bench-wire"
PORT = 28080
NETWORKS, CONTAINERS = 200, 300


class NetworkComparison(Comparison):
    """All measurements of networks, in the order of the table."""

    def run(self) -> None:
        print("| what | Docker | composer | ratio | budget | |\n|---|---|---|---|---|---|")
        self._traffic()
        docker, ours = self.both("_networks")
        self.add(Row(f"`network create` and `rm`, each of {NETWORKS}", "ms", docker, ours, None))
        print("\nnetwork of one container (pair, addresses, routes, resolver, rules):")
        attachment.main()
        self._many_containers()

    def _traffic(self) -> None:
        """Both have their containers at the same time and are measured by turns."""
        with contextlib.ExitStack() as stack:
            machine = stack.enter_context(cable())
            stack.enter_context(serving(machine, 80))
            here = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, here)
            ways: dict[str, list[tuple[int, tuple[str, int]]]] = {}
            for number, tool in enumerate((self.docker, self.composer)):
                first, second = stack.enter_context(containers(tool, PORT + number))
                stack.enter_context(serving(second, 80))
                address = address_of(tool, "bench-two")
                for way, client, target in (
                    ("between containers", first, (address, 80)),
                    ("to a published port from another machine", machine, (HOST, PORT + number)),
                    ("to a published port on 127.0.0.1", here, ("127.0.0.1", PORT + number)),
                    ("outwards", first, (MACHINE, 80)),
                ):
                    ways.setdefault(way, []).append((client, target))
            for way, pair in ways.items():
                rounds = [[measure(*one) for one in pair] for _ in range(self.runs)]
                docker, ours = (
                    Figures(*map(statistics.median, zip(*found, strict=True)))
                    for found in zip(*rounds, strict=True)
                )
                self._add_figures(way, docker, ours)

    def _add_figures(self, way: str, docker: Figures, ours: Figures) -> None:
        rows = (
            Row(f"{way}: throughput", "Gbit/s", docker.gigabits, ours.gigabits, 0.9, more_is_better=True),
            Row(f"{way}: there and back", "us", docker.microseconds, ours.microseconds, None),
            Row(f"{way}: connections", "per s", docker.connections, ours.connections, None),
        )
        for row in rows:
            self.add(row)

    def _networks(self, tool: Tool) -> float:
        """Milliseconds that a network takes to be made and removed, the command among it, while there are many."""
        names = [f"bench-{number}" for number in range(NETWORKS)]
        begun = time.perf_counter()
        made = []
        try:
            for number, name in enumerate(names):
                # Docker's own pool ends at 31 networks.
                tool.call(network_words(tool), "create", "--subnet", f"10.231.{number}.0/24", name)
                made.append(name)
        finally:
            tool.call(network_words(tool), "rm", *made)
        return (time.perf_counter() - begun) / NETWORKS * 1e3

    def _many_containers(self) -> None:
        """Composer alone: Docker takes minutes."""
        directory = self.room / "many"
        directory.mkdir()
        (directory / "compose.yaml").write_text(
            f"services:\n  one:\n    image: {IMAGE}\n    command: [sleep, infinity]\n"
            f"    stop_grace_period: 0s\n    scale: {CONTAINERS}\n",
            encoding="ascii",
        )
        tool = self.composer
        up = tool.call(tool.compose, "up", "-d", cwd=directory)
        words = ("exec", "-T", "one", "nslookup", "one")
        lookup = median_of(5, lambda: tool.call(tool.compose, *words, cwd=directory))
        down = tool.call(tool.compose, "down", "-t", "0", cwd=directory)
        print(
            f"\n{CONTAINERS} containers on one network: `up -d` {up:.2f} s ({up / CONTAINERS * 1e3:.1f} ms each), "
            f"`exec` of a lookup of all of them {lookup * 1e3:.0f} ms, `down` {down:.2f} s"
        )


def network_words(tool: Tool) -> tuple[str, ...]:
    return ("docker", "network") if tool.name == "docker" else (tool.container[0], "network")


def inspected(tool: Tool, name: str, template: str) -> str:
    done = subprocess.run(
        [*tool.container, "inspect", "-f", template, name],
        env={**ENVIRONMENT, **tool.environment},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout.strip()


def address_of(tool: Tool, name: str) -> str:
    return inspected(tool, name, "{{.NetworkSettings.Networks.bench.IPAddress}}")


@contextlib.contextmanager
def containers(tool: Tool, port: int) -> Iterator[tuple[int, int]]:
    """Two containers on one network, the second with a published port: descriptors of their namespaces."""
    tool.call(network_words(tool), "create", "bench")
    opened = []
    try:
        for name, words in (("bench-one", ()), ("bench-two", ("-p", f"{port}:80"))):
            given = ("--name", name, "--network", "bench", *words)
            tool.call(tool.container, "run", "-d", *given, IMAGE, "sleep", "infinity")
            pid = inspected(tool, name, "{{.State.Pid}}")
            opened.append(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        yield opened[0], opened[1]
    finally:
        for netns in opened:
            os.close(netns)
        tool.call(tool.container, "rm", "-f", "bench-one", "bench-two")
        tool.call(network_words(tool), "rm", "bench")


def new_namespace() -> int:
    """Descriptor of a fresh network namespace."""
    made: list[int] = []

    def make() -> None:
        syscalls.unshare(CLONE_NEWNET)
        made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


@contextlib.contextmanager
def cable() -> Iterator[int]:
    """Another machine: the descriptor of a network namespace with a wire to this one."""
    machine = new_namespace()
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        rtnl.execute([rtnetlink.create_veth(LINK, peer="wire", peer_netns=machine)])
        index = socket.if_nametoindex(LINK)
        rtnl.execute([rtnetlink.add_address(index, f"{HOST}/24"), rtnetlink.set_link_up(index)])

    def other_end() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            index = socket.if_nametoindex("wire")
            requests = [rtnetlink.set_link_up(1), rtnetlink.set_link_up(index)]
            rtnl.execute([*requests, rtnetlink.add_address(index, f"{MACHINE}/24")])

    try:
        in_network_namespace(machine, other_end)
        yield machine
    finally:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.delete_link(name=LINK)])
        os.close(machine)


def main() -> int:
    given = arguments((__doc__ or "").split("\n")[0])
    busybox = shutil.which("busybox")
    if busybox is None:
        print("bench needs busybox: apt-get install busybox-static", file=sys.stderr)
        return 2
    with both_tools(given, busybox) as (docker, composer, room):
        NetworkComparison(docker, composer, room, given.runs).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
