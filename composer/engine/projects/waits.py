"""Waiting for conditions of containers, and telling why one will never hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from composer.engine.conditions import Condition, Met, Never, judge
from composer.engine.containers import Container
from composer.engine.logs import ContainerLogs
from composer.engine.model import Status
from runtime.errors import ComposerError

LOG_LINES = 20
"""How much of a log an error quotes."""


class ConditionFailed(ComposerError):
    """What was waited for cannot happen any more."""

    def __init__(self, container: Container, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.container = container
        self.container_exit_code = exit_code


async def wait_for_condition(container: Container, condition: Condition, *, was_started: bool = False) -> Met:
    """Return when ``condition`` holds for ``container``; raise ConditionFailed as soon as it never will."""
    has_healthcheck = container.healthcheck is not None

    def verdict(status: Status) -> object:
        return judge(
            condition, container.name, status, has_healthcheck=has_healthcheck, was_started=was_started
        )

    with container.want_readiness():
        async for status in container.status.values():
            if container.is_removed.is_set():
                break
            found = verdict(status)
            if isinstance(found, Met):
                return found
            if isinstance(found, Never):
                reason = found.reason
                if container.record.is_manually_stopped and not status.is_alive:
                    reason = f"container {container.name} was stopped by another command"
                raise ConditionFailed(container, reason, found.exit_code)
    raise ConditionFailed(container, f"container {container.name} was removed", 1)


def unwrap(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception that matters of a group: the first ComposerError, else the first of all."""
    flat: list[BaseException] = []

    def collect(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                collect(inner)
        else:
            flat.append(error)

    collect(group)
    is_important: Sequence[Callable[[BaseException], bool]] = (
        lambda e: isinstance(e, ComposerError),
        lambda e: isinstance(e, Exception),
    )
    for important in is_important:
        for error in flat:
            if important(error):
                return error
    return flat[0]


def together(errors: Iterable[ComposerError]) -> ComposerError:
    """One error that tells all of ``errors`` (at least one), of several about the same value the first."""
    found: dict[str | int, ComposerError] = {}
    for error in errors:
        found.setdefault(error.about or id(error), error)
    first, *others = found.values()
    if not others:
        return first
    text = "\n".join(error.message for error in (first, *others))
    told = ComposerError(text, exit_status=first.exit_status, status=first.status)
    told.errors = (first, *others)
    return told


async def explain_failure(error: ConditionFailed, logs: ContainerLogs, prefix: str) -> ComposerError:
    """The error a person sees: who failed, why, what its last probe said and the last lines of its log."""
    container = error.container
    if container.record.is_manually_stopped:  # its program is not to blame
        return ComposerError(f"{prefix}{error.message}", exit_status=1)
    parts = [f"{prefix}{error.message}"]
    state = container.state
    if state.error:
        parts.append(f"  {state.error}")
    if state.oom_killed:
        parts.append("  it was killed because it ran out of memory")
    if state.health is not None and state.health.status != "healthy" and state.health.log:
        probe = state.health.log[-1]
        said = probe.output.strip() or "(no output)"
        # -1: it has not ended, and the text says why.
        how = "failed" if probe.exit_code < 0 else f"ended with {probe.exit_code}"
        parts.append(f"  its last healthcheck {how}: {said}")
    begun = min(state.started_at, state.finished_at or state.started_at)  # the clock may have been set back
    told = [lines async for lines in logs.read(container, since=begun, tail=LOG_LINES)]
    lines = [line for block in told for line in block]
    if lines:
        parts.append(
            f"  last lines of its log (all: composer logs {container.labels.get(SERVICE, container.name)}):"
        )
        parts += [f"    {line.data.decode('utf-8', 'replace')}" for line in lines]
    else:
        parts.append("  it has written nothing to its log")
    return ComposerError("\n".join(parts), exit_status=1)


SERVICE = "com.docker.compose.service"
