"""``logs``: of which containers, from when on, and whether what comes later is shown as well."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import trio

from composer.engine.containers import Container
from composer.engine.logs import Exit, Item, Seen, Source, end_of, merge
from composer.engine.projects.attached import exit_event, log_events
from composer.engine.projects.following import Following
from composer.engine.projects.known import Known
from composer.engine.projects.parts import Parts, number_of, service_of
from composer.engine.projects.steps import Emit, warn
from composer.engine.requests import LogsRequest
from runtime.errors import NotFound

_STARTS = {"type": ["container"], "event": ["start"]}


async def show_logs(
    parts: Parts, known: Known, request: LogsRequest, emit: Emit, at_work: Callable[[], trio.Event | None]
) -> None:
    """Emit what is asked for; with ``follow`` until nothing of it runs and nobody is ``at_work``. Raises NotFound."""

    end = end_of(request.until)

    def choose() -> list[Container]:
        chosen = _readable(replace(known, containers=parts.of_project(known.name)), request)
        return [c for c in chosen if c.config.log.driver != "none"]

    def read(container: Container, seen: Seen | None) -> AsyncIterator[Item | None]:
        return parts.logs.read_marked(
            container,
            follow=request.follow,
            since=request.since,
            until=request.until,
            tail=request.tail,
            seen=seen,
            end=end,
        )

    async def deliver(container: Container, item: Item) -> None:
        if isinstance(item, Exit):
            await emit(exit_event(container, item.status))
        else:
            for event in log_events(container, item):
                await emit(event)

    readable = _readable(known, request)
    if request.index and not readable:
        raise NotFound(f'service "{request.services[0]}" has no container #{request.index}')
    for container in readable:
        if container.config.log.driver == "none":
            await warn(emit, f'no logs of "{container.name}": its logging driver is none')
    if request.follow:
        starts = functools.partial(parts.events.subscribe, filters=_STARTS)
        await Following(choose, read, deliver, end).run(starts, at_work)
    else:
        await merge([Source(c, functools.partial(read, c, None)) for c in choose()], deliver)


def _readable(known: Known, request: LogsRequest) -> list[Container]:
    """The containers whose logs are asked for."""
    present = {service_of(c) for c in known.containers}
    services = [s for s in request.services if s in present]
    if request.services and not services:
        return []
    chosen = known.chosen(services, with_oneoffs=not known.project)
    return [c for c in chosen if not request.index or number_of(c) == request.index]
