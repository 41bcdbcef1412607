"""Projects: ``/composer/v1/projects/...``, requests of ``composer.engine.requests`` answered with lines of
events."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from composer.api.http import find_composer_error, internal_error
from composer.api.interface import Emit, Engine
from composer.api.messages import (
    NDJSON,
    Answer,
    Handler,
    Request,
    Sink,
    Streaming,
    json_response,
    location_fields,
)
from composer.api.routing import Route
from composer.engine.requests import (
    DownRequest,
    ErrorEvent,
    Event,
    KillRequest,
    LogsRequest,
    ProjectRequest,
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
        ("pull", own.verb(PullRequest, projects.pull)),
        ("run", own.verb(RunRequest, projects.run)),
        ("logs", own.verb(LogsRequest, projects.logs)),
    ]
    return [
        Route("GET", "/composer/v1/projects", own.list_projects),
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
                async def emit(event: Event) -> None:
                    await sink.send(_encoder.encode(event) + b"\n")

                await sink.send(b"")
                await emit(await _outcome(act(asked, emit), request.path))

            return Streaming(produce, NDJSON)

        return handler

    async def create(self, request: UpRequest, emit: Emit) -> ResultEvent:
        return await self.engine.projects.up(msgspec.structs.replace(request, start=False), emit)

    async def resolve(self, request: Request) -> Answer:
        return json_response(await self.engine.projects.resolve(await request.json(ProjectRequest)))

    async def list_projects(self, request: Request) -> Answer:
        return json_response(self.engine.projects.list_projects(request.query.flag("all")))


async def _outcome(work: Awaitable[ResultEvent], path: str) -> ResultEvent | ErrorEvent:
    """The last line: what ``work`` returns, or its error."""
    try:
        return await work
    except Exception as error:
        known = find_composer_error(error)
        if known is None:
            request_id = secrets.token_hex(4)
            log.error("request %s: %s failed", request_id, path, exc_info=error)
            known = internal_error(error, request_id)
        return error_event(known)


def error_event(error: ComposerError) -> ErrorEvent:
    return ErrorEvent(
        message=error.message,
        hint=error.hint,
        locations=tuple(location_fields(location) for location in error.locations),
        exit_status=error.exit_status,
    )
