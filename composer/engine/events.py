"""The engine's events: a short history and everybody who listens."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal

import trio

from composer.engine.model import EngineEvent
from runtime.build.worker.labels import is_inner

HISTORY = 1024
"""How many events ``--since`` can look back on."""
BACKLOG = 4096
"""How many a listener may lag before it loses the oldest."""


class Events:
    """Publish is synchronous and never waits; a listener that lags loses events, not the engine."""

    def __init__(self) -> None:
        self._history: deque[EngineEvent] = deque(maxlen=HISTORY)
        self._listeners: set[_Listener] = set()

    def publish(
        self,
        type: Literal["container", "network", "volume", "image", "daemon"],
        action: str,
        actor_id: str,
        attributes: Mapping[str, str] | None = None,
        *,
        is_kept: bool = True,
    ) -> None:
        """``is_kept``: also for who asks later. What happens all the time would drive the rest out of the history."""
        if is_inner(attributes or {}):
            return
        event = EngineEvent(
            type=type,
            action=action,
            actor_id=actor_id,
            attributes=dict(attributes or {}),
            time_ns=time.time_ns(),
        )
        if is_kept:
            self._history.append(event)
        for listener in self._listeners:
            listener.offer(event)

    async def subscribe(
        self,
        since: int | None = None,
        until: int | None = None,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> AsyncIterator[EngineEvent]:
        """Events from ``since`` (ns; None: from now) to ``until`` (ns; None: for ever), in order, that match Docker's
        ``filters`` (type, event, container, network, volume, image, label)."""
        listener = _Listener(filters or {})
        if since is None and until is not None and until <= time.time_ns():
            since = 0  # there is nothing but what was
        if since is not None:
            for event in self._history:
                if event.time_ns >= since:
                    listener.offer(event)
        self._listeners.add(listener)
        # Once, on a clock that nobody sets: who wants the next ten seconds does not want a day.
        end = trio.current_time() + _seconds_until(until)
        try:
            while True:
                # The scope may not be open across the yield: it would cancel what the reader does with the event.
                with trio.move_on_at(end) as scope:
                    event = await listener.next()
                if scope.cancelled_caught:
                    return
                if until is None or event.time_ns <= until:
                    yield event  # one that is later, where the clock was set back, is not the last
        finally:
            self._listeners.discard(listener)


def _seconds_until(time_ns: int | None) -> float:
    return float("inf") if time_ns is None else max(0.0, (time_ns - time.time_ns()) / 1e9)


class _Listener:
    def __init__(self, filters: Mapping[str, Sequence[str]]) -> None:
        self._queue: deque[EngineEvent] = deque(maxlen=BACKLOG)
        self._news = trio.Event()
        self._filters = filters

    def offer(self, event: EngineEvent) -> None:
        if not matches(event, self._filters):
            return
        self._queue.append(event)
        self._news.set()

    async def next(self) -> EngineEvent:
        while not self._queue:
            self._news = trio.Event()
            await self._news.wait()
        return self._queue.popleft()


def matches(event: EngineEvent, filters: Mapping[str, Sequence[str]]) -> bool:
    """Docker's rule: values of one filter are alternatives, filters add up."""
    return all(
        any(_matches_one(event, key, value) for value in values) for key, values in filters.items() if values
    )


def _matches_one(event: EngineEvent, key: str, value: str) -> bool:
    match key:
        case "type" | "scope":
            return value in (event.type, "local") if key == "scope" else event.type == value
        case "event":
            return event.action == value or event.action.startswith(value + ":")
        case "label":
            name, has_value, wanted = value.partition("=")
            return name in event.attributes and (not has_value or event.attributes[name] == wanted)
        case "image":
            # Also what happens to containers of that image, as with Docker.
            named = event.attributes.get("name" if event.type == "image" else "image", "")
            is_of_it = event.type == "image" and event.actor_id.startswith((value, f"sha256:{value}"))
            return is_of_it or (bool(named) and value in (named, _without_tag(named)))
        case "container" | "network" | "volume":
            named = event.attributes.get("name", "")
            return event.type == key and (
                value in (event.actor_id, named) or event.actor_id.startswith(value)
            )
        case _:
            return False


def _without_tag(name: str) -> str:
    rest = name.partition("@")[0]
    before, colon, tag = rest.rpartition(":")
    return before if colon and "/" not in tag else rest
