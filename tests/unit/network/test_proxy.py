"""Connections that are passed on in user space."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from runtime.network.proxy import serve_listener

LARGE = os.urandom(1 << 20) * 3


@asynccontextmanager
async def passing_on(target: socket.socket | None) -> AsyncIterator[trio.SocketStream]:
    """A client's stream through the proxy to ``target``."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    place = listener.getsockname()
    found = target.getsockname() if target else None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_listener, listener, lambda: found)
        with trio.fail_after(10):
            async with await trio.open_tcp_stream(*place) as client:
                yield client
        nursery.cancel_scope.cancel()


def listening() -> socket.socket:
    made = socket.create_server(("127.0.0.1", 0))
    made.setblocking(False)
    return made


async def received(stream: trio.SocketStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


@pytest.mark.trio
async def test_much_in_both_directions_at_once() -> None:
    with listening() as target:
        async with passing_on(target) as client:
            accepted, _ = await trio.socket.from_stdlib_socket(target.dup()).accept()
            got: dict[str, bytes] = {}

            async def side(name: str, stream: trio.SocketStream) -> None:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send, stream)
                    got[name] = await received(stream)

            async def send(stream: trio.SocketStream) -> None:
                await stream.send_all(LARGE)
                await stream.send_eof()

            async with trio.SocketStream(accepted) as server, trio.open_nursery() as nursery:
                nursery.start_soon(side, "client", client)
                nursery.start_soon(side, "server", server)
    assert got["client"] == got["server"] == LARGE


@pytest.mark.trio
async def test_the_end_of_one_direction_leaves_the_other_open() -> None:
    with listening() as target:
        async with passing_on(target) as client:
            accepted, _ = await trio.socket.from_stdlib_socket(target.dup()).accept()
            async with trio.SocketStream(accepted) as server:
                await client.send_all(b"question")
                await client.send_eof()
                assert await received(server) == b"question"
                await server.send_all(b"answer")
            assert await received(client) == b"answer"


@pytest.mark.trio
async def test_a_container_that_does_not_listen_resets_the_client() -> None:
    async with passing_on(None) as client:
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()


@pytest.mark.trio
async def test_descriptors_go_with_the_connection() -> None:
    with listening() as target:
        before = len(os.listdir("/proc/self/fd"))
        async with passing_on(target) as client:
            accepted, _ = await trio.socket.from_stdlib_socket(target.dup()).accept()
            async with trio.SocketStream(accepted) as server:
                await client.send_all(b"x")
                assert await server.receive_some() == b"x"
        assert len(os.listdir("/proc/self/fd")) <= before + 1
