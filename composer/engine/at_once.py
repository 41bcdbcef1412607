"""How many containers, images and builds one request may be at work on at the same time (``--parallel``).

The limit belongs to the request: it is in the context of its task, and so of every task that it starts. What has no
limit costs nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

import trio

_limit: ContextVar[trio.CapacityLimiter | None] = ContextVar("limit", default=None)


@contextmanager
def at_most(number: int) -> Iterator[None]:
    """In here, at most ``number`` are taken at once; 0 or less is without limit."""
    token = _limit.set(trio.CapacityLimiter(number) if number > 0 else None)
    try:
        yield
    finally:
        _limit.reset(token)


@asynccontextmanager
async def taken() -> AsyncIterator[None]:
    """Be one of them, as soon as that is possible; what is done within counts as the same one."""
    limit = _limit.get()
    if limit is None or trio.lowlevel.current_task() in limit.statistics().borrowers:
        yield
        return
    async with limit:
        yield
