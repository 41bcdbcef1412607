"""What an attached ``up`` shows: the logs of its services and their exits, until they have all ended or one exit is
enough."""

from __future__ import annotations

import base64
import functools
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence

import trio

from composer.compose.model import Project
from composer.engine.cells import first_of
from composer.engine.containers import Container
from composer.engine.lifecycle import AlreadyStarted
from composer.engine.logs import Exit, Item, Seen, Source, merge
from composer.engine.model import Status
from composer.engine.projects.parts import Parts, number_of, service_of
from composer.engine.projects.side_by_side import each_to_its_end
from composer.engine.projects.steps import Emit, tell
from composer.engine.requests import AbortingEvent, AttachedEvent, ExitEvent, LogEvent, UpRequest
from runtime.container.logs import LogEntry
from runtime.errors import NotFound


def log_events(container: Container, lines: Sequence[LogEntry]) -> Iterator[LogEvent]:
    """Lines as they travel, in order; text when it is UTF-8, else base64."""
    begun = 0
    for end, line in enumerate(lines, 1):
        if end == len(lines) or line.partial or lines[end].stream != line.stream:
            yield _log_event(container, lines[begun:end])
            begun = end


def _log_event(container: Container, lines: Sequence[LogEntry]) -> LogEvent:
    data = b"\n".join([line.data for line in lines])
    text, encoded = "", ""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(data).decode()
    return LogEvent(
        service=service_of(container),
        container=container.name,
        number=number_of(container),
        stream=lines[0].stream,
        times=[line.time_ns for line in lines],
        text=text,
        text64=encoded,
        partial=lines[-1].partial,
    )


def exit_event(container: Container, status: Status) -> ExitEvent:
    """The end of one run."""
    return ExitEvent(
        service=service_of(container),
        container=container.name,
        number=number_of(container),
        exit_code=status.exit_code,
        oom_killed=status.oom_killed,
        restarting=status.status == "restarting",
    )


def shown_services(request: UpRequest, project: Project, brought_up: Collection[str]) -> frozenset[str]:
    """Whose output is shown, of the services that are ``brought_up``."""
    chosen = set(request.attach_services or request.services or brought_up)
    if request.attach_dependencies:
        chosen = set(brought_up)
    unwanted = {name for name, service in project.services.items() if service.attach is False}
    return frozenset(chosen.difference(request.no_attach, unwanted))


class Starting:
    """The starting of containers that goes on while their logs are shown."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.is_over = trio.Event()
        self.of: dict[str, trio.Event] = {}
        """By container id: that its program has been started, or was running."""


class Attached:
    """The part of ``up`` that stays. ``exit_status`` is what the command ends with."""

    def __init__(
        self,
        parts: Parts,
        containers: Sequence[Container],
        project: Sequence[Container],
        request: UpRequest,
        emit: Emit,
        awaited: Collection[str],
        starting: Starting,
    ) -> None:
        self.parts = parts
        self.containers = containers
        self.project = project
        """All containers of the project that this ``up`` was about: those that an abort stops."""
        self.request = request
        self.emit = emit
        self.awaited = awaited
        """Services whose completion others wait for: when they succeed, that is no reason to abort."""
        self.starting = starting
        self.exit_status = 0
        self._is_aborting = False
        self._nursery: trio.Nursery | None = None

    @property
    def _aborts(self) -> bool:
        return bool(
            self.request.abort_on_container_exit
            or self.request.abort_on_container_failure
            or self.request.exit_code_from
        )

    async def run(self, before: Mapping[str, Seen], since: int | None) -> None:
        """Show everything written and every exit after what was seen ``before`` (by container id; others are new),
        and not before ``since`` (ns), in order, until all has ended."""
        shown = [c for c in self.containers if c.config.log.driver != "none"]
        await self.emit(
            AttachedEvent(
                containers=tuple(
                    {"service": service_of(c), "container": c.name, "number": number_of(c)} for c in shown
                )
            )
        )
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for container in self.project:
                if container not in shown:
                    nursery.start_soon(self._watch, container, before.get(container.id, Seen()))
            sources = [
                Source(c, functools.partial(self._lines, c, before.get(c.id, Seen()), since)) for c in shown
            ]
            nursery.start_soon(merge, sources, self._deliver)

    async def _lines(self, container: Container, seen: Seen, since: int | None) -> AsyncIterator[Item | None]:
        yield None  # there is nothing to wait for from one that has not been started
        if not await self._is_started(container):
            return
        async for item in self.parts.logs.read_marked(container, follow=True, since=since, seen=seen):
            yield item

    async def _is_started(self, container: Container) -> bool:
        """Wait until this ``up`` has started a container, or will not."""
        started = self.starting.of[container.id]
        await first_of(started.wait, self.starting.is_over.wait)
        return started.is_set()

    async def _deliver(self, container: Container, item: Item) -> None:
        if isinstance(item, Exit):
            await self._tell_exit(container, item.status)
        else:
            for event in log_events(container, item):
                await self.emit(event)

    async def _watch(self, container: Container, seen: Seen) -> None:
        """Tell each exit of a container whose log is not shown, until it has ended for good."""
        if not await self._is_started(container):
            return
        async for status in container.status.values():
            if not status.is_alive and status.finished_at != seen.finished_at:
                seen.finished_at = status.finished_at
                await self._tell_exit(container, status)
            if status.is_over or container.is_removed.is_set():
                return

    async def _tell_exit(self, container: Container, status: Status) -> None:
        restarting = status.status == "restarting"
        if container in self.containers:
            await self.emit(exit_event(container, status))
        if restarting or not self._aborts:
            return
        is_chosen = self.request.exit_code_from == service_of(container)
        is_expected = self.request.abort_on_container_failure or service_of(container) in self.awaited
        if is_expected and not status.exit_code and not is_chosen:
            return
        if is_chosen:
            self.exit_status = status.exit_code
        if self._is_aborting:
            return
        self._is_aborting = True
        if not self.request.exit_code_from:
            self.exit_status = status.exit_code
        assert self._nursery is not None
        self._nursery.start_soon(self._abort, container)

    async def _abort(self, cause: Container) -> None:
        """Stop all the others, as ``--abort-on-container-exit`` asks."""
        await self.emit(AbortingEvent(container=cause.name))
        self.starting.scope.cancel()
        await each_to_its_end(
            functools.partial(self._stop, container) for container in self.project if container is not cause
        )

    async def _stop(self, container: Container) -> None:
        if container.state.is_settled:
            return
        await tell(self.emit, "Container", container.name, "Stopping")
        try:
            await self.parts.lifecycle.stop(container.id, self.request.timeout)
        except (AlreadyStarted, NotFound):
            pass
        await tell(self.emit, "Container", container.name, "Stopped")
