"""``down``: dependents first, everything of one layer side by side; then networks, volumes and images."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence

import trio

from composer.engine.containers import Container
from composer.engine.lifecycle import AlreadyStarted
from composer.engine.projects.parts import Parts, service_of
from composer.engine.projects.side_by_side import each_to_its_end
from composer.engine.projects.steps import Emit, tell, warn
from composer.engine.projects.waits import unwrap
from composer.engine.requests import DownRequest
from composer.plan.steps import DownPlan
from runtime.errors import ComposerError, Conflict, NotFound


async def take_down(parts: Parts, plan: DownPlan, request: DownRequest, emit: Emit) -> None:
    """Carry out ``plan``. What cannot be removed is told with its reason, and the rest goes on."""
    for warning in plan.warnings:
        await warn(emit, warning)
    failures: list[ComposerError] = []
    running = {container.id for group in plan.containers for container in group}
    all_stopped = trio.Event()

    def stopped(id: str) -> None:
        running.discard(id)
        if not running:
            all_stopped.set()

    try:
        async with trio.open_nursery() as meanwhile:
            if running:
                for name in plan.networks:
                    meanwhile.start_soon(_retire_network, parts, name, all_stopped)
            for group in plan.containers:
                await each_to_its_end(
                    functools.partial(_remove, parts, container.id, request, emit, stopped)
                    for container in group
                )
        async with trio.open_nursery() as nursery:
            for name in plan.busy_networks:
                await tell(emit, "Network", name, "Resource is still in use")
            for name in plan.networks:
                nursery.start_soon(_remove_network, parts, name, emit, failures)
            for name in plan.volumes:
                nursery.start_soon(_remove_volume, parts, name, emit, failures)
        for reference in plan.images:
            await _remove_image(parts, reference, emit)
    except BaseExceptionGroup as group:
        raise unwrap(group) from None
    if failures:
        raise failures[0]


def images_by_containers(containers: Sequence[Container], project: str, rmi: str) -> tuple[str, ...]:
    """What ``--rmi`` is about when there is no file to say: ``local`` are those named after project and service."""
    return tuple(
        dict.fromkeys(
            c.config.image
            for c in containers
            if rmi == "all" or (rmi == "local" and c.config.image == f"{project}-{service_of(c)}")
        )
    )


async def _remove(
    parts: Parts, id: str, request: DownRequest, emit: Emit, stopped: Callable[[str], None]
) -> None:
    try:
        container = parts.containers.get(id)
    except NotFound:
        stopped(id)
        return
    await stop_container(parts, container, request.timeout, emit)
    stopped(id)
    await tell(emit, "Container", container.name, "Removing")
    with contextlib.suppress(NotFound):  # one with --rm may go by itself
        await parts.lifecycle.remove(container.id, force=True, volumes=request.volumes)
    await tell(emit, "Container", container.name, "Removed")


async def stop_container(parts: Parts, container: Container, timeout: float | None, emit: Emit) -> None:
    """Stop a container and tell; nothing to do and nothing to tell when it does not run."""
    await tell(emit, "Container", container.name, "Stopping")
    with contextlib.suppress(AlreadyStarted, NotFound):
        await parts.lifecycle.stop(container.id, timeout)
    await tell(emit, "Container", container.name, "Stopped")


async def _retire_network(parts: Parts, name: str, all_stopped: trio.Event) -> None:
    """The slow part of a network's removal, while containers are removed; what goes wrong is told by the removal."""
    await all_stopped.wait()
    with contextlib.suppress(ComposerError):
        await parts.networks.retire(name)


async def _remove_network(parts: Parts, name: str, emit: Emit, failures: list[ComposerError]) -> None:
    await tell(emit, "Network", name, "Removing")
    try:
        await parts.networks.remove(name)
    except NotFound:
        await tell(emit, "Network", name, "Warning", "No resource found to remove")
    except Conflict as error:
        await tell(emit, "Network", name, "Resource is still in use", error.message)
    except ComposerError as error:
        await tell(emit, "Network", name, "Error", error.message)
        failures.append(error)
    else:
        await tell(emit, "Network", name, "Removed")


async def _remove_volume(parts: Parts, name: str, emit: Emit, failures: list[ComposerError]) -> None:
    await tell(emit, "Volume", name, "Removing")
    try:
        await parts.volumes.remove(name)
    except NotFound:
        await tell(emit, "Volume", name, "Warning", "No resource found to remove")
    except Conflict as error:
        await tell(emit, "Volume", name, "Resource is still in use", error.message)
    except ComposerError as error:
        await tell(emit, "Volume", name, "Error", error.message)
        failures.append(error)
    else:
        await tell(emit, "Volume", name, "Removed")


async def _remove_image(parts: Parts, reference: str, emit: Emit) -> None:
    await tell(emit, "Image", reference, "Removing")
    try:
        await parts.remove_image(reference)
    except NotFound:
        await tell(emit, "Image", reference, "Warning", "No resource found to remove")
    except ComposerError as error:
        await tell(emit, "Image", reference, "Warning", error.message)
    else:
        await tell(emit, "Image", reference, "Removed")
