"""The resolver of the containers: serves sockets on 127.0.0.11 inside their network namespaces from the
name table, and passes on to other name servers what it does not know."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from typing import Any

import trio

from runtime.network.dns import NOTIMP, SERVFAIL, Malformed, Query, parse_query, respond
from runtime.network.names import NameTable
from runtime.network.pending import PendingQuestions, Question
from runtime.network.upstreams import Forwarder, HostUpstreams, Upstreams, receive_framed, send_all

TTL = 5
"""Seconds; replicas come and go."""
CONCURRENT = 256
"""Forwarded questions of one container at a time."""
TCP_IDLE = 10.0
TCP_CLIENTS = 32

_DATAGRAM = 4096
_PORT = 53
_TCP_LIMIT = 65535


class Resolver:
    """Answers for all containers; one :meth:`serve` task a container."""

    def __init__(
        self,
        table: NameTable,
        upstreams: Upstreams | None = None,
        *,
        port: int = _PORT,
        pending: PendingQuestions | None = None,
    ) -> None:
        """``upstreams`` gives the servers to forward to where a container has none of its own; ``port`` is
        theirs. ``pending`` keeps what is being forwarded for the next core."""
        self.table = table
        self._upstreams = upstreams or HostUpstreams()
        self._forwarder = Forwarder(port)
        self._pending = pending or PendingQuestions()

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
                for left in self._pending.take_left(container_id):
                    with contextlib.suppress(Malformed):
                        query = parse_query(left.message)
                        nursery.start_soon(self._forward_udp, container_id, udp, left, query, limit)
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
                    question = self._pending.put(container_id, client, message)
                    nursery.start_soon(self._forward_udp, container_id, udp, question, answer, limit)
                    answer = None
            if answer is not None:
                await _send(udp, answer, client)
            _take(udp)

    async def _forward_udp(
        self,
        container_id: str,
        udp: trio.socket.SocketType,
        question: Question,
        query: Query,
        limit: trio.CapacityLimiter,
    ) -> None:
        async with limit:
            response = await self._forward(container_id, question.message, query, tcp=False)
        if len(response) > query.udp_size:
            response = respond(
                query, limit=0
            )  # more than the client takes: truncated, so it comes back with TCP
        await _send(udp, response, question.client)
        self._pending.forget(question)

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
                            message = await receive_framed(client)
                        answer = self.answer(container_id, message, tcp=True)
                        if isinstance(answer, Query):
                            async with limit:
                                answer = await self._forward(container_id, message, answer, tcp=True)
                        if answer is None:
                            return
                        with trio.fail_after(TCP_IDLE):
                            await send_all(client, struct.pack("!H", len(answer)) + answer)
                except (OSError, EOFError, trio.TooSlowError):
                    return

    async def _forward(self, container_id: str, message: bytes, query: Query, *, tcp: bool) -> bytes:
        """What the container's own servers or the host's say; SERVFAIL where nobody may be asked."""
        chosen = self.table.upstreams(container_id)
        servers = tuple(self._upstreams() if chosen is None else chosen)
        return await self._forwarder.ask(servers, message, query, tcp=tcp)


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
