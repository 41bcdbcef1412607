"""Files of containers that are removed, in few threads: several containers at a time in each.

What a thread does here is fifty short system calls for a container, and after each it waits for its turn to interpret:
many threads at once cost more than the removal itself. So what comes while one is at work is taken together by the
next, and only what a disk is slow with (mount option ``discard``) has more of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

THREADS = 8
AT_A_TIME = 8
"""Containers that one thread takes, and that have to wait before there is another thread."""


@dataclass(eq=False)
class _Wanted:
    container_id: str
    is_taken: bool = False
    is_done: bool = False
    error: Exception | None = None
    news: trio.Event = field(default_factory=trio.Event)


class Cleaning:
    """Calls ``clean`` (blocking; with the id of a container) in threads."""

    def __init__(self, clean: Callable[[str], None]) -> None:
        self._clean = clean
        self._waiting: deque[_Wanted] = deque()
        self._threads = 0
        self._limit = trio.CapacityLimiter(THREADS)

    async def remove(self, container_id: str) -> None:
        """Until ``clean`` has returned for this container; raises what it has raised. Not to be cancelled: others may
        wait for the same thread."""
        one = _Wanted(container_id)
        self._waiting.append(one)
        with trio.CancelScope(shield=True):
            while not one.is_done:
                if one.is_taken or not self._wants_thread:
                    one.news = trio.Event()
                    await one.news.wait()
                else:
                    await self._work()
        if one.error is not None:
            raise one.error

    @property
    def _wants_thread(self) -> bool:
        return not self._threads or (self._threads < THREADS and len(self._waiting) >= AT_A_TIME)

    async def _work(self) -> None:
        some = [self._waiting.popleft() for _ in range(min(AT_A_TIME, len(self._waiting)))]
        for one in some:
            one.is_taken = True
        self._threads += 1
        try:
            await trio.to_thread.run_sync(self._clean_all, some, limiter=self._limit)
        except Exception as error:  # there is no thread to be had
            for one in some:
                one.error = error
        finally:
            self._threads -= 1
            for one in some:
                one.is_done = True
                one.news.set()
            if self._waiting:
                self._waiting[0].news.set()

    def _clean_all(self, some: Sequence[_Wanted]) -> None:
        for one in some:
            try:
                self._clean(one.container_id)
            except Exception as error:
                one.error = error
