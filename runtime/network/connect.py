"""Connecting a running container to a network, and disconnecting it: what the core does to a namespace that
lives."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from runtime.kernel import syscalls
from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network.model import DIRECT_DRIVERS
from runtime.network.sandbox import Sandbox, SandboxEndpoint, attach, child_link_group, configure, detach

_CLONE_NEWNET = 0x40000000

Result = TypeVar("Result")


def in_network_namespace(netns: int, function: Callable[[], Result]) -> Result:
    """Run ``function`` in the network namespace of the descriptor ``netns``, in a thread that ends with it.

    Sockets that it opens stay in that namespace. Blocks; raises what ``function`` raises.
    """
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def enter() -> None:
        try:
            syscalls.setns(netns, _CLONE_NEWNET)
            outcome.append(function())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=enter, name="network namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def interface_names(netns: int) -> frozenset[str]:
    """The links in the network namespace of the descriptor ``netns``."""
    return in_network_namespace(netns, lambda: frozenset(name for _, name in socket.if_nameindex()))


def connect_endpoint(netns: int, endpoint: SandboxEndpoint, gateways: Sequence[str]) -> None:
    """Give a running container one more interface. ``gateways`` are the default routes it has from then on
    (of ``sandbox.default_gateways`` over all its endpoints). A few milliseconds; undone as a whole if it
    fails.

    Raises OSError naming the step.
    """
    sysctls = dict(endpoint["sysctls"])
    if any(":" in address for address in endpoint["addresses"]):
        # A container without IPv6 until now has it switched off by default.
        sysctls = {f"net.ipv6.conf.{endpoint['name'].replace('.', '/')}.disable_ipv6": "0", **sysctls}
    plan = Sandbox(
        mode="bridge",
        endpoints=[{**endpoint, "gateways": [], "sysctls": sysctls}],
        resolver=False,
        sysctls={},
        inherited={},
        descriptors=["sock_diag"],
    )
    attach(plan, netns)

    def inside() -> None:
        for descriptor in configure(plan):
            os.close(descriptor)
        _set_default_routes(gateways)

    try:
        in_network_namespace(netns, inside)
    except BaseException:
        detach(endpoint["host_ifname"])
        raise


def disconnect_endpoint(netns: int, host_ifname: str, gateways: Sequence[str]) -> None:
    """Take an interface away, named by the host's end (that a macvlan would have), and set what default routes
    remain."""
    detach(host_ifname)

    def inside() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            links = [rtnetlink.decode_link(reply) for reply in rtnl.query(rtnetlink.dump_links())]
            group = child_link_group(host_ifname)
            for link in links:
                if link.group == group and link.kind in DIRECT_DRIVERS:
                    rtnl.execute([rtnetlink.delete_link(index=link.ifindex, ignore=(errno.ENODEV,))])
        _set_default_routes(gateways)

    in_network_namespace(netns, inside)


def _set_default_routes(gateways: Sequence[str]) -> None:
    absent = (errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EAFNOSUPPORT, errno.EOPNOTSUPP)
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        for default, mark in (("0.0.0.0/0", "."), ("::/0", ":")):
            wanted = next((gateway for gateway in gateways if mark in gateway), "")
            if wanted and mark == ".":
                rtnl.execute([rtnetlink.add_route(default, gateway=wanted, replace=True)])
                continue
            rtnl.execute([rtnetlink.delete_route(default, ignore=absent)])
            if wanted:
                rtnl.execute([rtnetlink.add_route(default, gateway=wanted)])
