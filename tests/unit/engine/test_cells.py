"""Cells: nobody who waits misses a state that lasts."""

from __future__ import annotations

import trio
import trio.testing

from composer.engine.cells import Cell, first_of


async def test_a_state_that_holds_already_is_not_waited_for() -> None:
    assert await Cell(3).wait_for(lambda value: value == 3) == 3


async def test_all_waiters_wake(autojump_clock: trio.testing.MockClock) -> None:
    cell = Cell("created")
    woken: list[str] = []

    async def wait(wanted: str) -> None:
        await cell.wait_for(lambda value: value == wanted)
        woken.append(wanted)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait, "running")
        nursery.start_soon(wait, "exited")
        await trio.testing.wait_all_tasks_blocked()
        cell.set("running")
        await trio.testing.wait_all_tasks_blocked()
        assert woken == ["running"] * 3
        cell.set("exited")
    assert woken[-1] == "exited"


async def test_values_begin_with_the_present_one_and_repeat_none() -> None:
    cell = Cell(0)
    seen: list[int] = []

    async def read() -> None:
        async for value in cell.values():
            seen.append(value)
            if value == 3:
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for value in (1, 2, 3):
            await trio.testing.wait_all_tasks_blocked()
            cell.set(value)
    assert seen == [0, 1, 2, 3]


async def test_setting_an_equal_value_wakes_too() -> None:
    cell = Cell(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cell.changed)
        await trio.testing.wait_all_tasks_blocked()
        cell.set(1)


async def test_the_first_of_several_news_is_enough(autojump_clock: trio.testing.MockClock) -> None:
    cell, never = Cell(0), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first_of, cell.changed, never.wait)
        await trio.testing.wait_all_tasks_blocked()
        cell.set(1)
    assert not never.is_set()
