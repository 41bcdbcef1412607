"""A container's network namespace as system calls (``runtime.kernel.script``) of its first process: what
``runtime.network.sandbox`` does there, for bridges and for none.

Two containers whose plans have the same :attr:`Network.shape` have the same calls; only the :attr:`Network.pieces` that
these point to are each one's own.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from runtime.kernel import sockets, syscalls
from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.message import NLM_F_ACK, Request, encode
from runtime.kernel.netlink.transport import (
    NETLINK_CAP_ACK,
    NETLINK_EXT_ACK,
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    NETLINK_SOCK_DIAG,
    SIOCGIFINDEX,
    SOL_NETLINK,
)
from runtime.kernel.script import Script
from runtime.kernel.sysctls import path_of as sysctl_path
from runtime.network import sandbox
from runtime.network.sandbox import SandboxEndpoint

_INDEX_IN_MESSAGE = 20
"""Where the number of a link stands in messages about links and addresses: behind the header, in the fifth byte."""
_IFREQ_SIZE, _INDEX_IN_IFREQ = 40, 16
"""``struct ifreq``, netdevice(7)."""
_ERROR_IN_ANSWER, _SEQUENCE_IN_ANSWER, _ANSWER = 16, 8, 4096
_BACKLOG = 32
_PORTS = (32_768, 61_000)
"""One of these, which the kernel gives to who asks for none, is the resolver's: nobody else is there yet."""


class NotWritable(Exception):
    """It has to be done the other way."""


class _Batch(NamedTuple):
    """Requests in one datagram."""

    data: bytes
    last: int
    """The sequence number that is answered."""
    places: tuple[tuple[int, int], ...]
    """(offset, endpoint): where a link's number is to be put when it is known."""


def _batch(requests: Sequence[tuple[Request, int, int]], first: int) -> _Batch:
    """Of (request, offset of a link's number from the beginning or the end, endpoint; 0 for none)."""
    data, places = b"", []
    last = first + len(requests) - 1
    for sequence, (request, where, endpoint) in enumerate(requests, first):
        encoded = encode(request, sequence, NLM_F_ACK if sequence == last else 0)
        if where:
            places.append((len(data) + (where if where > 0 else len(encoded) + where), endpoint))
        data += encoded
    return _Batch(data, last, tuple(places))


class Network:
    """One container's."""

    def __init__(
        self,
        plan: Mapping[str, Any],
        links: Mapping[str, int],
        *,
        is_filtered: bool,
        netns: int,
        is_again: bool = False,
    ) -> None:
        """``links``: numbers of the bridges; ``is_filtered``: ``sandbox.is_bridge_filtered``; ``netns``: the
        descriptor that the namespace will have; ``is_again``: the kernel may not have taken the container's last
        namespace apart, and still have its pairs. Raises NotWritable."""
        self._plan = plan
        self._is_new = plan["mode"] in ("bridge", "none")
        self._endpoints: list[SandboxEndpoint] = plan["endpoints"]
        if any(endpoint["kind"] != "veth" for endpoint in self._endpoints):
            raise NotWritable
        pairs = [
            (sandbox.veth(endpoint, links[endpoint["bridge"]], netns), 0, 0) for endpoint in self._endpoints
        ]
        ports = [
            (sandbox.port_flags(endpoint, 0, is_filtered=is_filtered), _INDEX_IN_MESSAGE, number)
            for number, endpoint in enumerate(self._endpoints)
            if is_filtered or endpoint["isolated"]
        ]
        inside = [(rtnetlink.set_link_up(1), 0, 0)]
        for number, endpoint in enumerate(self._endpoints):
            for request in sandbox.interface(endpoint, 1):
                is_route = request.type == rtnetlink.RTM_NEWROUTE
                inside.append((request, -4 if is_route else _INDEX_IN_MESSAGE, number))
        names = [endpoint["host_ifname"] for endpoint in self._endpoints] if is_again else []
        self._left = _batch([(rtnetlink.delete_link(name=name), 0, 0) for name in names], 1)
        self._links = _batch(pairs, 1)
        self._ports = _batch(ports, len(pairs) + 1)
        self._inside = _batch(inside, 1)
        self._resolver_port = _PORTS[0] + secrets.randbelow(_PORTS[1] - _PORTS[0])

    @classmethod
    def look(cls, plan: Mapping[str, Any], netns: int, *, is_again: bool) -> Network:
        """By what this machine has now. Raises OSError, NotWritable."""
        bridges = {endpoint["bridge"] for endpoint in plan["endpoints"]}
        links = {bridge: socket.if_nametoindex(bridge) for bridge in bridges}
        is_filtered = bool(links) and sandbox.is_bridge_filtered()
        return cls(plan, links, is_filtered=is_filtered, netns=netns, is_again=is_again)

    @cached_property
    def pieces(self) -> list[bytes]:
        """In the order in which the calls need them."""
        found: list[bytes] = []
        if not self._is_new:
            return found
        if self._endpoints:
            found += [self._left.data, self._links.data]
            for name in self._ports_of():
                found.append(_ifreq(name))
            found.append(self._ports.data)
            found += [_ifreq(endpoint["name"]) for endpoint in self._endpoints]
        found.append(self._inside.data)
        if self._plan["resolver"]:
            address = socket.inet_aton(sandbox.RESOLVER_ADDRESS)
            found.append(
                struct.pack("=H", socket.AF_INET)
                + struct.pack("!H", self._resolver_port)
                + address
                + bytes(8)
            )
            found.append(
                b"".join(
                    encode(request, sequence, 0)
                    for sequence, request in enumerate(sandbox.redirect_resolver(self._resolver_port), 1)
                )
            )
        return found

    @cached_property
    def shape(self) -> tuple[object, ...]:
        """All that decides about the calls."""
        plan = self._plan
        return (
            [len(piece) for piece in self.pieces],
            *(batch[1:] for batch in (self._links, self._ports, self._inside)),
            [endpoint["sysctls"] for endpoint in self._endpoints],
            [plan.get(name) for name in ("mode", "resolver", "sysctls", "inherited", "descriptors")],
        )

    def _ports_of(self) -> list[str]:
        """Host's ends whose numbers are to be known."""
        return [self._endpoints[number]["host_ifname"] for _, number in self._ports.places]

    def write(self, text: Script, proc: int, channel: int, free: int, shared: int, keep: Keep) -> None:
        """The calls, of a process in the host's network namespace; in the end it is in the container's.

        ``proc``: the descriptor of a /proc; ``channel``: where descriptors go that are kept; ``free``: the lowest free
        descriptor; ``shared`` and the next one, which will be the namespace: free, too. All are closed. ``keep``
        has a piece in the data."""
        _Writer(self, text, proc, channel, free, shared, keep).write()


class Keep:
    """Puts pieces into the data of a table, and remembers where."""

    def __init__(self, text: Script) -> None:
        self._text = text
        self.offsets: list[int] = []

    def __call__(self, piece: bytes) -> int:
        self.offsets.append(self._text.size)
        return self._text.keep(piece)


class _Writer:
    def __init__(
        self, network: Network, text: Script, proc: int, channel: int, free: int, shared: int, keep: Keep
    ) -> None:
        self._plan, self._endpoints = network._plan, network._endpoints
        self._network = network
        self._text, self._call, self._keep = text, text.call, keep
        self._proc, self._channel, self._free = proc, channel, free
        self._host, self._netns = shared, shared + 1
        self._pieces: Iterator[bytes] = iter(network.pieces)
        self._answer = text.keep(bytes(_ANSWER))
        self._zeros = text.keep(bytes(8))

    def write(self) -> None:
        plan = self._plan
        if self._network._is_new:
            if self._endpoints:
                self._forget_last()
                self._open_netlink(NETLINK_ROUTE)
                self._share(self._host)
            self._call("unshare", syscalls.CLONE_NEWNET)
            self._sysctls(plan.get("inherited") or {})
            if self._endpoints:
                self._attach()
            self._configure()
        self._hand_over()

    def _next(self) -> int:
        return self._keep(next(self._pieces))

    def _close(self) -> None:
        self._call("close_range", self._free, self._host - 1, 0)

    def _share(self, shared: int) -> None:
        self._call("dup3", self._free, shared, os.O_CLOEXEC)
        self._close()

    def _forget_last(self) -> None:
        """By a socket of its own, whose answers nobody reads: mostly there is nothing."""
        where = self._next()
        if data := self._network._left.data:
            self._open_netlink(NETLINK_ROUTE)
            self._call("sendto", self._free, where, len(data), 0, 0, 0)
            self._close()

    def _open_netlink(self, protocol: int) -> None:
        self._call("socket", socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)

    def _attach(self) -> None:
        path = self._text.text("/proc/self/ns/net")
        self._call("openat", syscalls.AT_FDCWD, path, os.O_RDONLY | os.O_CLOEXEC)
        self._share(self._netns)
        self._execute(self._host, self._next(), self._network._links)
        requests = [self._index(self._host) for _ in self._network._ports.places]
        batch = self._next()
        for request, (offset, _) in zip(requests, self._network._ports.places, strict=True):
            self._text.copy([(batch + offset, request + _INDEX_IN_IFREQ)])
        if self._network._ports.data:
            self._execute(self._host, batch, self._network._ports)
        self._call("close_range", self._host, self._netns, 0)

    def _configure(self) -> None:
        for endpoint in self._endpoints:
            self._sysctls(endpoint["sysctls"])
        self._open_netlink(NETLINK_ROUTE)
        requests = [self._index(self._free) for _ in self._endpoints]
        batch = self._next()
        places = self._network._inside.places
        if places:
            self._text.copy(
                [(batch + offset, requests[number] + _INDEX_IN_IFREQ) for offset, number in places]
            )
        self._execute(self._free, batch, self._network._inside)
        self._close()
        self._sysctls(self._plan.get("sysctls") or {})

    def _index(self, descriptor: int) -> int:
        """Ask for a link's number; the address of the answer."""
        request = self._next()
        self._call("ioctl", descriptor, SIOCGIFINDEX, request)
        return request

    def _execute(self, descriptor: int, data: int, batch: _Batch) -> None:
        """As ``NetlinkSocket.execute``: the first answer is a refusal, or the last one's success."""
        self._call("sendto", descriptor, data, len(batch.data), 0, 0, 0)
        is_success = (self._answer + _ERROR_IN_ANSWER, self._zeros, 4)
        self._call("recvfrom", descriptor, self._answer, _ANSWER, 0, 0, 0, compare=is_success)
        sequence = self._text.keep(struct.pack("=I", batch.last))
        self._call("getpid", compare=(self._answer + _SEQUENCE_IN_ANSWER, sequence, 4))

    def _sysctls(self, values: Mapping[str, str]) -> None:
        """As ``sandbox.write_sysctls``."""
        text = self._text
        for key, value in values.items():
            path = text.text("sys/" + sysctl_path(key))
            flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            content = value.encode()
            if key.startswith("net.ipv6."):
                self._call("openat", self._proc, path, flags, passing=(errno.ENOENT,))
                is_missing = text.jump_unless_open(self._free)
                self._call("write", self._free, text.keep(content), len(content))
                text.aim(is_missing)
            else:
                self._call("openat", self._proc, path, flags)
                self._call("write", self._free, text.keep(content), len(content))
            self._close()

    def _hand_over(self) -> None:
        """The descriptors that the shim keeps, in the order of the plan."""
        free = self._free
        given = []
        if self._plan["resolver"]:
            given = [free, free + 1]
            self._open_resolver(free)
            free += 3
        self._open_netlink(NETLINK_SOCK_DIAG)
        on = self._text.keep(struct.pack("=I", 1))
        for option in (NETLINK_EXT_ACK, NETLINK_CAP_ACK):
            self._call("setsockopt", free, SOL_NETLINK, option, on, 4)
        given.append(free)
        packet = sockets.encode_packet({"descriptors": list(self._plan.get("descriptors", []))})
        vector = self._text.keep(struct.pack("=2Q", self._text.keep(packet), len(packet)))
        rights = struct.pack("=QII", 16 + 4 * len(given), socket.SOL_SOCKET, socket.SCM_RIGHTS)
        rights += struct.pack(f"={len(given)}i", *given)
        rights += bytes(-len(rights) % 8)
        header = struct.pack("=7Q", 0, 0, vector, 1, self._text.keep(rights), len(rights), 0)
        self._call("sendmsg", self._channel, self._text.keep(header), socket.MSG_NOSIGNAL)
        self._close()

    def _open_resolver(self, udp: int) -> None:
        """As ``sandbox.open_resolver``; the third descriptor is no longer needed then."""
        tcp, netfilter = udp + 1, udp + 2
        flags = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        address = self._next()
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            self._call("socket", socket.AF_INET, kind | flags, 0)
        for descriptor in (udp, tcp):
            self._call("bind", descriptor, address, 16)
        self._call("listen", tcp, _BACKLOG)
        self._open_netlink(NETLINK_NETFILTER)
        size = len(self._network.pieces[-1])
        self._call("sendto", netfilter, self._next(), size, 0, 0, 0)
        # Whatever is there to be read is a complaint.
        never = (self._text.keep(b"\1"), self._text.keep(b"\2"), 1)
        where = (self._answer, _ANSWER, socket.MSG_DONTWAIT, 0, 0)
        self._call("recvfrom", netfilter, *where, passing=(errno.EAGAIN,), compare=never)


def _ifreq(name: str) -> bytes:
    return name.encode().ljust(_IFREQ_SIZE, b"\0")
