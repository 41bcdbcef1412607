"""State that can be waited for: a value, and everybody who wants to know when it changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


async def first_of(*news: Callable[[], Awaitable[object]]) -> None:
    """Until one of several things has happened; the others are no longer waited for."""

    async def wait(one: Callable[[], Awaitable[object]]) -> None:
        await one()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for one in news:
            nursery.start_soon(wait, one)


class Cell(Generic[T]):
    """One value with waiters. Only its owner calls :meth:`set`; anyone may read and wait."""

    __slots__ = ("_changed", "_value", "_version")

    def __init__(self, value: T) -> None:
        self._value = value
        self._version = 0
        self._changed: trio.Event | None = None

    @property
    def value(self) -> T:
        return self._value

    def set(self, value: T) -> None:
        """Store ``value`` and wake all waiters, even when it equals the old one."""
        self._value = value
        self._version += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def changed(self) -> T:
        """Wait for the next :meth:`set` and return the value then."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()
        return self._value

    async def wait_for(self, is_wanted: Callable[[T], bool]) -> T:
        """Return the value as soon as ``is_wanted`` holds for it (at once if it does already). A value that is
        replaced before the waiter runs may be missed: ask for states that last."""
        while not is_wanted(self._value):
            await self.changed()
        return self._value

    async def values(self) -> AsyncIterator[T]:
        """The present value and every later one that the reader is quick enough to see; none twice."""
        seen = -1
        while True:
            if self._version == seen:
                await self.changed()
            seen = self._version
            yield self._value
