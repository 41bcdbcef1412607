"""``--wait``: until containers run, are healthy, or have ended well."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from composer.engine.containers import Container
from composer.engine.logs import ContainerLogs
from composer.engine.projects.steps import Emit, tell
from composer.engine.projects.waits import ConditionFailed, explain_failure, unwrap, wait_for_condition
from runtime.errors import ComposerError

SETTLE = 0.5
"""Seconds that a container without a healthcheck has to live to count as running: one that ends at once, because its
program cannot do its work, is a failure that people want to hear of."""
PATIENCE = 6
"""Restarts that its policy has for a container to come to that: what it needs may be on its way."""


async def wait_ready(
    containers: Sequence[Container], timeout: float, emit: Emit, logs: ContainerLogs
) -> None:
    """Return when all ``containers`` are ready. Raises ComposerError as soon as one never will be, with the reason and
    the end of its log, or when ``timeout`` seconds (0 or less: no limit) are over."""
    with trio.move_on_after(timeout if timeout > 0 else float("inf")) as scope:
        try:
            async with trio.open_nursery() as nursery:
                for container in containers:
                    nursery.start_soon(_wait_one, container, emit)
        except BaseExceptionGroup as group:
            error = unwrap(group)
            if isinstance(error, ConditionFailed):
                await tell(emit, "Container", error.container.name, "Error")
                raise await explain_failure(error, logs, "") from None
            raise error from None
    if scope.cancelled_caught:
        waiting = ", ".join(container.name for container in containers if not is_ready(container))
        raise ComposerError(f"application not healthy after {timeout:g}s: still waiting for {waiting}")


def is_ready(container: Container) -> bool:
    """Whether a container is what ``--wait`` waits for."""
    state = container.state
    if state.status == "exited":
        return state.exit_code == 0
    return state.is_alive and (state.health is None or state.health.status == "healthy")


async def _wait_one(container: Container, emit: Emit) -> None:
    if container.healthcheck is not None and container.state.is_alive:
        await tell(emit, "Container", container.name, "Waiting")
    met = await wait_for_condition(container, "running_or_healthy")
    while (
        container.healthcheck is None
        and container.state.is_alive
        and (rest := SETTLE - _lived(container)) > 0
    ):
        has_ended = False
        with trio.move_on_after(rest):
            await container.status.wait_for(lambda status: not status.is_alive)
            has_ended = True
        if not has_ended:
            break
        if container.state.restart_count >= PATIENCE:
            code = container.state.exit_code
            raise ConditionFailed(
                container, f"container {container.name} ends again and again, the last time with {code}", code
            )
        met = await wait_for_condition(container, "running_or_healthy")
    if met.word != "Started":
        await tell(emit, "Container", container.name, met.word)


def _lived(container: Container) -> float:
    """Seconds since it was started, whatever has been done to the clock meanwhile."""
    return 0.0 if container.shim is None else container.shim.age
