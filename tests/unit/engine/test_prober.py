"""The prober on a virtual clock: when it probes, and what each probe is worth."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from composer.engine import prober as prober_module
from composer.engine.cells import Cell
from composer.engine.events import Events
from composer.engine.model import Health, Status
from composer.engine.prober import Prober
from runtime.container.config import Healthcheck, ImageConfig

SECOND = 1_000_000_000


class FakeContainer:
    """What the prober needs of a container."""

    id = "c" * 64
    name = "c"
    attributes: dict[str, str] = {}
    image = ImageConfig()

    def __init__(self, check: Healthcheck) -> None:
        self.healthcheck = check
        self.status: Cell[Status] = Cell(Status(status="running", pid=1, health=Health()))
        self.waiters = 0
        self.wanted_news = trio.Event()

    @property
    def state(self) -> Status:
        return self.status.value

    def set_status(self, status: Status, *, is_lasting: bool = True) -> None:
        self.status.set(status)


class World:
    """A service that becomes ready at ``ready_at`` (virtual seconds) and says so by listening."""

    def __init__(self, check: Healthcheck, *, ready_at: float, listens: bool = True) -> None:
        self.container = FakeContainer(check)
        self.ready_at = ready_at
        self.listens = listens
        self.probes: list[float] = []
        self.begun = trio.current_time()

    @property
    def now(self) -> float:
        return trio.current_time() - self.begun

    async def probe(self, container: Any, command: tuple[str, ...], timeout: float) -> tuple[int, bytes]:
        self.probes.append(round(self.now, 3))
        await trio.sleep(0)
        return (0 if self.now >= self.ready_at else 1), b"probed"

    def look(self, sock_diag: int) -> frozenset[tuple[str, int]]:
        return frozenset({("tcp", 80)}) if self.listens and self.now >= self.ready_at else frozenset()

    async def run_until(self, status: str, *, within: float = 1000) -> float:
        """Watch until healthy or the like; when that was."""
        prober = Prober(Events(), self.probe, lambda _: 0)  # type: ignore[arg-type]
        shim = SimpleNamespace(age=0.0, descriptors={"sock_diag": 3})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prober.watch, self.container, shim)
            with trio.fail_after(within):
                await self.container.status.wait_for(
                    lambda s: s.health is not None and s.health.status == status
                )
            found = self.now
            nursery.cancel_scope.cancel()
        return found


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(prober_module.time, "time_ns", lambda: 0)
    yield


def watched(monkeypatch: pytest.MonkeyPatch, world: World) -> World:
    monkeypatch.setattr(prober_module, "listening", world.look)
    return world


SLOW = Healthcheck(test=("CMD", "ready"), interval=10 * SECOND, retries=3)


async def test_while_somebody_waits_news_brings_the_probe(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    world = watched(monkeypatch, World(SLOW, ready_at=8.5))
    world.container.waiters = 1
    assert await world.run_until("healthy") - 8.5 < 0.02


async def test_without_anybody_waiting_the_interval_rules(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    world = watched(monkeypatch, World(SLOW, ready_at=3.0))
    found = await world.run_until("healthy")
    assert world.probes == pytest.approx([10.0], abs=0.05)
    assert found == pytest.approx(10.0, abs=0.05)


async def test_early_failures_do_not_make_it_unhealthy(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    world = watched(monkeypatch, World(SLOW, ready_at=9.9, listens=False))
    world.container.waiters = 1
    assert await world.run_until("healthy") <= 10.2
    assert len(world.probes) > 3


async def test_unhealthy_after_three_scheduled_failures(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    world = watched(monkeypatch, World(SLOW, ready_at=1e9))
    assert await world.run_until("unhealthy") == pytest.approx(30.0, abs=0.1)


async def test_who_comes_later_is_served_at_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    world = watched(monkeypatch, World(SLOW, ready_at=2.0))

    async def come() -> None:
        await trio.sleep(5)
        world.container.waiters = 1
        world.container.wanted_news.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come)
        assert await world.run_until("healthy") - 5 < 0.02


async def test_the_start_interval_within_the_start_period(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    check = Healthcheck(
        test=("CMD", "ready"), interval=30 * SECOND, start_period=20 * SECOND, start_interval=2 * SECOND
    )
    world = watched(monkeypatch, World(check, ready_at=7.0))
    assert await world.run_until("healthy") == pytest.approx(8.0, abs=0.05)
    assert world.probes == pytest.approx([2.0, 4.0, 6.0, 8.0], abs=0.05)


@pytest.mark.parametrize(("watched_for", "status"), [(1.2, "starting"), (1.8, "unhealthy")])
async def test_a_probe_that_is_killed_with_its_container_is_worth_nothing(
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    watched_for: float,
    status: str,
) -> None:
    """The container's end is heard of a moment later, and ends the watch."""
    check = Healthcheck(test=("CMD", "ready"), interval=SECOND, retries=1)
    world = watched(monkeypatch, World(check, ready_at=0))

    async def killed(container: Any, command: tuple[str, ...], timeout: float) -> tuple[int, bytes]:
        return 137, b""

    prober = Prober(Events(), killed, lambda _: 0)  # type: ignore[arg-type]
    shim: Any = SimpleNamespace(age=0.0, descriptors={"sock_diag": 3})
    container: Any = world.container
    with trio.move_on_after(watched_for):
        await prober.watch(container, shim)
    assert world.container.state.health is not None
    assert world.container.state.health.status == status
