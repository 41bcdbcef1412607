"""The engine's socket: accepts connections and serves the Docker Engine API and ``/composer/v1`` on each."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import trio

from composer import __version__
from composer.api import (
    routes_archives,
    routes_build,
    routes_containers,
    routes_docker_build,
    routes_events,
    routes_exec,
    routes_images,
    routes_networks,
    routes_projects,
    routes_system,
    routes_volumes,
)
from composer.api.http import Connection
from composer.api.interface import Engine
from composer.api.routes_succession import Succession, Successor
from composer.api.routing import Router

log = logging.getLogger(__name__)

FAMILIES = (
    routes_build,
    routes_system,
    routes_containers,
    routes_docker_build,
    routes_exec,
    routes_archives,
    routes_images,
    routes_networks,
    routes_volumes,
    routes_events,
    routes_projects,
)


RESUMED = ("POST /composer/v1/projects/logs",)
"""What clients ask for again, from where they were, when it breaks off."""
BETWEEN = 2.0
"""Seconds after an answer in which the same client may well ask for more."""


class Connections:
    """Which clients are connected: an engine without work may end when there are none."""

    def __init__(self) -> None:
        self._all: set[Connection] = set()
        self._changed = trio.Event()

    @property
    def count(self) -> int:
        return len(self._all)

    def add(self, connection: Connection) -> None:
        self._all.add(connection)
        self._tell()

    def remove(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def at_work(self) -> set[str]:
        """What is being answered, ``METHOD /path``; of a client that has just had an answer, what that was to. Not the
        request of the task that asks, nor what would be asked for again."""
        latest = trio.current_time() - BETWEEN
        found = {
            one.request
            for one in self._all
            if one.task is not trio.lowlevel.current_task() and (one.is_at_work or one.last_at > latest)
        }
        return found - {"", *RESUMED}

    async def changed(self) -> int:
        """Wait until somebody connects or leaves; the number then."""
        await self._changed.wait()
        return self.count


def build_router(engine: Engine, succession: Succession | None = None) -> Router:
    routes = [route for family in FAMILIES for route in family.routes(engine)]
    return Router([*routes, *(succession.routes() if succession is not None else ())])


async def serve(
    engine: Engine,
    listener_socket: socket.socket,
    give_way: Callable[[Successor], None] | None = None,
    *,
    task_status: trio.TaskStatus[Connections] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``listener_socket`` (bound and listening) until cancelled. One task a connection; whatever fails
    in one is answered and logged there. ``give_way`` is called when another version of the engine is to go on, and from
    then on nobody is let in."""
    connections = Connections()
    door = trio.CancelScope()
    succession = Succession(connections.at_work, door.cancel, give_way) if give_way is not None else None
    router = build_router(engine, succession)
    server_name = f"composer/{__version__} (linux)"
    listener_socket.setblocking(False)
    # A duplicate, which is closed with the door: what the successor inherits stays open.
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listener_socket.dup()))

    async def serve_connection(stream: trio.SocketStream) -> None:
        connection = Connection(stream, router, server_name)
        connections.add(connection)
        try:
            await connection.run()
        except Exception:
            log.exception("a connection broke off")
        finally:
            connections.remove(connection)

    async with trio.open_nursery() as nursery:
        task_status.started(connections)
        with door:
            await trio.serve_listeners(serve_connection, [listener], handler_nursery=nursery)
