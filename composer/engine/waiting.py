"""Who waits for what, since when: for people who ask why nothing happens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import trio

from composer.engine.containers import Container

_SENTENCES = {
    "service_started": "service {} to be started",
    "service_healthy": "service {} to be healthy",
    "service_completed_successfully": "service {} to end with success",
}


@dataclass(frozen=True)
class Wait:
    """``who`` waits ``what_for`` (words that follow "waits for"); ``since`` is on trio's clock."""

    who: str
    what_for: str
    since: float


class Waiting:
    """All waits of the engine that may take long."""

    def __init__(self) -> None:
        self._waits: dict[int, Wait] = {}
        self._next = 0

    @contextlib.contextmanager
    def of(self, who: str, what_for: str) -> Iterator[None]:
        """Inside, ``who`` waits."""
        self._next += 1
        number = self._next
        self._waits[number] = Wait(who, what_for, trio.current_time())
        try:
            yield
        finally:
            del self._waits[number]

    def for_service(self, who: str, service: str, condition: str) -> contextlib.AbstractContextManager[None]:
        """As :meth:`of`, for a condition of a service."""
        return self.of(who, _SENTENCES.get(condition, f"{{}} ({condition})").format(service))

    def tell(self, containers: Iterable[Container]) -> list[dict[str, Any]]:
        """For the API: who waits, the longest first; containers between two runs, too."""
        now = trio.current_time()
        found = [
            {"Name": wait.who, "For": wait.what_for, "Seconds": round(now - wait.since, 1)}
            for wait in sorted(self._waits.values(), key=lambda wait: wait.since)
        ]
        for container in containers:
            state = container.state
            if state.status == "restarting":
                what_for = (
                    f"its restart: it has ended with {state.exit_code}, {state.restart_count + 1} times"
                )
                found.append({"Name": container.name, "For": what_for, "Seconds": 0.0})
        return found
