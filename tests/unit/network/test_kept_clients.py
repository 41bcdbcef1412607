"""Who asks over TCP, while the keeper or the core have no room for a connection."""

from __future__ import annotations

import errno
import socket

import pytest
import trio

from runtime.errors import ComposerError
from runtime.kernel.sockets import DescriptorsLost
from runtime.network.kept_clients import KeptClients


class Keeper:
    """Refuses with ``error``."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.dropped: list[str] = []

    async def accept(self, name: str, listener: int) -> list[int]:
        raise self.error

    async def fetch(self, name: str) -> list[int]:
        return []

    async def drop(self, name: str) -> None:
        self.dropped.append(name)

    async def names(self) -> list[str]:
        return []


@pytest.mark.parametrize(
    ("error", "number", "dropped"),
    [
        (ComposerError("accept: Too many open files"), errno.EAGAIN, 0),
        (DescriptorsLost({}), errno.EMFILE, 1),  # the keeper has it: nobody else would ever let go of it
    ],
    ids=["keeper", "core"],
)
async def test_no_room(error: Exception, number: int, dropped: int) -> None:
    keeper = Keeper(error)
    clients = KeptClients(keeper)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), pytest.raises(OSError) as caught:
            await clients.accept("c", trio.socket.from_stdlib_socket(listener))
    assert caught.value.errno == number
    assert len(keeper.dropped) == dropped
    await clients.release("c")
    assert len(keeper.dropped) == dropped


async def test_a_listener_that_is_closed() -> None:
    clients = KeptClients(Keeper(AssertionError()))
    listener = trio.socket.from_stdlib_socket(socket.create_server(("127.0.0.1", 0)))
    listener.close()
    with pytest.raises(OSError) as caught:
        await clients.accept("c", listener)
    assert caught.value.errno == errno.EBADF
