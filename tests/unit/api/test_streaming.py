"""What is sent while it is made comes whole, whoever sends it and however that ends."""

from __future__ import annotations

import http.client
import socket

import trio
import trio.testing

from composer.api.http import Connection
from composer.api.messages import Answer, Request, Sink, Streaming
from composer.api.routing import Route, Router

LARGE = b"x" * (8 << 20)
"""More than the buffers of a socket take."""


async def answer_of(produce: Streaming) -> bytes:
    """The body that a client gets."""

    async def handler(_request: Request) -> Answer:
        return produce

    router = Router([Route("GET", "/it", handler)])
    ours, theirs = socket.socketpair()

    def ask() -> bytes:
        with theirs:
            theirs.settimeout(30)
            theirs.sendall(b"GET /it HTTP/1.1\r\nHost: it\r\n\r\n")
            response = http.client.HTTPResponse(theirs)
            response.begin()
            return response.read()

    async with trio.open_nursery() as nursery:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        nursery.start_soon(Connection(stream, router, "test").run)
        return await trio.to_thread.run_sync(ask)


async def test_a_sender_is_cancelled_before_its_first_byte() -> None:
    async def produce(sink: Sink) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await sink.send(b"one ")
        await sink.send(b"two")

    assert await answer_of(Streaming(produce)) == b"one two"


async def test_a_sender_is_cancelled_in_the_middle() -> None:
    """While the client does not take more."""

    async def produce(sink: Sink) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sink.send, LARGE)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await sink.send(b"two")

    assert await answer_of(Streaming(produce)) == LARGE + b"two"


async def test_the_last_sender_is_cancelled() -> None:
    async def produce(sink: Sink) -> None:
        await sink.send(b"one ")
        with trio.CancelScope() as scope:
            scope.cancel()
            await sink.send(b"two")

    assert await answer_of(Streaming(produce)) == b"one two"
