"""``--parallel``: a request's limit."""

from __future__ import annotations

import trio
import trio.testing

from composer.engine.at_once import at_most, taken


async def most(number: int, count: int = 5) -> int:
    """How many of ``count`` tasks are at work at once."""
    now, highest = 0, 0

    async def work() -> None:
        nonlocal now, highest
        async with taken(), taken():
            now += 1
            highest = max(highest, now)
            await trio.testing.wait_all_tasks_blocked()
            now -= 1

    with at_most(number):
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(work)
    return highest


async def test_limit() -> None:
    assert [await most(number) for number in (1, 3)] == [1, 3]


async def test_no_limit() -> None:
    assert [await most(number) for number in (0, -1)] == [5, 5]


async def test_it_belongs_to_its_request() -> None:
    with at_most(1):
        assert await most(2) == 2
