"""What becomes of hooks whose container ends before they have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import trio

from composer.engine.cells import Cell
from composer.engine.containers import Container
from composer.engine.execs import Hear
from composer.engine.hooks import HookFailed, Hooks
from composer.engine.model import Status
from runtime.container.config import ContainerConfig, Hook
from runtime.errors import ComposerError, Conflict

RUNNING = Status(status="running", started_at=1)
OVER = Status(status="exited", started_at=1)
RESTARTED = Status(status="running", started_at=2)
GONE = Conflict("container c is not running")
HOOKS = (Hook(command=("first",)), Hook(command=("second",)))


@dataclass
class Run:
    """A container and what its first hook comes to; ``then`` is its state a moment later."""

    outcome: int | Conflict
    then: Status
    name: str = "c"
    config: ContainerConfig = field(
        default_factory=lambda: ContainerConfig(image="i", post_start=HOOKS, pre_stop=HOOKS)
    )
    status: Cell[Status] = field(default_factory=lambda: Cell(RUNNING))
    ran: list[str] = field(default_factory=list)

    @property
    def state(self) -> Status:
        return self.status.value

    def set_status(self, status: Status) -> None:
        self.status.set(status)

    async def hook(self, container: Container, hook: Hook, hear: Hear | None = None) -> tuple[int, bytes]:
        self.ran += hook.command
        if isinstance(self.outcome, Conflict):
            self.status.set(self.then)
            raise self.outcome
        return self.outcome, b"said"

    async def end(self) -> None:
        await trio.sleep(0.5)
        self.status.set(self.then)

    async def after_start(self) -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.end)
            return await Hooks(self.hook).after_start(cast("Container", self), None)
        raise AssertionError

    async def before_stop(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.end)
            await Hooks(self.hook).before_stop(cast("Container", self))


def failure(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        (group,) = group.exceptions
    return group


@pytest.mark.parametrize("then", [OVER, RESTARTED])
@pytest.mark.parametrize("outcome", [125, 137, GONE])
async def test_a_container_that_ends_before_its_post_start_hook_is_warned_of(
    outcome: int | Conflict, then: Status, autojump_clock: trio.testing.MockClock
) -> None:
    run = Run(outcome, then)
    assert await run.after_start() == "c has ended before its post_start hook had: first"
    assert run.ran == ["first"]


@pytest.mark.parametrize(
    ("outcome", "then", "message"),
    [
        (137, RUNNING, "post_start hook of c exited with status 137: first"),
        (125, RUNNING, "post_start hook of c exited with status 125: first"),
        (3, OVER, "post_start hook of c exited with status 3: first"),
        (127, OVER, "post_start hook of c exited with status 127: first"),
        (Conflict("paused"), RUNNING, "post_start hook first: paused"),
    ],
)
async def test_a_post_start_hook_that_fails_by_itself_is_a_failure(
    outcome: int | Conflict, then: Status, message: str, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(BaseExceptionGroup) as raised:
        await Run(outcome, then).after_start()
    error = failure(raised.value)
    assert isinstance(error, ComposerError)
    assert error.message == message


async def test_hooks_that_succeed_are_not_spoken_of(autojump_clock: trio.testing.MockClock) -> None:
    run = Run(0, RUNNING)
    assert await run.after_start() == ""
    assert run.ran == ["first", "second"]


@pytest.mark.parametrize("outcome", [125, 137, GONE])
async def test_a_container_that_ends_before_its_pre_stop_hook_has_ended(
    outcome: Any, autojump_clock: trio.testing.MockClock
) -> None:
    run = Run(outcome, OVER)
    await run.before_stop()
    assert run.ran == ["first"]


@pytest.mark.parametrize("outcome", [4, 125, 137])
async def test_a_pre_stop_hook_that_fails_keeps_its_container(
    outcome: int, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(BaseExceptionGroup) as raised:
        await Run(outcome, RUNNING).before_stop()
    assert isinstance(failure(raised.value), HookFailed)
