"""start, stop, restart, kill, rm, pause, unpause of a project's containers, in the order of its dependencies."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable, Sequence

from composer.engine.containers import Container
from composer.engine.lifecycle import AlreadyStarted
from composer.engine.projects.down import stop_container
from composer.engine.projects.known import Known
from composer.engine.projects.parts import Parts, service_of
from composer.engine.projects.side_by_side import each_to_its_end, side_by_side
from composer.engine.projects.steps import Emit, tell, warn
from composer.engine.projects.waits import (
    ConditionFailed,
    explain_failure,
    together,
    wait_for_condition,
)
from composer.engine.requests import DownRequest, KillRequest, RemoveRequest, StopRequest
from composer.plan.graph import Dependencies, Dependency, layers
from runtime.errors import ComposerError, Conflict, NotFound


def in_layers(containers: Sequence[Container], dependencies: Dependencies) -> list[list[Container]]:
    """Containers in the order of starting: dependencies first; what no service of the file owns comes last."""
    ordered: list[list[Container]] = []
    left = list(containers)
    for layer in layers(dependencies):
        members = [c for c in left if service_of(c) in layer]
        if members:
            ordered.append(members)
            left = [c for c in left if c not in members]
    return [*ordered, left] if left else ordered


async def hurry(parts: Parts, known: Known, request: StopRequest | DownRequest) -> None:
    """What somebody else stops, more patiently, ends within the time of a request that waits for its turn."""
    with contextlib.suppress(ComposerError):  # told when its turn has come
        await each_to_its_end(
            functools.partial(parts.lifecycle.ending.hurry, container, request.timeout)
            for container in known.chosen(request.services)
        )


async def start(
    parts: Parts, containers: Sequence[Container], dependencies: Dependencies, emit: Emit
) -> None:
    """Start what does not run, each when what it depends on is in the wanted condition."""
    failed: dict[str, ComposerError] = {}
    for layer in in_layers(containers, dependencies):

        async def one(container: Container) -> None:
            if container.state.status in ("running", "paused"):
                await tell(emit, "Container", container.name, "Running")
                return
            for need in dependencies.get(service_of(container), ()):
                await _wait_for_dependency(parts, container, need, emit)
            await tell(emit, "Container", container.name, "Starting")
            try:
                if warning := await parts.lifecycle.start(container.id):
                    await warn(emit, warning)
            except AlreadyStarted:
                pass
            except ComposerError as error:
                error.exit_status = 1
                error.within(f"starting {container.name}").pointing_at(f"services.{service_of(container)}")
                failed[container.id] = error
                await tell(emit, "Container", container.name, "Error")
                raise
            await tell(emit, "Container", container.name, "Started")

        try:
            await side_by_side([_bind(one, container) for container in layer])
        except ComposerError as error:
            failures = [failed[one.id] for one in containers if one.id in failed]
            raise together(failures if error in failures else [error, *failures]) from None


def _bind(
    function: Callable[[Container], Awaitable[None]], container: Container
) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        await function(container)

    return call


async def _wait_for_dependency(parts: Parts, container: Container, need: Dependency, emit: Emit) -> None:
    project = container.config.labels.get("com.docker.compose.project", "")
    for other in parts.replicas_of(project, need.service):
        if need.condition == "service_started":
            continue
        try:
            await tell(emit, "Container", other.name, "Waiting")
            with parts.waiting.for_service(container.name, need.service, need.condition):
                met = await wait_for_condition(other, need.condition, was_started=True)
            await tell(emit, "Container", other.name, met.word)
        except ConditionFailed as error:
            if need.required:
                raise await explain_failure(error, parts.logs, "dependency failed to start: ") from None
            await warn(emit, f"optional dependency {need.service} failed to start: {error.message}")


async def stop(
    parts: Parts,
    containers: Sequence[Container],
    dependencies: Dependencies,
    timeout: float | None,
    emit: Emit,
) -> None:
    """Stop what runs or is about to, dependents first."""
    for layer in reversed(in_layers(containers, dependencies)):
        await each_to_its_end(
            [
                _bind(lambda c: stop_container(parts, c, timeout, emit), container)
                for container in layer
                if container.is_to_stop
            ]
        )


async def restart(
    parts: Parts,
    containers: Sequence[Container],
    dependencies: Dependencies,
    request: StopRequest,
    emit: Emit,
) -> None:
    """Restart layer by layer, dependencies first; a dependent waits for the conditions that it needs."""
    for layer in in_layers(containers, dependencies):

        async def one(container: Container) -> None:
            await tell(emit, "Container", container.name, "Restarting")
            for need in dependencies.get(service_of(container), ()):
                if not request.no_deps and need.condition == "service_healthy":
                    await _wait_for_dependency(parts, container, need, emit)
            await parts.lifecycle.restart(container.id, request.timeout)
            await tell(emit, "Container", container.name, "Started")

        await each_to_its_end([_bind(one, container) for container in layer])


async def kill(parts: Parts, containers: Sequence[Container], request: KillRequest, emit: Emit) -> None:
    """Send a signal to each that runs."""

    async def one(container: Container) -> None:
        await tell(emit, "Container", container.name, "Killing")
        await parts.lifecycle.kill(container.id, request.signal)
        await tell(emit, "Container", container.name, "Killed")

    await side_by_side([_bind(one, c) for c in containers if c.state.is_alive])


async def remove(parts: Parts, containers: Sequence[Container], request: RemoveRequest, emit: Emit) -> None:
    """Remove containers that do not run (``stop``: stop them first)."""

    async def one(container: Container) -> None:
        if request.stop and container.is_to_stop:
            await stop_container(parts, container, None, emit)
        await tell(emit, "Container", container.name, "Removing")
        with contextlib.suppress(NotFound):  # one with --rm may go by itself
            await parts.lifecycle.remove(container.id, volumes=request.volumes)
        await tell(emit, "Container", container.name, "Removed")

    await each_to_its_end([_bind(one, c) for c in containers if request.stop or c.state.is_settled])


async def pause(parts: Parts, containers: Sequence[Container], emit: Emit) -> None:
    """Freeze what runs."""

    async def one(container: Container) -> None:
        await tell(emit, "Container", container.name, "Pausing")
        await parts.lifecycle.pause(container.id)
        await tell(emit, "Container", container.name, "Paused")

    running = [c for c in containers if c.state.status == "running"]
    if not running and (paused := [c for c in containers if c.state.status == "paused"]):
        raise Conflict(f"Container {paused[0].name} is already paused")
    await side_by_side([_bind(one, c) for c in running])


async def unpause(parts: Parts, containers: Sequence[Container], emit: Emit) -> None:
    """Let what is frozen go on."""

    async def one(container: Container) -> None:
        await tell(emit, "Container", container.name, "Unpausing")
        await parts.lifecycle.unpause(container.id)
        await tell(emit, "Container", container.name, "Unpaused")

    paused = [c for c in containers if c.state.status == "paused"]
    if not paused and (running := [c for c in containers if c.state.status == "running"]):
        raise Conflict(f"Container {running[0].name} is not paused")
    await side_by_side([_bind(one, c) for c in paused])
