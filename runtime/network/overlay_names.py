"""Names on an overlay network: each host tells the others what its containers there are called.

A host listens at its own address (IPv4, where there is one) on the network's bridge and sends another host that
connects all names of its containers on the network, again whenever they change; it connects to the other hosts'
addresses for theirs. So the names go through the tunnel, where nobody is but hosts and containers of the network, who
may ask for them anyway. What a host says is believed for addresses in its own part of the subnet only: no host, and
nobody who passes for one, can take over a name with an address elsewhere. The names of a host that is not heard of
any more are kept for a while, since a core that is killed comes back.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import re
import socket
import struct
from collections.abc import Collection, Mapping, Sequence

import msgspec
import trio

from runtime.network import overlay
from runtime.network.model import Network, Pool
from runtime.network.names import ContainerNames, EndpointNames, NameTable

log = logging.getLogger(__name__)

PORT = 14790
"""TCP, on the network's bridge only."""
LARGEST = 1 << 20
"""Bytes of one host's names."""
MOST = 4096
"""Containers of one host."""
LISTENERS = 64
KEPT = 60.0
"""Seconds for which the names of a host that has gone silent are kept."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
_CONNECT = 5.0
_ID = re.compile(r"[0-9a-f]{64}\Z")
_NAME = re.compile(r"[\x21-\x7e]{1,253}\Z")


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """One container, as the hosts tell each other."""

    id: str
    name: str
    ipv4: str = ""
    names: tuple[str, ...] = ()
    ports: tuple[tuple[int, str], ...] = ()
    ipv6: str = ""


def told(table: NameTable, network_id: str) -> bytes:
    """What this host has to say on a network."""
    containers = [
        Told(
            container_id, names.name, _bare(endpoint.ipv4), endpoint.names, names.ports, _bare(endpoint.ipv6)
        )
        for container_id, names, endpoint in table.on_network(network_id)
        if not names.is_remote and (endpoint.ipv4 or endpoint.ipv6)
    ]
    return msgspec.json.encode(containers[:MOST])


def heard(
    message: bytes, network: Network, parts: Sequence[Pool], known: NameTable
) -> dict[str, ContainerNames]:
    """The containers that the host with ``parts`` of the subnets speaks of, without what it has no say in. Raises
    ValueError for what is no such message."""
    found = {}
    for container in msgspec.json.decode(message, type=list[Told])[:MOST]:
        before = known.get(container.id)
        if not _ID.match(container.id) or (before and not before.is_remote):
            continue
        if not _NAME.match(container.name):
            continue
        given = [ipaddress.ip_address(text) for text in (container.ipv4, container.ipv6) if text]
        prefixes = {address.version: _within(address, parts) for address in given}
        if not any(prefixes.values()) or None in prefixes.values():
            continue
        endpoint = EndpointNames(
            network_id=network.id,
            network=network.name,
            ipv4=prefixes.get(4) or "",
            ipv6=prefixes.get(6) or "",
            names=tuple(name for name in container.names if _NAME.match(name)),
        )
        ports = tuple((number, protocol) for number, protocol in container.ports if 0 < number < 65536)
        found[container.id] = ContainerNames(
            name=container.name, endpoints=(endpoint,), ports=ports, is_remote=True
        )
    return found


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, parts: Sequence[Pool]) -> str | None:
    """``address`` as a prefix; None where it is not in the host's part, "" where nobody knows the parts of its
    family."""
    part = next((part for part in parts if (":" in part.subnet) == (address.version == 6)), None)
    if part is None:
        return ""
    if address not in ipaddress.ip_network(part.ip_range):
        return None
    return f"{address}/{part.subnet.partition('/')[2]}"


def _bare(prefix: str) -> str:
    return prefix.partition("/")[0]


class OverlayNames:
    """One engine's part in it."""

    def __init__(self, table: NameTable) -> None:
        self._table = table
        self._changed = trio.Event()
        table.on_change = self._tell

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def run(self, network: Network, own: str) -> None:
        """Exchange names on ``network``, where this host is the peer ``own``, until cancelled."""
        parts = overlay.peer_parts(network)
        if own not in parts:
            log.warning(
                "network %s: the other hosts do not know this one's part of the subnet, nor its names: make it anew, "
                "with driver_opts: {ranges: …}",
                network.name,
            )
            return
        try:
            async with trio.open_nursery() as nursery:
                meeting = parts[own][0].gateway
                nursery.start_soon(self._serve, network, meeting, {p[0].gateway for p in parts.values()})
                for peer, theirs in parts.items():
                    if peer != own:
                        nursery.start_soon(self._listen_to, network, peer, theirs)
        finally:
            self._forget(network, parts)

    async def _serve(self, network: Network, own: str, hosts: Collection[str]) -> None:
        with trio.socket.from_stdlib_socket(_listening(network, own)) as listener:
            limit = trio.CapacityLimiter(LISTENERS)
            async with trio.open_nursery() as nursery:
                while True:
                    try:
                        client, address = await listener.accept()
                    except OSError:
                        await trio.sleep(0.1)
                        continue
                    if limit.available_tokens < 1 or address[0] not in hosts:
                        client.close()
                        continue
                    nursery.start_soon(self._send_names, network, client, limit)

    async def _send_names(
        self, network: Network, client: trio.socket.SocketType, limit: trio.CapacityLimiter
    ) -> None:
        async with limit, trio.open_nursery() as nursery:
            with client:
                _watch(client)

                async def end_with_client() -> None:
                    with contextlib.suppress(OSError):
                        await client.recv(1)  # nobody has anything to say here
                    nursery.cancel_scope.cancel()

                nursery.start_soon(end_with_client)
                stream = trio.SocketStream(client)
                last = b""
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    while True:
                        changed = self._changed
                        message = told(self._table, network.id)
                        if message != last:
                            await stream.send_all(struct.pack("!I", len(message)) + message)
                            last = message
                        await changed.wait()
                nursery.cancel_scope.cancel()

    async def _listen_to(self, network: Network, peer: str, parts: Sequence[Pool]) -> None:
        pause, is_known = SHORTEST_PAUSE, False
        silent_since = trio.current_time()
        while True:
            try:
                with trio.fail_after(_CONNECT):
                    stream = await _connect(network, parts[0].gateway)
                async with stream:
                    while True:
                        message = await _receive(stream)
                        pause, is_known = SHORTEST_PAUSE, True
                        self._take(network, parts, heard(message, network, parts, self._table))
                        silent_since = trio.current_time()
            except (OSError, EOFError, ValueError, trio.BrokenResourceError, trio.TooSlowError) as error:
                if is_known:
                    log.info("network %s: host %s is silent: %s", network.name, peer, error)
                    silent_since, is_known = trio.current_time(), False
            if trio.current_time() - silent_since > KEPT:
                self._take(network, parts, {})
            await trio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _take(
        self, network: Network, parts: Sequence[Pool], containers: Mapping[str, ContainerNames]
    ) -> None:
        """These are the containers of one host, and no others."""
        for container_id, names, endpoint in list(self._table.on_network(network.id)):
            held = [ipaddress.ip_address(_bare(p)) for p in (endpoint.ipv4, endpoint.ipv6) if p]
            is_theirs = any(_within(address, parts) for address in held)
            if names.is_remote and container_id not in containers and is_theirs:
                self._table.remove(container_id)
        for container_id, names in containers.items():
            if self._table.get(container_id) != names:
                self._table.set(container_id, names)

    def _forget(self, network: Network, parts: Mapping[str, Sequence[Pool]]) -> None:
        for theirs in parts.values():
            self._take(network, theirs, {})


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _listening(network: Network, address: str) -> socket.socket:
    made = socket.socket(_family(address), socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, network.bridge.encode())
    made.bind((address, PORT))
    made.listen(LISTENERS)
    return made


async def _connect(network: Network, gateway: str) -> trio.SocketStream:
    made = trio.socket.socket(_family(gateway), socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, network.bridge.encode())
        _watch(made)
        await made.connect((gateway, PORT))
    except BaseException:
        made.close()
        raise
    return trio.SocketStream(made)


def _watch(one: trio.socket.SocketType) -> None:
    """Let the kernel notice that the other host is gone, within half a minute."""
    for option, value in (
        (socket.TCP_KEEPIDLE, 10),
        (socket.TCP_KEEPINTVL, 5),
        (socket.TCP_KEEPCNT, 3),
        (socket.TCP_USER_TIMEOUT, 25_000),
    ):
        one.setsockopt(socket.IPPROTO_TCP, option, value)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def _receive(stream: trio.SocketStream) -> bytes:
    (length,) = struct.unpack("!I", await _exactly(stream, 4))
    if length > LARGEST:
        raise OSError(errno.EMSGSIZE, "more names than one host can have")
    return await _exactly(stream, length)


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        if not more:
            raise EOFError("it has closed the connection")
        data += more
    return bytes(data)
