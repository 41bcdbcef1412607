"""Projects: ``/composer/v1/projects/...``, requests of ``composer.engine.requests`` answered with lines of
events."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import trio

from composer.api.http import find_composer_error, internal_error
from composer.api.interface import Emit, Engine
from composer.api.messages import (
    NDJSON,
    Answer,
    Handler,
    Request,
    Sink,
    Streaming,
    error_fields,
    json_response,
    location_fields,
)
from composer.api.routing import Route
from composer.engine.at_once import at_most
from composer.engine.builds.requests import ImageBuild
from composer.engine.projects.sources import locate
from composer.engine.requests import (
    BuildRequest,
    DownRequest,
    ErrorEvent,
    Event,
    KillRequest,
    LogsRequest,
    ProjectRequest,
    ProjectSource,
    PullRequest,
    RemoveRequest,
    ResultEvent,
    RunRequest,
    ScaleRequest,
    StartRequest,
    StopRequest,
    UpRequest,
)
from runtime.errors import ComposerError

log = logging.getLogger(__name__)
R = TypeVar("R", bound=msgspec.Struct)
_encoder = msgspec.json.Encoder()

QUEUED_EVENTS = 1024
"""Lines that may wait for a slow client before the work that they tell of waits, too."""


def routes(engine: Engine) -> list[Route]:
    own = ProjectRoutes(engine)
    projects = engine.projects
    verbs: list[tuple[str, Handler]] = [
        ("up", own.verb(UpRequest, projects.up)),
        ("create", own.verb(UpRequest, own.create)),
        ("down", own.verb(DownRequest, projects.down)),
        ("start", own.verb(StartRequest, projects.start)),
        ("stop", own.verb(StopRequest, projects.stop)),
        ("restart", own.verb(StopRequest, projects.restart)),
        ("kill", own.verb(KillRequest, projects.kill)),
        ("rm", own.verb(RemoveRequest, projects.rm)),
        ("scale", own.verb(ScaleRequest, projects.scale)),
        ("pause", own.verb(ProjectRequest, projects.pause)),
        ("unpause", own.verb(ProjectRequest, projects.unpause)),
        ("build", own.verb(BuildRequest, projects.build)),
        ("pull", own.verb(PullRequest, projects.pull)),
        ("run", own.verb(RunRequest, projects.run)),
        ("logs", own.verb(LogsRequest, projects.logs)),
    ]
    return [
        Route("GET", "/composer/v1/projects", own.list_projects),
        Route("POST", "/composer/v1/build", own.verb(ImageBuild, engine.builds.run)),
        Route("POST", "/composer/v1/projects/resolve", own.resolve),
        *(Route("POST", f"/composer/v1/projects/{name}", handler) for name, handler in verbs),
    ]


@dataclass(frozen=True, slots=True)
class ProjectRoutes:
    engine: Engine

    def verb(self, type_: type[R], act: Callable[[R, Emit], Awaitable[ResultEvent]]) -> Handler:
        """A handler that runs ``act`` and streams its events. A client that goes away cancels it."""

        async def handler(request: Request) -> Answer:
            asked = await request.json(type_)

            async def produce(sink: Sink) -> None:
                await sink.send(b"")
                queue, lines = trio.open_memory_channel[bytes](QUEUED_EVENTS)

                async def emit(event: Event) -> None:
                    line = _encoder.encode(event) + b"\n"
                    try:  # whoever has many does not wait for each to be sent alone
                        queue.send_nowait(line)
                    except trio.WouldBlock:
                        await queue.send(line)

                broken: list[Exception] = []
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_write, lines, sink, broken, nursery.cancel_scope)
                    source = getattr(asked, "project", None)
                    async with queue:
                        with at_most(source.parallel if isinstance(source, ProjectSource) else 0):
                            outcome = await _outcome(act(asked, emit), request.path, asked)
                        await emit(outcome)
                if broken:
                    raise broken[0]

            return Streaming(produce, NDJSON)

        return handler

    async def create(self, request: UpRequest, emit: Emit) -> ResultEvent:
        return await self.engine.projects.up(msgspec.structs.replace(request, start=False), emit)

    async def resolve(self, request: Request) -> Answer:
        return json_response(await self.engine.projects.resolve(await request.json(ProjectRequest)))

    async def list_projects(self, request: Request) -> Answer:
        return json_response(self.engine.projects.list_projects(request.query.flag("all")))


async def _write(
    lines: trio.MemoryReceiveChannel[bytes], sink: Sink, broken: list[Exception], work: trio.CancelScope
) -> None:
    """Send the lines of many tasks one after the other, together what is there together. When the client is gone,
    ``work`` is cancelled."""
    async for line in lines:
        batch = [line]
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                batch.append(lines.receive_nowait())
        try:
            await sink.send(b"".join(batch))
        except Exception as error:
            broken.append(error)
            work.cancel()
            return


async def _outcome(work: Awaitable[ResultEvent], path: str, asked: object) -> ResultEvent | ErrorEvent:
    """The last line: what ``work`` returns, or its error, with the places of what is to blame."""
    try:
        return await work
    except Exception as error:
        known = find_composer_error(error)
        if known is None:
            request_id = secrets.token_hex(4)
            log.error("request %s: %s failed", request_id, path, exc_info=error)
            known = internal_error(error, request_id)
        if isinstance(source := getattr(asked, "project", None), ProjectSource):
            await trio.to_thread.run_sync(locate, source, known)
        return error_event(known)


def error_event(error: ComposerError) -> ErrorEvent:
    return ErrorEvent(
        message=error.message,
        hint=error.hint,
        locations=tuple(location_fields(location) for location in error.locations),
        exit_status=error.exit_status,
        errors=tuple(error_fields(one) for one in error.errors),
    )
