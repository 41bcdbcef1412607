"""Who ends a container together with others: the least patient decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import pytest
import trio

from composer.engine.cells import Cell
from composer.engine.containers import Container
from composer.engine.ending import SIGKILL, Ending
from composer.engine.events import Events
from composer.engine.model import Status
from runtime.container.config import ContainerConfig
from runtime.kernel.cgroups import Cgroups

HOUR = 3600.0


@dataclass
class Stubborn:
    """A container that only SIGKILL ends."""

    id: str = "c"
    name: str = "c"
    attributes: dict[str, str] = field(default_factory=dict)
    busy: trio.Lock = field(default_factory=trio.Lock)
    config: ContainerConfig = field(default_factory=lambda: ContainerConfig(image="i", stop_timeout=5))
    ending: Cell[Literal["", "hooks", "signal"]] = field(default_factory=lambda: Cell(""))
    status: Cell[Status] = field(default_factory=lambda: Cell(Status(status="running")))

    @property
    def state(self) -> Status:
        return self.status.value

    @property
    def shim(self) -> Any:
        return self

    def signal(self, number: int) -> None:
        if number == SIGKILL:
            self.status.set(Status(status="exited", exit_code=137))


@pytest.fixture
def stubborn() -> Stubborn:
    return Stubborn()


@pytest.fixture
def ending() -> Ending:
    return Ending(Events(), cast("Cgroups", None))


def patient_stop(ending: Ending, container: Stubborn, begun: trio.Event) -> Callable[[], Awaitable[None]]:
    """As ``Lifecycle.stop``, with a grace without end; ``begun`` is when it is alone with the container."""

    async def stop() -> None:
        async with ending.turn(cast("Container", container), HOUR):
            await begun.wait()
            container.ending.set("signal")
            with trio.fail_after(HOUR):
                await container.status.wait_for(lambda status: not status.is_alive)
            container.ending.set("")

    return stop


@pytest.mark.parametrize("grace", [0.0, 5.0])
async def test_who_comes_before_the_other_has_begun(
    ending: Ending, stubborn: Stubborn, autojump_clock: trio.testing.MockClock, grace: float
) -> None:
    begun = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(patient_stop(ending, stubborn, begun))
        await trio.testing.wait_all_tasks_blocked()

        async def remove() -> None:
            async with ending.turn(cast("Container", stubborn), grace):
                assert not stubborn.state.is_alive

        nursery.start_soon(remove)
        await trio.testing.wait_all_tasks_blocked()
        begun.set()
    assert trio.current_time() == pytest.approx(grace)
    assert not stubborn.busy.locked()


async def test_who_gives_up_waiting_leaves_the_turn_to_others(ending: Ending, stubborn: Stubborn) -> None:
    begun = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(patient_stop(ending, stubborn, begun))
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            async with ending.turn(cast("Container", stubborn), 0.0):
                raise AssertionError
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()
    assert not stubborn.busy.locked()


@pytest.mark.parametrize(("timeout", "end"), [(1.0, 1.0), (None, 60.0 + 5.0)])
async def test_only_a_time_that_was_asked_for_is_one_for_hooks(
    ending: Ending,
    stubborn: Stubborn,
    autojump_clock: trio.testing.MockClock,
    timeout: float | None,
    end: float,
) -> None:
    """The container's own begins when a minute of hooks is over."""
    async with trio.open_nursery() as nursery:
        stubborn.ending.set("hooks")
        nursery.start_soon(ending.cut_short, cast("Container", stubborn), timeout)

        async def run_hooks() -> None:
            await trio.sleep(60)
            stubborn.ending.set("signal")

        nursery.start_soon(run_hooks)
        await stubborn.status.wait_for(lambda status: not status.is_alive)
        assert trio.current_time() == pytest.approx(end)
