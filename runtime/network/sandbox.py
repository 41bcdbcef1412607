"""A container's network namespace: what it is to hold (a plan, plain data) and the two halves that make it
so.

``plan_sandbox`` decides in the core. :class:`HostHalf` begins in the host's network namespace, ``configure`` runs
inside the new one: both in the container's first process, which goes from one to the other. They read only the
plan. Standard library only, and nothing imported late: it is a fork of the keeper.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from runtime.kernel.netlink import nftables, rtnetlink
from runtime.kernel.netlink.message import Request
from runtime.kernel.netlink.transport import (
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    NETLINK_SOCK_DIAG,
    NetlinkError,
    NetlinkSocket,
)
from runtime.kernel.sysctls import path_of as sysctl_path

if TYPE_CHECKING:
    from runtime.network.model import Endpoint, Network

RESOLVER_ADDRESS = "127.0.0.11"
"""Docker's, so that images which know it keep working."""
RESOLVER_TABLE = "composer_resolver"
DISMANTLING_CHECKS = 100
"""Times 20 ms that a MAC may still be in use by the container's last namespace."""

DEFAULT_SYSCTLS = {
    # Ports below 1024 and ping without capabilities, as in Docker: the namespace is the container's own.
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}


class SandboxEndpoint(TypedDict):
    """One interface. Addresses and routes are prefixes, ``address/length``."""

    network: str
    kind: str
    """``veth`` into a bridge, or ``macvlan`` or ``ipvlan`` on a parent."""
    bridge: str
    """The bridge or the parent."""
    mode: str
    """Of a macvlan or ipvlan."""
    flag: str
    """Of an ipvlan: whom it reaches on its parent, "" for the kernel's own choice."""
    host_ifname: str
    """The host's end of a pair."""
    name: str
    mac: str
    mtu: int
    addresses: list[str]
    gateways: list[str]
    """Next hops of default routes through this interface: at most one IPv4 and one IPv6 address."""
    routes: list[list[str]]
    """[destination, gateway or ""]."""
    sysctls: dict[str, str]
    isolated: bool
    """Not to be reached from other containers of the network (``enable_icc: false``)."""


class Sandbox(TypedDict):
    """The plan as it travels in the LaunchSpec (JSON)."""

    mode: str
    """``bridge`` (own namespace), ``none`` (own, loopback only), ``host``, ``container`` (another one's)."""
    endpoints: list[SandboxEndpoint]
    resolver: bool
    sysctls: dict[str, str]
    inherited: dict[str, str]
    """Sysctls that are set before there are interfaces, which take them over when they come."""
    descriptors: list[str]
    """What ``configure`` returns, in order: of ``udp``, ``tcp``, ``sock_diag``."""


def host_interface(container_id: str, network_id: str) -> str:
    """Name of the host's end of a container's veth pair in a network."""
    # Late: the keeper and its forks carry this module, and never get here; OpenSSL is a megabyte.
    import hashlib

    digest = hashlib.sha256(f"{container_id} {network_id}".encode()).hexdigest()
    return f"cmv{digest[:11]}"


def plan_sandbox(
    container_id: str,
    endpoints: Sequence[tuple[Network, Endpoint]] = (),
    *,
    mode: str = "bridge",
    sysctls: Mapping[str, str] | None = None,
    resolver: bool = True,
) -> Sandbox:
    """Decide a container's sandbox.

    Interfaces are ``eth0`` on in the order of falling ``priority``, then as given. The default routes go
    through the endpoint with the highest ``gw_priority`` that has a gateway of that family (then the first
    network by name, as in Docker). ``sysctls`` are the container's own, of which those below ``net.`` are
    applied here.
    """
    own = {key: value for key, value in (sysctls or {}).items() if key.replace("/", ".").startswith("net.")}
    if mode not in ("bridge", "none"):
        return Sandbox(
            mode=mode, endpoints=[], resolver=False, sysctls={}, inherited={}, descriptors=["sock_diag"]
        )
    ordered = sorted(endpoints, key=lambda pair: -pair[1].priority) if mode == "bridge" else []
    gateways = default_gateways(ordered)
    taken = {endpoint.interface_name for _, endpoint in ordered if endpoint.interface_name}
    planned = []
    for network, endpoint in ordered:
        name = endpoint.interface_name or next_interface_name(taken, network.interface_prefix)
        taken.add(name)
        through = [gateway for network_id, gateway in gateways if network_id == network.id]
        planned.append(plan_endpoint(container_id, network, endpoint, name, through))
    # Also when it is on no network yet: it may join one while it runs.
    has_resolver = resolver and mode == "bridge"
    inherited: dict[str, str] = {}
    if planned and not any(endpoint.ipv6 for _, endpoint in ordered):
        # Switching IPv6 off for an interface that is there needs the kernel's one lock over all links, for which
        # the writer spins; a default needs none.
        inherited = {"net.ipv6.conf.default.disable_ipv6": "1"}
        for plan in planned:
            plan["sysctls"] = {
                key: value for key, value in plan["sysctls"].items() if not key.endswith(".disable_ipv6")
            }
    return Sandbox(
        mode=mode,
        endpoints=planned,
        resolver=has_resolver,
        sysctls={**DEFAULT_SYSCTLS, **own},
        inherited=inherited,
        descriptors=["udp", "tcp", "sock_diag"] if has_resolver else ["sock_diag"],
    )


def plan_endpoint(
    container_id: str, network: Network, endpoint: Endpoint, name: str, gateways: Sequence[str]
) -> SandboxEndpoint:
    """One interface of a plan, also for connecting a running container."""
    addresses = [prefix for prefix in (endpoint.ipv4, endpoint.ipv6) if prefix]
    addresses += [address if "/" in address else f"{address}/16" for address in endpoint.link_local]
    base = f"net.ipv6.conf.{name.replace('.', '/')}"
    if endpoint.ipv6:
        # The address is ours by allocation: no duplicate detection, and no routes from whoever advertises
        # them.
        sysctls = {f"{base}.accept_dad": "0", f"{base}.accept_ra": "0"}
    else:
        sysctls = {f"{base}.disable_ipv6": "1"}
    return SandboxEndpoint(
        network=network.id,
        kind=network.driver if network.is_direct else "veth",
        bridge=network.parent if network.is_direct else network.bridge,
        mode=network.link_mode if network.is_direct else "",
        flag=network.link_flag,
        host_ifname=host_interface(container_id, network.id),
        name=name,
        mac=endpoint.mac,
        mtu=network.mtu,
        addresses=addresses,
        gateways=list(gateways),
        routes=[],
        sysctls={
            **sysctls,
            **{
                key.replace(".IFNAME.", f".{name.replace('.', '/')}."): value
                for key, value in endpoint.sysctls.items()
            },
        },
        isolated=not network.has_icc,
    )


def next_interface_name(taken: Iterable[str], prefix: str = "eth") -> str:
    """The first of ``eth0``, ``eth1`` ... that is not taken."""
    names = set(taken)
    number = 0
    while f"{prefix}{number}" in names:
        number += 1
    return f"{prefix}{number}"


def default_gateways(endpoints: Iterable[tuple[Network, Endpoint]]) -> list[tuple[str, str]]:
    """(network id, next hop) of the default routes: one IPv4, one IPv6, each if some endpoint has it."""
    ranked = sorted(endpoints, key=lambda pair: (-pair[1].gw_priority, pair[0].name))
    chosen = []
    for family in ("ipv4", "ipv6"):
        for network, endpoint in ranked:
            address = endpoint.address4 if family == "ipv4" else endpoint.address6
            gateway = network.gateway_of(address) if address and not network.internal else ""
            if gateway:
                chosen.append((network.id, gateway))
                break
    return chosen


# Effects: the host's half.


class HostHalf:
    """Makes pairs and links for a container's network namespace. To be made in the host's, whose socket and facts it
    keeps: :meth:`attach` also works from the namespace that the caller has entered meanwhile."""

    def __init__(self, sandbox: Sandbox | dict[str, Any]) -> None:
        """Raises OSError for a bridge or a parent that is gone."""
        self._endpoints: list[SandboxEndpoint] = sandbox["endpoints"]
        self._links = {endpoint["bridge"]: _index_of(endpoint) for endpoint in self._endpoints}
        self._is_filtered = bool(self._endpoints) and is_bridge_filtered()
        self._rtnl = NetlinkSocket(NETLINK_ROUTE) if self._endpoints else None

    def attach(self, netns: int) -> None:
        """Create the veth pairs, one message each: the host's end up and in its bridge, the other end in the network
        namespace of the descriptor ``netns``. Closes the socket.

        Raises :class:`NetlinkError` or OSError naming what failed; pairs made by then go with the namespace.
        """
        if self._rtnl is None:
            return
        links = [self._link(endpoint, netns) for endpoint in self._endpoints]
        with self._rtnl as rtnl:
            try:
                rtnl.execute(links)
            except NetlinkError as error:
                if error.errno != errno.EEXIST:
                    raise
                # The kernel takes namespaces apart some time after they have ended: this container's last one is
                # still there, and so are its pairs.
                names = [endpoint["host_ifname"] for endpoint in self._endpoints]
                rtnl.execute([rtnetlink.delete_link(name=name, ignore=(errno.ENODEV,)) for name in names])
                rtnl.execute(links)
            rtnl.execute(self._port_flags(rtnl))

    def _link(self, endpoint: SandboxEndpoint, netns: int) -> Request:
        make = veth if endpoint["kind"] == "veth" else _child_link
        return make(endpoint, self._links[endpoint["bridge"]], netns)

    def _port_flags(self, rtnl: NetlinkSocket) -> list[Request]:
        """Of bridges' ports, where the defaults will not do."""
        return [
            port_flags(endpoint, rtnl.index_of(endpoint["host_ifname"]), is_filtered=self._is_filtered)
            for endpoint in self._endpoints
            if endpoint["kind"] == "veth" and (self._is_filtered or endpoint["isolated"])
        ]


def attach(sandbox: Sandbox | dict[str, Any], netns: int) -> None:
    """:class:`HostHalf` of somebody who stays in the host's network namespace."""
    HostHalf(sandbox).attach(netns)


def _index_of(endpoint: SandboxEndpoint) -> int:
    try:
        return socket.if_nametoindex(endpoint["bridge"])
    except OSError as error:
        kind = "bridge" if endpoint["kind"] == "veth" else "parent link"
        raise OSError(errno.ENODEV, f"{kind} {endpoint['bridge']} is gone") from error


def port_flags(endpoint: SandboxEndpoint, index: int, *, is_filtered: bool) -> Request:
    """The flags of the bridge's port ``index``.

    Where bridged packets pass the firewall, the kernel bridges what was sent to a port published by the same network
    instead of routing it: then a container that calls itself needs its port to be a hairpin, and isolated ports would
    lose calls of a neighbour (there the rules keep containers apart)."""
    is_isolated = endpoint["isolated"] and not is_filtered
    return rtnetlink.set_bridge_port(index, hairpin=is_filtered, isolated=is_isolated)


def veth(endpoint: SandboxEndpoint, bridge: int, netns: int) -> Request:
    return rtnetlink.create_veth(
        endpoint["host_ifname"],
        peer=endpoint["name"],
        peer_netns=netns,
        master=bridge,
        peer_mac=endpoint["mac"],
        mtu=endpoint["mtu"],
    )


def _child_link(endpoint: SandboxEndpoint, parent: int, netns: int) -> Request:
    return rtnetlink.create_child_link(
        endpoint["name"],
        endpoint["kind"],
        parent=parent,
        netns=netns,
        mode=endpoint["mode"],
        flag=endpoint["flag"],
        mac=endpoint["mac"],
        mtu=endpoint["mtu"],
        group=child_link_group(endpoint["host_ifname"]),
    )


def child_link_group(host_ifname: str) -> int:
    """The number by which a macvlan or ipvlan is found again: it has no end on the host."""
    return int(host_ifname[3:11], 16) & 0x7FFFFFFF | 1


def is_bridge_filtered() -> bool:
    """Whether packets that are only bridged pass the firewall too (br_netfilter)."""
    try:
        descriptor = os.open("/proc/sys/net/bridge/bridge-nf-call-iptables", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(descriptor, 8).strip() == b"1"
    finally:
        os.close(descriptor)


def detach(host_ifname: str) -> None:
    """Delete the host's end of a pair, and with it the container's. No error when it is gone."""
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        rtnl.execute([rtnetlink.delete_link(name=host_ifname, ignore=(errno.ENODEV,))])


# Effects: the container's half.


def prepare(sandbox: Sandbox | dict[str, Any], proc: int) -> None:
    """In the fresh namespace, before it has interfaces: what they are to inherit."""
    write_sysctls(proc, sandbox.get("inherited") or {})


def configure(sandbox: Sandbox | dict[str, Any], proc: int | None = None) -> list[int]:
    """Set up the network namespace that the caller is in: loopback, addresses, routes, sysctls, resolver
    sockets.

    ``proc`` is a directory descriptor of a /proc (None: the host's is opened). Best it is the container's own: in the
    host's, the kernel looks the same path up among those of all network namespaces. Returns descriptors as
    ``sandbox["descriptors"]`` names them: the resolver's UDP and TCP sockets, to be served by the core, and a
    sock_diag socket of this namespace. Raises NetlinkError or OSError naming the step.
    """
    if sandbox["mode"] in ("bridge", "none"):
        opened = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if proc is None else proc
        try:
            for endpoint in sandbox["endpoints"]:
                write_sysctls(opened, endpoint["sysctls"])
            with NetlinkSocket(NETLINK_ROUTE) as rtnl:
                for endpoint in sandbox["endpoints"]:
                    if endpoint["kind"] == "macvlan":
                        _raise_macvlan(rtnl, socket.if_nametoindex(endpoint["name"]))
                requests = [rtnetlink.set_link_up(1)]  # lo is the first link of every namespace
                for endpoint in sandbox["endpoints"]:
                    requests += interface(endpoint, socket.if_nametoindex(endpoint["name"]))
                rtnl.execute(requests)
            write_sysctls(opened, sandbox.get("sysctls") or {})
        finally:
            if proc is None:
                os.close(opened)
    descriptors = list(open_resolver()) if sandbox["resolver"] else []
    descriptors.append(NetlinkSocket(NETLINK_SOCK_DIAG).detach())
    return descriptors


def _raise_macvlan(rtnl: NetlinkSocket, index: int) -> None:
    """Up, when the namespace that had the same MAC on the same parent before has been taken apart."""
    for _ in range(DISMANTLING_CHECKS):
        try:
            rtnl.execute([rtnetlink.set_link_up(index)])
        except NetlinkError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            time.sleep(0.02)
        else:
            return
    rtnl.execute([rtnetlink.set_link_up(index)])


def interface(endpoint: SandboxEndpoint, index: int) -> list[Request]:
    """Addresses, state and routes of the link ``index``."""
    requests = [rtnetlink.add_address(index, prefix) for prefix in endpoint["addresses"]]
    requests.append(rtnetlink.set_link_up(index))
    for gateway in endpoint["gateways"]:
        default = "::/0" if ":" in gateway else "0.0.0.0/0"
        requests.append(rtnetlink.add_route(default, gateway=gateway, index=index))
    for destination, gateway in endpoint["routes"]:
        requests.append(rtnetlink.add_route(destination, gateway=gateway, index=index))
    return requests


def write_sysctls(proc: int, values: Mapping[str, str]) -> None:
    """Write sysctls of the caller's namespaces through the directory descriptor of a /proc.

    What the kernel was built without (IPv6) is passed over when it only concerns IPv6; any other failure raises
    OSError naming the sysctl.
    """
    for key, value in values.items():
        path = "sys/" + sysctl_path(key)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=proc)
            try:
                os.write(descriptor, value.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno == errno.ENOENT and key.startswith("net.ipv6."):
                continue
            raise OSError(error.errno, f"sysctl {key}={value}: {error.strerror}") from error


def open_resolver(*, again: bool = False) -> tuple[int, int]:
    """UDP and TCP sockets of one port on 127.0.0.11, to which port 53 of that address is redirected in this
    namespace, so that the port itself stays free for a name server of the container's own. ``again``: it may have been
    redirected before."""
    for _ in range(16):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            udp.bind((RESOLVER_ADDRESS, 0))
            port = udp.getsockname()[1]
            tcp.bind((RESOLVER_ADDRESS, port))
            tcp.listen(32)
            _redirect_resolver(port, again=again)
        except OSError as error:
            udp.close()
            tcp.close()
            if error.errno == errno.EADDRINUSE and not isinstance(error, NetlinkError):
                continue
            raise
        return udp.detach(), tcp.detach()
    raise OSError(errno.EADDRINUSE, f"no free port for the resolver on {RESOLVER_ADDRESS}")


_REDIRECTED = [
    nftables.payload(nftables.NFT_PAYLOAD_NETWORK_HEADER, 16, 4),
    nftables.compare(socket.inet_aton(RESOLVER_ADDRESS)),
    nftables.payload(nftables.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
    nftables.compare(struct.pack("!H", 53)),
]
_REDIRECTION = nftables.dnat(nftables.NFPROTO_IPV4, port=nftables.REGISTER)
_TABLE = nftables.add_table(nftables.NFPROTO_IPV4, RESOLVER_TABLE)
_CHAIN = nftables.add_chain(
    nftables.NFPROTO_IPV4,
    RESOLVER_TABLE,
    "output",
    kind="nat",
    hook=nftables.NF_INET_LOCAL_OUT,
    priority=-100,
)
_BEGINNING = nftables.begin()
_ENDING = nftables.end()
"""Made once, by the keeper, for all that it forks."""


def redirect_resolver(port: int) -> list[Request]:
    """The rules that redirect port 53 of the resolver's address to ``port``, to be transacted."""
    expressions = [*_REDIRECTED, nftables.immediate(struct.pack("!H", port)), _REDIRECTION]
    rule = nftables.add_rule(nftables.NFPROTO_IPV4, RESOLVER_TABLE, "output", expressions)
    return [_BEGINNING, _TABLE, _CHAIN, rule, _ENDING]


def _redirect_resolver(port: int, *, again: bool) -> None:
    first, *others = redirect_resolver(port)
    with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
        before = [_TABLE, nftables.delete_table(nftables.NFPROTO_IPV4, RESOLVER_TABLE)] if again else []
        netfilter.transact([first, *before, *others])
