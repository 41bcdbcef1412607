"""What an attached ``up`` shows: the logs of its services and their exits, until they have all ended or one exit is
enough."""

from __future__ import annotations

import base64
import functools
import time
from collections.abc import AsyncIterator, Sequence

import trio

from composer.engine.containers import Container
from composer.engine.lifecycle import AlreadyStarted
from composer.engine.logs import Source, merge
from composer.engine.model import LogLine, Status
from composer.engine.projects.parts import Parts, number_of, service_of
from composer.engine.projects.steps import Emit, tell
from composer.engine.requests import ExitEvent, LogEvent, UpRequest


def log_event(container: Container, line: LogLine) -> LogEvent:
    """A line as it travels: text when it is UTF-8, else base64."""
    text, encoded = "", ""
    try:
        text = line.data.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(line.data).decode()
    return LogEvent(
        service=service_of(container),
        container=container.name,
        number=number_of(container),
        stream=line.stream,
        time=line.time_ns,
        line=text,
        line64=encoded,
        partial=line.partial,
    )


async def follow_logs(
    parts: Parts, containers: Sequence[Container], emit: Emit, since: dict[str, int]
) -> None:
    """Emit the logs of ``containers`` in time order until all of them have ended; ``since`` (ns) by container id."""

    def lines(container: Container) -> AsyncIterator[LogLine | None]:
        return parts.logs.read_marked(container, follow=True, since=since.get(container.id))

    async def deliver(container: Container, line: LogLine) -> None:
        await emit(log_event(container, line))

    sources = [
        Source(container, functools.partial(lines, container))
        for container in containers
        if container.config.log.driver != "none"
    ]
    await merge(sources, deliver)


class Attached:
    """The part of ``up`` that stays. ``exit_status`` is what the command ends with."""

    def __init__(
        self,
        parts: Parts,
        containers: Sequence[Container],
        project: Sequence[Container],
        request: UpRequest,
        emit: Emit,
    ) -> None:
        self.parts = parts
        self.containers = containers
        self.project = project
        """All containers of the project that this ``up`` was about: those that an abort stops."""
        self.request = request
        self.emit = emit
        self.exit_status = 0
        self._is_aborting = False

    @property
    def _aborts(self) -> bool:
        return bool(
            self.request.abort_on_container_exit
            or self.request.abort_on_container_failure
            or self.request.exit_code_from
        )

    async def run(self, since: dict[str, int]) -> int:
        """Until everything has ended; returns the exit status."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow_logs, self.parts, self.containers, self.emit, since)
            for container in self.project:
                nursery.start_soon(self._watch, container)
        return self.exit_status

    async def _watch(self, container: Container) -> None:
        """Tell each exit of a container until it has ended for good."""
        seen = 0
        async for status in container.status.values():
            if status.status in ("exited", "restarting", "removing", "dead") and status.finished_at > seen:
                seen = status.finished_at
                await self._tell_exit(container, status)
            if (status.is_settled and status.status != "created") or container.is_removed.is_set():
                return

    async def _tell_exit(self, container: Container, status: Status) -> None:
        restarting = status.status == "restarting"
        if container in self.containers:
            await self.emit(
                ExitEvent(
                    service=service_of(container),
                    container=container.name,
                    number=number_of(container),
                    exit_code=status.exit_code,
                    restarting=restarting,
                )
            )
        if restarting or not self._aborts:
            return
        is_chosen = self.request.exit_code_from == service_of(container)
        if self.request.abort_on_container_failure and not status.exit_code and not is_chosen:
            return
        if is_chosen:
            self.exit_status = status.exit_code
        if self._is_aborting:
            return
        self._is_aborting = True
        if not self.request.exit_code_from:
            self.exit_status = status.exit_code
        await self._abort(container)

    async def _abort(self, cause: Container) -> None:
        """Stop all the others, as ``--abort-on-container-exit`` asks."""
        await tell(self.emit, "Container", cause.name, "Aborting", "on container exit")
        async with trio.open_nursery() as nursery:
            for container in self.project:
                if container is not cause:
                    nursery.start_soon(self._stop, container)

    async def _stop(self, container: Container) -> None:
        if container.state.is_settled:
            return
        await tell(self.emit, "Container", container.name, "Stopping")
        try:
            await self.parts.lifecycle.stop(container.id, self.request.timeout)
        except AlreadyStarted:
            pass
        await tell(self.emit, "Container", container.name, "Stopped")


def now() -> int:
    """Nanoseconds since the epoch."""
    return time.time_ns()
