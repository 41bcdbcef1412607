"""Other name servers: asked for what the name table does not know, in order, the silent ones last."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Sequence

import trio

from runtime.network import host
from runtime.network.cache import AnswerCache
from runtime.network.dns import (
    REFUSED,
    SERVFAIL,
    Query,
    is_response_to,
    respond,
    response_code,
    with_id,
)

LONGEST = 4.5
"""Seconds until a question is answered in any case: a client gives up after five (resolv.conf(5)), and learns more from
an error than from silence."""
ATTEMPT = 1.5
"""Seconds that one server is given before the next is asked."""
SILENT = 30.0
"""Seconds for which a server that did not answer is asked after all others."""

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


class Forwarder:
    """Asks name servers, and remembers their answers and silences."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cache = AnswerCache()
        self._silent: dict[str, float] = {}

    async def ask(self, servers: tuple[str, ...], message: bytes, query: Query, *, tcp: bool) -> bytes:
        """The first useful answer of the servers; SERVFAIL when none comes within :data:`LONGEST` seconds."""
        if known := self._cache.get(servers, message, trio.current_time()):
            return known
        failed: bytes | None = None
        with trio.move_on_after(LONGEST):
            while servers:
                was_silent = False
                for server in self._in_order(servers):
                    try:
                        response = await self._ask_one(server, message, query, tcp=tcp)
                    except (OSError, EOFError):
                        continue
                    if response is None:
                        was_silent = True
                    elif response_code(response) in (SERVFAIL, REFUSED) and len(servers) > 1:
                        failed = failed or response
                    else:
                        response = with_id(response, query.id)
                        self._cache.put(servers, message, response, trio.current_time())
                        return response
                if failed is not None or not was_silent:
                    break  # asking again would change nothing
        return respond(query, SERVFAIL) if failed is None else with_id(failed, query.id)

    async def _ask_one(self, server: str, message: bytes, query: Query, *, tcp: bool) -> bytes | None:
        """None if it keeps silent. Raises OSError or EOFError when it cannot be asked."""
        number = int.from_bytes(os.urandom(2), "big")
        exchange = _exchange_tcp if tcp else _exchange_udp
        with trio.move_on_after(ATTEMPT):
            response = await exchange((server, self._port), with_id(message, number), query)
            self._silent.pop(server, None)
            return response
        self._silent[server] = trio.current_time()
        return None

    def _in_order(self, servers: Sequence[str]) -> list[str]:
        since = trio.current_time() - SILENT
        return sorted(servers, key=lambda server: self._silent.get(server, since) > since)


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
        await send_all(tcp, struct.pack("!H", len(message)) + message)
        response = await receive_framed(tcp)
        if not is_response_to(response, int.from_bytes(message[:2], "big"), query.question):
            raise EOFError
        return response


async def receive_framed(stream: trio.socket.SocketType) -> bytes:
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


async def send_all(stream: trio.socket.SocketType, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[await stream.send(view) :]
