"""The engine's socket: accepts connections and serves the Docker Engine API and ``/composer/v1`` on each."""

from __future__ import annotations

import logging
import socket

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


class Connections:
    """How many clients are connected: an engine without work may end when there are none."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = trio.Event()

    def add(self, change: int) -> None:
        self.count += change
        self._changed.set()
        self._changed = trio.Event()

    async def changed(self) -> int:
        """Wait until somebody connects or leaves; the number then."""
        await self._changed.wait()
        return self.count


def build_router(engine: Engine) -> Router:
    return Router(route for family in FAMILIES for route in family.routes(engine))


async def serve(
    engine: Engine,
    listener_socket: socket.socket,
    *,
    task_status: trio.TaskStatus[Connections] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``listener_socket`` (bound and listening) until cancelled. One task a connection; whatever fails
    in one is answered and logged there."""
    router = build_router(engine)
    connections = Connections()
    server_name = f"composer/{__version__} (linux)"
    listener_socket.setblocking(False)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listener_socket))

    async def serve_connection(stream: trio.SocketStream) -> None:
        connections.add(1)
        try:
            await Connection(stream, router, server_name).run()
        except Exception:
            log.exception("a connection broke off")
        finally:
            connections.add(-1)

    task_status.started(connections)
    await trio.serve_listeners(serve_connection, [listener])
