"""Turns of commands on one project, with a virtual clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from composer.engine.projects.turns import Turns
from composer.engine.requests import Event, WarningEvent
from runtime.errors import ComposerError


class Told:
    """What was emitted."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    async def __call__(self, event: Event) -> None:
        assert isinstance(event, WarningEvent)
        self.warnings.append(event.message)


async def work(turns: Turns, verb: str, seconds: float, told: Told, ends: dict[str, float]) -> None:
    async with turns.take("p", verb, told):
        await trio.sleep(seconds)
    ends[verb] = trio.current_time()


async def test_one_after_the_other_and_who_waits_long_is_told(autojump_clock: trio.testing.MockClock) -> None:
    turns, told, ends = Turns(), Told(), {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, turns, "up", 5.0, told, ends)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(work, turns, "stop", 1.0, told, ends)
    assert ends["stop"] - ends["up"] == pytest.approx(1.0, abs=0.1)
    assert told.warnings == ["waiting for `composer up` of this project, which has been at work for 1 s"]


async def test_a_short_wait_is_not_worth_a_word(autojump_clock: trio.testing.MockClock) -> None:
    turns, told, ends = Turns(), Told(), {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, turns, "up", 0.5, told, ends)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(work, turns, "stop", 5.0, told, ends)
    assert told.warnings == []


async def test_projects_do_not_wait_for_each_other(autojump_clock: trio.testing.MockClock) -> None:
    turns, told = Turns(), Told()
    async with turns.take("one", "up", told):
        with trio.fail_after(1):
            async with turns.take("two", "up", told):
                pass


async def test_down_ends_what_it_undoes(autojump_clock: trio.testing.MockClock) -> None:
    turns, told = Turns(), Told()
    failures: list[str] = []

    async def up() -> None:
        try:
            async with turns.take("p", "up", told):
                await trio.sleep_forever()
        except ComposerError as error:
            failures.append(error.message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(up)
        nursery.start_soon(up)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(1):
            async with turns.take("p", "down", told, preempts=True):
                pass
    assert failures == ["up was ended by `composer down` of the same project"] * 2


async def test_two_downs_take_turns(autojump_clock: trio.testing.MockClock) -> None:
    turns, told, ends = Turns(), Told(), {}

    async def down(name: str) -> None:
        async with turns.take("p", "down", told, preempts=True):
            await trio.sleep(1)
        ends[name] = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(down, "a")
        nursery.start_soon(down, "b")
    assert abs(ends["a"] - ends["b"]) == pytest.approx(1.0, abs=0.1)


async def test_who_gives_up_is_out_of_the_line(autojump_clock: trio.testing.MockClock) -> None:
    turns, told = Turns(), Told()

    async def give_up() -> None:
        with trio.move_on_after(2):
            async with turns.take("p", "stop", told):
                pytest.fail("it is not its turn")

    async with trio.open_nursery() as nursery:
        async with turns.take("p", "up", told):
            nursery.start_soon(give_up)
            await trio.sleep(3)
        with trio.fail_after(1):
            async with turns.take("p", "rm", told):
                pass


async def test_down_waits_for_what_ends_things_as_well(autojump_clock: trio.testing.MockClock) -> None:
    turns, told, ends = Turns(), Told(), {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, turns, "stop", 0.5, told, ends)
        await trio.testing.wait_all_tasks_blocked()
        async with turns.take("p", "down", told, preempts=True):
            assert "stop" in ends


async def test_something_is_done_while_others_are_at_work(autojump_clock: trio.testing.MockClock) -> None:
    turns, told, ends = Turns(), Told(), {}
    is_wanted = trio.Event()
    hurried: list[str] = []

    async def until_wanted() -> None:
        async with turns.take("p", "stop", told):
            await is_wanted.wait()

    async def hurry() -> None:
        hurried.append("once")
        is_wanted.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_wanted)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):  # nobody is at work at the second time
            async with turns.take("p", "stop", told, meanwhile=hurry):
                ends["stop"] = trio.current_time()
    assert hurried == ["once"]
