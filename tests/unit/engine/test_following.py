"""When ``logs --follow`` ends, and what it takes up meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing

from composer.engine.logs import Exit, Item, Seen
from composer.engine.model import Status
from composer.engine.projects.following import Following
from runtime.container.logs import LogEntry


@dataclass
class _Container:
    """As much of a container as following looks at: each life is a list of lines."""

    id: str
    state: Status = field(default_factory=lambda: Status(status="running", pid=7))
    end: trio.Event = field(default_factory=trio.Event)
    lines: list[LogEntry] = field(default_factory=list)

    def say(self, time_ns: int, text: str) -> None:
        self.lines.append(LogEntry(time_ns=time_ns, stream="stdout", data=text.encode(), partial=False))

    def stop(self, time_ns: int) -> None:
        self.state = Status(status="exited", exit_code=0, finished_at=time_ns)
        self.end.set()

    def start(self) -> None:
        self.state, self.end = Status(status="running", pid=8), trio.Event()


class _World:
    def __init__(self, *containers: _Container) -> None:
        self.containers: Any = list(containers)
        self.shown: list[str] = []
        self.started, self.starts = trio.open_memory_channel[None](10)
        self.work: trio.Event | None = None

    async def read(self, container: Any, seen: Seen) -> AsyncIterator[Item | None]:
        yield None
        await container.end.wait()
        if lines := container.lines[(seen.position or (0, 0))[1] :]:
            yield lines
        seen.position = 0, len(container.lines)
        yield Exit(container.state)

    async def deliver(self, container: Any, item: Item) -> None:
        texts = ["exit"] if isinstance(item, Exit) else [line.data.decode() for line in item]
        self.shown += [f"{container.id} {text}" for text in texts]

    async def follow(self) -> None:
        following = Following(lambda: self.containers, self.read, self.deliver)
        await following.run(lambda: self.starts, lambda: self.work)


async def test_it_ends_with_the_last_container(autojump_clock: trio.testing.MockClock) -> None:
    one, two = _Container("one"), _Container("two")
    world = _World(one, two)
    one.say(1, "a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.follow)
        await trio.testing.wait_all_tasks_blocked()
        one.stop(2)
        await trio.testing.wait_all_tasks_blocked()
        two.stop(3)
    assert world.shown == ["one a", "one exit", "two exit"]


async def test_nothing_runs(autojump_clock: trio.testing.MockClock) -> None:
    world = _World()
    await world.follow()
    assert world.shown == []


async def test_a_command_at_work_may_start_more(autojump_clock: trio.testing.MockClock) -> None:
    old, new = _Container("old"), _Container("new")
    world = _World(old)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.follow)
        await trio.testing.wait_all_tasks_blocked()
        work = world.work = trio.Event()
        old.stop(1)
        await trio.testing.wait_all_tasks_blocked()
        new.say(2, "hello")
        world.containers = [new]
        world.work = None
        work.set()
        await trio.testing.wait_all_tasks_blocked()
        new.stop(3)
    assert world.shown == ["old exit", "new hello", "new exit"]


async def test_a_second_life_is_shown_without_the_first(autojump_clock: trio.testing.MockClock) -> None:
    one, other = _Container("one"), _Container("other")
    world = _World(one, other)
    one.say(1, "first")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.follow)
        await trio.testing.wait_all_tasks_blocked()
        one.stop(2)
        await trio.testing.wait_all_tasks_blocked()
        one.start()
        one.say(3, "second")
        await world.started.send(None)
        await trio.testing.wait_all_tasks_blocked()
        one.stop(4)
        await trio.testing.wait_all_tasks_blocked()
        other.stop(5)
    assert world.shown == ["one first", "one exit", "one second", "one exit", "other exit"]
