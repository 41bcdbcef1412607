"""Whoever comes at the moment at which an idle engine ends is served by it, or finds none."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from composer.api.leaving import close_door, open_door
from runtime.kernel import sockets


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine.sock"


def connect(path: Path) -> socket.socket:
    return sockets.connect(path, socket.SOCK_STREAM)


async def test_nobody_is_there(path: Path) -> None:
    with sockets.listen(path, socket.SOCK_STREAM) as listener:
        assert await close_door(path, listener, lambda: 0)
        with pytest.raises(FileNotFoundError):
            connect(path)
        assert list(path.parent.iterdir()) == []


async def test_somebody_waits_to_be_let_in(path: Path) -> None:
    with sockets.listen(path, socket.SOCK_STREAM) as listener, connect(path):
        assert not await close_door(path, listener, lambda: 0)
        connect(path).close()


async def test_somebody_has_just_been_let_in(path: Path) -> None:
    """By a task that has not yet run when the door is being closed."""
    inside: list[socket.socket] = []

    async def let_in(listener: socket.socket) -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        inside.append(listener.accept()[0])

    with sockets.listen(path, socket.SOCK_STREAM) as listener, connect(path):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_in, listener)
            assert not await close_door(path, listener, lambda: len(inside))
        inside.pop().close()


async def test_killed_with_the_door_closed(path: Path) -> None:
    with sockets.listen(path, socket.SOCK_STREAM):
        path.rename(path.with_name("engine.sock.leaving"))
        open_door(path)
        open_door(path)
        connect(path).close()


async def test_killed_with_its_keeper(path: Path) -> None:
    sockets.listen(path, socket.SOCK_STREAM).close()
    path.rename(path.with_name("engine.sock.leaving"))
    with sockets.listen(path, socket.SOCK_STREAM):
        open_door(path)
        connect(path).close()
    assert list(path.parent.iterdir()) == [path]
