"""``RUN --mount=type=ssh``: a socket in a step that leads to an agent of whoever builds. Keys never come near it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

_CHUNK = 16384
_BACKLOG = 16


@asynccontextmanager
async def forwarded(agent: str, scratch: Path, uid: int, gid: int, mode: int) -> AsyncIterator[Path]:
    """A socket of ``uid`` and ``gid`` that leads to ``agent``, for as long as the step runs. Raises OSError."""
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        path = Path(directory) / "agent"
        held = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
            # By descriptor: the names of sockets are short (unix(7)), those of state roots need not be.
            await listener.bind(f"/proc/self/fd/{held}/agent")
            os.chown(path, uid, gid)
            os.chmod(path, mode)
            listener.listen(_BACKLOG)
            failures: list[Exception] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_serve, listener, agent, nursery)
                try:
                    yield path
                except Exception as error:
                    failures.append(error)  # raised outside of the nursery, which would make a group of it
                finally:
                    nursery.cancel_scope.cancel()
                    listener.close()
            if failures:
                raise failures[0]
        finally:
            os.close(held)


async def _serve(listener: trio.socket.SocketType, agent: str, nursery: trio.Nursery) -> None:
    while True:
        connection, _ = await listener.accept()
        nursery.start_soon(_forward, trio.SocketStream(connection), agent)


async def _forward(stream: trio.SocketStream, agent: str) -> None:
    async with stream:
        try:
            other = await _connected(agent)
        except OSError:
            return
        async with other, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, stream, other, nursery.cancel_scope.cancel)
            nursery.start_soon(_copy, other, stream, nursery.cancel_scope.cancel)


async def _connected(path: str) -> trio.SocketStream:
    """By descriptor, since a path may be longer than an address has room for."""
    held = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return await trio.open_unix_socket(f"/proc/self/fd/{held}/{os.path.basename(path)}")
    finally:
        os.close(held)


async def _copy(source: trio.SocketStream, target: trio.SocketStream, end: Callable[[], None]) -> None:
    try:
        while data := await source.receive_some(_CHUNK):
            await target.send_all(data)
    except trio.BrokenResourceError:
        pass
    end()
