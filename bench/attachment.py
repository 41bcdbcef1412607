"""What a container's place on its network costs, beside the container itself: ``python -m bench.attachment``.

Everything that a start does for it, in order and by the functions that do it: an address, the plan, a published port,
the pair, the host's end in the bridge, and inside: sysctls, address, routes, the resolver's sockets and its
redirection. Not in it: the namespace itself, and the container's procfs, which it has anyway.
"""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from runtime.kernel import mounts, syscalls
from runtime.network import bridge, ipam, sandbox
from runtime.network.firewall import Firewall
from runtime.network.leases import Leases
from runtime.network.model import Network, Pool
from runtime.network.ruleset import Forward

CONTAINERS, SOME = 300, 50
TAG = "bench"


@dataclass
class Cost:
    """Seconds, of one container."""

    cpu: float = 0
    wall: float = 0


@dataclass
class Attachments:
    """One network, and containers on it that stay until the end."""

    network: Network
    firewall: Firewall
    leases: Leases = field(default_factory=Leases)
    descriptors: list[int] = field(default_factory=list)

    def add(self, number: int) -> Cost:
        cost = Cost()
        container_id = f"{number:064x}"
        with measured(cost):
            endpoint = ipam.allocate_endpoint(self.network, container_id, self.leases)
            self.leases.take(endpoint.address4, container_id)
            plan = sandbox.plan_sandbox(container_id, [(self.network, endpoint)])
            self.firewall.publish([Forward("tcp", "127.77.0.1", 20000 + number, endpoint.address4, 80)])
        namespace = threading.Event()
        attached = threading.Event()

        def container() -> None:
            syscalls.unshare(syscalls.CLONE_NEWNET)
            self.descriptors.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            proc = mounts.new_filesystem("proc")
            with measured(cost):
                sandbox.prepare(plan, proc)
            namespace.set()
            attached.wait()
            with measured(cost):
                self.descriptors.extend(sandbox.configure(plan, proc))
            os.close(proc)

        thread = threading.Thread(target=container, daemon=True)
        thread.start()
        namespace.wait()
        netns = self.descriptors[-1]
        with measured(cost):
            sandbox.attach(plan, netns)
        attached.set()
        thread.join()
        return cost


@contextmanager
def measured(cost: Cost) -> Iterator[None]:
    cpu, wall = time.thread_time(), time.perf_counter()
    yield
    cost.cpu += time.thread_time() - cpu
    cost.wall += time.perf_counter() - wall


def measure(containers: int = CONTAINERS) -> list[Cost]:
    """The cost of each of so many containers on one network."""
    network_id = "be" * 32
    pools = ipam.plan_pools(network_id, "bench", [Pool(subnet="10.232.0.0/16")])
    network = Network(id=network_id, name="bench", pools=pools)
    made = Attachments(network, Firewall(TAG))
    bridge.ensure_bridge(network, TAG)
    try:
        made.firewall.add_network(network)
        return [made.add(number) for number in range(containers)]
    finally:
        for descriptor in made.descriptors:
            os.close(descriptor)
        made.firewall.remove()
        made.firewall.close()
        bridge.remove_bridge(network.bridge, TAG)


def main() -> int:
    costs = measure()
    for what, some in (
        (f"the first {SOME}", costs[:SOME]),
        (f"the last {SOME} of {CONTAINERS}", costs[-SOME:]),
    ):
        cpu, wall = (sorted(getattr(one, name) * 1e3 for one in some) for name in ("cpu", "wall"))
        print(
            f"{what}: {statistics.median(cpu):.2f} ms of CPU (at best {cpu[0]:.2f}), "
            f"{statistics.median(wall):.2f} ms (at best {wall[0]:.2f})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
