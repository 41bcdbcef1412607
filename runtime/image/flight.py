"""One at a time for a key: whoever comes later waits, and usually finds the work done."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Hashable

import trio


class KeyedLocks:
    """A lock for each key, there as long as somebody holds or waits for it.

    When the holder is cancelled the next in line gets the lock and does the work itself, so nobody's task
    depends on another's life.
    """

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[trio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def hold(self, key: Hashable) -> AsyncIterator[bool]:
        """Hold the lock of ``key``. Gives whether somebody else held it first."""
        lock, users = self._locks.get(key, (trio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        waited = users > 0
        try:
            async with lock:
                yield waited
        finally:
            users = self._locks[key][1] - 1
            if users:
                self._locks[key] = (lock, users)
            else:
                del self._locks[key]
