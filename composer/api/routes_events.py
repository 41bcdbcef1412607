"""The engine's events: ``GET /events``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from composer.api.interface import Engine
from composer.api.messages import Answer, Request, Sink, Streaming, encode_json
from composer.api.routing import Route
from composer.api.times import SECOND
from composer.engine.model import EngineEvent

_FILTERS = frozenset({"container", "daemon", "event", "image", "label", "network", "scope", "type", "volume"})


def routes(engine: Engine) -> list[Route]:
    return [Route("GET", "/events", EventRoutes(engine).events)]


def event_json(event: EngineEvent) -> dict[str, Any]:
    """An event in Docker's JSON, with the fields of old for containers and images."""
    fields: dict[str, Any] = {}
    if event.type in ("container", "image"):
        fields = {"status": event.action, "id": event.actor_id}
        if event.type == "container" and "image" in event.attributes:
            fields["from"] = event.attributes["image"]
    return fields | {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor_id, "Attributes": dict(sorted(event.attributes.items()))},
        "scope": "local",
        "time": event.time_ns // SECOND,
        "timeNano": event.time_ns,
    }


@dataclass(frozen=True, slots=True)
class EventRoutes:
    engine: Engine

    async def events(self, request: Request) -> Answer:
        query = request.query
        found = self.engine.events.subscribe(
            query.time_ns("since"), query.time_ns("until"), query.filters(_FILTERS)
        )

        async def produce(sink: Sink) -> None:
            await sink.send(b"")
            async for event in found:
                await sink.send(encode_json(event_json(event)) + b"\n")

        return Streaming(produce)
