"""TCP clients of the resolver, accepted and kept by the keeper while they ask: when the core is killed their
connections go on, and the next core finds the question, which stays in its socket until it is answered."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Collection
from typing import Protocol

import trio

from runtime.errors import ComposerError

LONGEST_QUESTION = 4096
_PREFIX = "names/"


class Keeping(Protocol):
    """What is needed of the keeper."""

    async def accept(self, name: str, listener: int) -> list[int]: ...
    async def fetch(self, name: str) -> list[int]: ...
    async def drop(self, name: str) -> None: ...
    async def names(self) -> list[str]: ...


class KeptClients:
    """Those of all containers, by container."""

    def __init__(self, keeper: Keeping | None = None) -> None:
        self._keeper = keeper
        self._kept: dict[str, set[str]] = {}
        self._left: dict[str, list[tuple[str, socket.socket]]] = {}

    async def fetch(self) -> None:
        """What the last core has left, before any container is served."""
        for name in await self._keeper.names() if self._keeper else ():
            if not name.startswith(_PREFIX):
                continue
            container_id = name.split("/")[1]
            self._kept.setdefault(container_id, set()).add(name)
            for descriptor in await self._keeper.fetch(name) if self._keeper else ():
                self._left.setdefault(container_id, []).append((name, socket.socket(fileno=descriptor)))

    async def forget_left(self, living: Collection[str]) -> None:
        """Nobody takes what is left by containers other than these: they have ended."""
        for container_id in self._kept.keys() - set(living):
            await self.release(container_id)

    def take_left(self, container_id: str) -> list[tuple[str, socket.socket]]:
        """(name, socket) of the container's clients that the last core has not answered."""
        return self._left.pop(container_id, [])

    async def accept(self, container_id: str, listener: trio.socket.SocketType) -> tuple[str, socket.socket]:
        """The container's next client, and the name under which it is kept until :meth:`drop`. Raises OSError as
        accept(2)."""
        while True:
            name = f"{_PREFIX}{container_id}/{secrets.token_hex(6)}"
            if self._keeper is None:
                client, _ = await listener.accept()
                return name, socket.socket(fileno=client.detach())
            if listener.fileno() < 0:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            await trio.lowlevel.wait_readable(listener)
            self._kept.setdefault(container_id, set()).add(name)
            try:
                accepted = await self._keeper.accept(name, listener.fileno())
            except OSError:
                await self.drop(
                    container_id, name
                )  # kept there, with no room for it here: who asks asks again
                raise
            except ComposerError as error:
                self._kept.get(container_id, set()).discard(name)
                raise OSError(errno.EAGAIN, error.message) from error
            if accepted:
                return name, socket.socket(fileno=accepted[0])
            self._kept.get(container_id, set()).discard(name)

    async def drop(self, container_id: str, name: str) -> None:
        kept = self._kept.get(container_id, set())
        if name in kept and self._keeper is not None:
            kept.discard(name)
            await self._keeper.drop(name)

    async def release(self, container_id: str) -> None:
        """The container has ended."""
        for _, client in self._left.pop(container_id, ()):
            client.close()
        for name in self._kept.pop(container_id, ()):
            if self._keeper is not None:
                await self._keeper.drop(name)


async def look_at_question(client: trio.socket.SocketType) -> bytes:
    """The next question, left where it is. Raises EOFError when there is none any more, or it is none."""
    length = int.from_bytes(await _look(client, 2), "big")
    if length > LONGEST_QUESTION:
        raise EOFError
    return (await _look(client, 2 + length))[2:]


async def _look(client: trio.socket.SocketType, count: int) -> bytes:
    # The socket is not readable before so much is there, or nothing more will come.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
    await trio.lowlevel.wait_readable(client)
    seen = await client.recv(count, socket.MSG_PEEK)
    if len(seen) < count:
        raise EOFError
    return seen
