"""Interfaces of containers that have ended, which the kernel keeps.

They go with their network namespace, and that goes when its last socket does: a connection whose other side was out of
reach when its process ended is tried for some 100 s yet. Nobody waits for it: what is still there after some seconds
is deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from composer.engine.containers import Container, Containers
from composer.engine.model import Endpoint
from runtime.errors import ComposerError
from runtime.network import bridge
from runtime.network.sandbox import host_interface

log = logging.getLogger(__name__)

WAITS = 3.0
"""Seconds from a container's end to the look at what is left: mostly the kernel has taken it away by then."""


@dataclass(eq=False)
class LeftInterfaces:
    """Told of each container that has ended (:meth:`note`)."""

    containers: Containers
    _ended: dict[str, tuple[float, Mapping[str, Endpoint]]] = field(default_factory=dict)
    """Container id -> when it ended, and what it had. Oldest first."""
    _news: trio.Event = field(default_factory=trio.Event)

    def note(self, container: Container) -> None:
        """It has ended. Repeating it is harmless."""
        if container.endpoints:
            self._ended.pop(container.id, None)
            self._ended[container.id] = (trio.current_time(), container.endpoints)
            self._news.set()

    async def run(self) -> None:
        """Look, some time after each end, until cancelled. Never wakes while there is nothing to look at."""
        while True:
            if not self._ended:
                self._news = trio.Event()
                await self._news.wait()
            await trio.sleep_until(next(iter(self._ended.values()))[0] + WAITS)
            names = [name for container_id in self._due() for name in self._of(container_id)]
            # By number: the name may be another one's when the thread gets to it, of the container's next run.
            if left := [index for name in names if (index := bridge.index_of(name))]:
                try:
                    await trio.to_thread.run_sync(bridge.remove_links, left)
                except (OSError, ComposerError) as error:
                    log.warning("interfaces of containers that have ended: %s", error)

    def _due(self) -> Sequence[str]:
        latest = trio.current_time() - WAITS
        return [container_id for container_id, (ended, _) in self._ended.items() if ended <= latest]

    def _of(self, container_id: str) -> Iterable[str]:
        """Those that nobody has, and nobody will have: a start takes its last run's away itself."""
        _, endpoints = self._ended.pop(container_id)
        container = self.containers.find_id(container_id)
        if container is not None and (container.state.is_alive or container.busy.locked()):
            return ()
        return (host_interface(container_id, endpoint.network_id) for endpoint in endpoints.values())
