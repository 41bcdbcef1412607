"""Many things of one request at once."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable

import trio

from composer.engine.projects.waits import together, unwrap
from runtime.errors import ComposerError


async def side_by_side(tasks: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Run all; raise the error that matters most."""

    async def one(task: Callable[[], Awaitable[None]]) -> None:
        await task()

    try:
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(one, task)
    except BaseExceptionGroup as group:
        raise unwrap(group) from None


async def each_to_its_end(tasks: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Run all, whatever becomes of the others; raise all errors together."""
    failures: list[ComposerError] = []

    async def one(task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except ComposerError as error:
            failures.append(error)

    await side_by_side(functools.partial(one, task) for task in tasks)
    if failures:
        raise together(failures)
