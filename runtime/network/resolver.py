"""The resolver of the containers: serves sockets on 127.0.0.11 inside their network namespaces from the
name table, and passes on to other name servers what it does not know."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

import trio

from runtime.network import host
from runtime.network.cache import AnswerCache
from runtime.network.dns import (
    NOTIMP,
    SERVFAIL,
    Malformed,
    Query,
    is_response_to,
    parse_query,
    respond,
    response_code,
    with_id,
)
from runtime.network.names import NameTable

TTL = 5
"""Seconds; replicas come and go."""
ATTEMPT_TIMEOUT = 2.0
"""Seconds that one server is given before the next is asked; in the second round twice that."""
ROUNDS = 2
CONCURRENT = 256
"""Forwarded questions of one container at a time."""
TCP_IDLE = 10.0
TCP_CLIENTS = 32

_DATAGRAM = 4096
_PORT = 53
_TCP_LIMIT = 65535

Upstreams = Callable[[], Sequence[str]]


class HostUpstreams:
    """The host's name servers, read again whenever resolv.conf has changed."""

    def __init__(self, path: str = "/etc/resolv.conf") -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._servers: tuple[str, ...] = ()

    def __call__(self) -> tuple[str, ...]:
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_ino)
        except OSError:
            stamp = (0, 0)
        if stamp != self._stamp:
            self._servers = host.nameservers()
            self._stamp = stamp
        return self._servers


class Resolver:
    """Answers for all containers; one :meth:`serve` task a container."""

    def __init__(self, table: NameTable, upstreams: Upstreams | None = None, *, port: int = _PORT) -> None:
        """``upstreams`` gives the servers to forward to where a container has none of its own; ``port`` is
        theirs."""
        self.table = table
        self._upstreams = upstreams or HostUpstreams()
        self._port = port
        self._cache = AnswerCache()

    async def serve(self, container_id: str, udp_fd: int, tcp_fd: int) -> None:
        """Serve one container's two sockets until cancelled. Owns and closes the descriptors.

        Ends by itself only if both sockets are of no use any more.
        """
        with (
            trio.socket.from_stdlib_socket(_adopt(udp_fd)) as udp,
            trio.socket.from_stdlib_socket(_adopt(tcp_fd)) as tcp,
        ):
            limit = trio.CapacityLimiter(CONCURRENT)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_tcp, container_id, tcp, limit)
                await self._serve_udp(container_id, udp, limit, nursery)

    def answer(self, container_id: str, message: bytes, *, tcp: bool = False) -> bytes | Query | None:
        """What is known without asking anybody: the response, the query if others have to be asked, or None
        for what deserves no answer."""
        try:
            query = parse_query(message)
        except Malformed:
            return None
        limit = _TCP_LIMIT if tcp else None
        if query.opcode:
            return respond(query, NOTIMP, limit=limit)
        answer = self.table.answer(container_id, query)
        if answer is None:
            return query
        return respond(query, answer.rcode, answer.records, ttl=TTL, limit=limit)

    async def _serve_udp(
        self,
        container_id: str,
        udp: trio.socket.SocketType,
        limit: trio.CapacityLimiter,
        nursery: trio.Nursery,
    ) -> None:
        while True:
            try:
                # A question leaves the socket when it has its answer: the next core finds it if this one is killed.
                message, client = await udp.recvfrom(_DATAGRAM, socket.MSG_PEEK)
            except OSError as error:
                if error.errno in (errno.EBADF, errno.ENOTSOCK):
                    return
                await trio.sleep(0.01)
                continue
            try:
                answer = self.answer(container_id, message)
            except Exception:
                _take(udp)  # not again and again
                raise
            if isinstance(answer, Query):
                if limit.available_tokens < 1:
                    answer = respond(answer, SERVFAIL)
                else:
                    nursery.start_soon(self._forward_udp, container_id, udp, client, message, answer, limit)
                    answer = None
            if answer is not None:
                await _send(udp, answer, client)
            _take(udp)

    async def _forward_udp(
        self,
        container_id: str,
        udp: trio.socket.SocketType,
        client: object,
        message: bytes,
        query: Query,
        limit: trio.CapacityLimiter,
    ) -> None:
        async with limit:
            response = await self._forward(container_id, message, query, tcp=False)
        if len(response) > query.udp_size:
            response = respond(
                query, limit=0
            )  # more than the client takes: truncated, so it comes back with TCP
        await _send(udp, response, client)

    async def _serve_tcp(
        self, container_id: str, tcp: trio.socket.SocketType, limit: trio.CapacityLimiter
    ) -> None:
        clients = trio.CapacityLimiter(TCP_CLIENTS)
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    client, _ = await tcp.accept()
                except OSError as error:
                    if error.errno in (errno.EBADF, errno.ENOTSOCK, errno.EINVAL):
                        return
                    await trio.sleep(0.05)
                    continue
                if clients.available_tokens < 1:
                    client.close()
                    continue
                nursery.start_soon(self._serve_client, container_id, client, limit, clients)

    async def _serve_client(
        self,
        container_id: str,
        client: trio.socket.SocketType,
        limit: trio.CapacityLimiter,
        clients: trio.CapacityLimiter,
    ) -> None:
        async with clients:
            with client:
                try:
                    while True:
                        with trio.fail_after(TCP_IDLE):
                            message = await _receive_framed(client)
                        answer = self.answer(container_id, message, tcp=True)
                        if isinstance(answer, Query):
                            async with limit:
                                answer = await self._forward(container_id, message, answer, tcp=True)
                        if answer is None:
                            return
                        with trio.fail_after(TCP_IDLE):
                            await _send_all(client, struct.pack("!H", len(answer)) + answer)
                except (OSError, EOFError, trio.TooSlowError):
                    return

    async def _forward(self, container_id: str, message: bytes, query: Query, *, tcp: bool) -> bytes:
        """The first useful answer of the servers in order, each given some time, twice around; SERVFAIL when
        nobody answers (or nobody may be asked)."""
        chosen = self.table.upstreams(container_id)
        servers = tuple(self._upstreams() if chosen is None else chosen)
        if known := self._cache.get(servers, message, trio.current_time()):
            return known
        failed: bytes | None = None
        for attempt in range(ROUNDS if not tcp else 1):
            for server in servers:
                number = int.from_bytes(os.urandom(2), "big")
                response = None
                try:
                    with trio.move_on_after(ATTEMPT_TIMEOUT * (attempt + 1)):
                        exchange = _exchange_tcp if tcp else _exchange_udp
                        response = await exchange((server, self._port), with_id(message, number), query)
                except (OSError, EOFError):
                    continue
                if response is None:
                    continue
                if response_code(response) in (SERVFAIL, 5) and failed is None and len(servers) > 1:
                    failed = response
                    continue
                response = with_id(response, query.id)
                self._cache.put(servers, message, response, trio.current_time())
                return response
        if failed is not None:
            return with_id(failed, query.id)
        return respond(query, SERVFAIL)


def _adopt(descriptor: int) -> socket.socket:
    adopted = socket.socket(fileno=descriptor)
    adopted.setblocking(False)
    return adopted


def _take(udp: trio.socket.SocketType) -> None:
    """Take the datagram that was looked at out of the socket."""
    with contextlib.suppress(OSError):
        os.read(udp.fileno(), 1)


async def _send(udp: trio.socket.SocketType, message: bytes, client: Any) -> None:
    try:
        await udp.sendto(message, client)
    except OSError:
        return  # the client has gone, or the answer was too long for its socket: it will ask again


async def _exchange_udp(server: tuple[str, int], message: bytes, query: Query) -> bytes:
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    # A socket of its own for each question: the kernel then picks an unpredictable port, and only the
    # server's own packets get in.
    with trio.socket.socket(family, socket.SOCK_DGRAM) as udp:
        await udp.connect(server)
        await udp.send(message)
        number = int.from_bytes(message[:2], "big")
        while True:
            response = await udp.recv(65535)
            if is_response_to(response, number, query.question):
                return response


async def _exchange_tcp(server: tuple[str, int], message: bytes, query: Query) -> bytes:
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with trio.socket.socket(family, socket.SOCK_STREAM) as tcp:
        await tcp.connect(server)
        await _send_all(tcp, struct.pack("!H", len(message)) + message)
        response = await _receive_framed(tcp)
        if not is_response_to(response, int.from_bytes(message[:2], "big"), query.question):
            raise EOFError
        return response


async def _receive_framed(stream: trio.socket.SocketType) -> bytes:
    head = await _receive_exactly(stream, 2)
    return await _receive_exactly(stream, int.from_bytes(head, "big"))


async def _receive_exactly(stream: trio.socket.SocketType, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        more = await stream.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)


async def _send_all(stream: trio.socket.SocketType, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[await stream.send(view) :]
