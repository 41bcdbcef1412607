"""The resolver of the containers: serves sockets on 127.0.0.11 inside their network namespaces from the
name table, and passes on to other name servers what it does not know."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Collection
from typing import Any

import trio

from runtime.network.dns import MINIMUM_SIZE, NOTIMP, SERVFAIL, Malformed, Query, parse_query, respond
from runtime.network.kept_clients import KeptClients, look_at_question
from runtime.network.names import Answer, NameTable
from runtime.network.pending import PendingQuestions, Question
from runtime.network.upstreams import Forwarder, HostUpstreams, Upstreams, receive_framed, send_all

TTL = 5
"""Seconds; replicas come and go."""
CONCURRENT = 256
"""Forwarded questions of one container at a time."""
TCP_IDLE = 10.0
TCP_CLIENTS = 32

KNOWN = 4096
BATCH = 64
"""Questions of one container that are answered before others have a turn."""

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
        clients: KeptClients | None = None,
    ) -> None:
        """``upstreams`` gives the servers to forward to where a container has none of its own; ``port`` is
        theirs. ``pending`` keeps what is being forwarded for the next core, ``clients`` who asks over TCP."""
        self.table = table
        self._upstreams = upstreams or HostUpstreams()
        self._forwarder = Forwarder(port)
        self._pending = pending or PendingQuestions()
        self.clients = clients or KeptClients()
        self._known: dict[tuple[str, bytes], tuple[Query, Answer | None]] = {}
        """What the table says, by asker and question without its number, until the table changes."""
        self._generation = -1

    def forget_left(self, living: Collection[str]) -> None:
        """Only these containers run on: what others were asking when the last core ended is of no use any more."""
        self._pending.forget_left(living)

    async def serve(self, container_id: str, udp_fd: int, tcp_fd: int) -> None:
        """Serve one container's two sockets until cancelled. Owns and closes the descriptors.

        Ends by itself only if both sockets are of no use any more.
        """
        with (
            _adopt(udp_fd) as udp,
            trio.socket.from_stdlib_socket(_adopt(tcp_fd)) as tcp,
        ):
            limit, clients = trio.CapacityLimiter(CONCURRENT), trio.CapacityLimiter(TCP_CLIENTS)
            async with trio.open_nursery() as nursery:
                for name, client in self.clients.take_left(container_id):
                    nursery.start_soon(self._serve_client, container_id, name, client, limit, clients)
                nursery.start_soon(self._serve_tcp, container_id, tcp, limit, clients, nursery)
                for left in self._pending.take_left(container_id):
                    with contextlib.suppress(Malformed):
                        query = parse_query(left.message)
                        nursery.start_soon(self._forward_udp, container_id, udp, left, query, limit)
                await self._serve_udp(container_id, udp, limit, nursery)

    def answer(self, container_id: str, message: bytes, *, tcp: bool = False) -> bytes | Query | None:
        """What is known without asking anybody: the response, the query if others have to be asked, or None
        for what deserves no answer."""
        if self._generation != self.table.generation:
            self._known.clear()
            self._generation = self.table.generation
        key = (container_id, message[2:])
        known = self._known.get(key)
        if known is None:
            try:
                query = parse_query(message)
            except Malformed:
                return None
            answer = Answer(NOTIMP) if query.opcode else self.table.answer(container_id, query)
            if len(self._known) >= KNOWN:
                self._known.clear()
            if len(message) <= MINIMUM_SIZE:
                self._known[key] = query, answer
        else:
            query, answer = known
            query = query._replace(id=message[0] << 8 | message[1])
        if answer is None:
            return query
        records = self.table.shuffled(answer.records)
        return respond(query, answer.rcode, records, ttl=TTL, limit=_TCP_LIMIT if tcp else None)

    async def _serve_udp(
        self, container_id: str, udp: socket.socket, limit: trio.CapacityLimiter, nursery: trio.Nursery
    ) -> None:
        while True:
            await trio.lowlevel.wait_readable(udp)
            try:
                # Without a turn for others between two of them: that would take longer than the answer.
                for _ in range(BATCH):
                    self._answer_next(container_id, udp, limit, nursery)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in (errno.EBADF, errno.ENOTSOCK):
                    return
                await trio.sleep(0.01)

    def _answer_next(
        self, container_id: str, udp: socket.socket, limit: trio.CapacityLimiter, nursery: trio.Nursery
    ) -> None:
        """Answer a question, or have others asked. Raises BlockingIOError when there is none."""
        # It leaves the socket when it has its answer: the next core finds it if this one is killed.
        message, client = udp.recvfrom(_DATAGRAM, socket.MSG_PEEK)
        try:
            answer = self.answer(container_id, message)
            if isinstance(answer, Query):
                if limit.available_tokens < 1:
                    answer = respond(answer, SERVFAIL)
                else:
                    question = self._pending.put(container_id, client, message)
                    nursery.start_soon(self._forward_udp, container_id, udp, question, answer, limit)
                    answer = None
            if answer is not None:
                _send(udp, answer, client)
        finally:
            _take(udp)

    async def _forward_udp(
        self,
        container_id: str,
        udp: socket.socket,
        question: Question,
        query: Query,
        limit: trio.CapacityLimiter,
    ) -> None:
        async with limit:
            response = await self._forward(container_id, question.message, query, tcp=False)
        if len(response) > query.udp_size:
            # More than the client takes: truncated, so it comes back with TCP.
            response = respond(query, limit=0)
        _send(udp, response, question.client)
        self._pending.forget(question)

    async def _serve_tcp(
        self,
        container_id: str,
        tcp: trio.socket.SocketType,
        limit: trio.CapacityLimiter,
        clients: trio.CapacityLimiter,
        nursery: trio.Nursery,
    ) -> None:
        while True:
            try:
                name, client = await self.clients.accept(container_id, tcp)
            except OSError as error:
                if error.errno in (errno.EBADF, errno.ENOTSOCK, errno.EINVAL):
                    return
                await trio.sleep(0.05)
                continue
            if clients.available_tokens < 1:
                client.close()
                await self.clients.drop(container_id, name)
                continue
            nursery.start_soon(self._serve_client, container_id, name, client, limit, clients)

    async def _serve_client(
        self,
        container_id: str,
        name: str,
        accepted: socket.socket,
        limit: trio.CapacityLimiter,
        clients: trio.CapacityLimiter,
    ) -> None:
        accepted.setblocking(False)
        async with clients:
            with trio.socket.from_stdlib_socket(accepted) as client:
                try:
                    while True:
                        with trio.fail_after(TCP_IDLE):
                            message = await look_at_question(client)
                        answer = self.answer(container_id, message, tcp=True)
                        if isinstance(answer, Query):
                            async with limit:
                                answer = await self._forward(container_id, message, answer, tcp=True)
                        if answer is None:
                            break
                        with trio.fail_after(TCP_IDLE):
                            await send_all(client, struct.pack("!H", len(answer)) + answer)
                            await receive_framed(client)
                except (OSError, EOFError, trio.TooSlowError):
                    pass
            await self.clients.drop(container_id, name)

    async def _forward(self, container_id: str, message: bytes, query: Query, *, tcp: bool) -> bytes:
        """What the container's own servers or the host's say; SERVFAIL where nobody may be asked."""
        chosen = self.table.upstreams(container_id)
        servers = tuple(self._upstreams() if chosen is None else chosen)
        return await self._forwarder.ask(servers, message, query, tcp=tcp)


def _adopt(descriptor: int) -> socket.socket:
    adopted = socket.socket(fileno=descriptor)
    adopted.setblocking(False)
    return adopted


def _take(udp: socket.socket) -> None:
    """Take the datagram that was looked at out of the socket."""
    with contextlib.suppress(OSError):
        os.read(udp.fileno(), 1)


def _send(udp: socket.socket, message: bytes, client: Any) -> None:
    """Loopback takes a datagram at once, or never: the client has gone, or the answer is too long for its socket, and
    it will ask again."""
    with contextlib.suppress(OSError):
        udp.sendto(message, client)
