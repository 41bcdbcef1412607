"""``logs --follow``: what containers write from now on, and what those write that come or start again meanwhile.

It ends when nothing that is shown runs any more and no command is at work on the project: a container that ``up``
is about to replace, or ``restart`` to start again, is no end. With ``--until`` it ends then at the latest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import trio

from composer.engine.containers import Container
from composer.engine.logs import Item, Seen, Source, merge

Choose = Callable[[], Sequence[Container]]
Read = Callable[[Container, Seen], AsyncIterator[Item | None]]
"""A container's log, followed to its end, from what was seen of it on."""
Deliver = Callable[[Container, Item], Awaitable[None]]


class Following:
    """One ``logs --follow``. ``choose`` says which containers are of interest at the moment; ``end`` (of trio's clock)
    is when logs are over by themselves."""

    def __init__(self, choose: Choose, read: Read, deliver: Deliver, end: float = float("inf")) -> None:
        self._choose = choose
        self._read = read
        self._deliver = deliver
        self._end = end
        self._shown: set[str] = set()
        self._seen: dict[str, Seen] = {}
        """By id: what was shown."""
        self._news = trio.Event()

    async def run(
        self, starts: Callable[[], AsyncIterator[object]], at_work: Callable[[], trio.Event | None]
    ) -> None:
        """``starts`` yields whenever a container has started; ``at_work`` is None, or the end of the commands that
        are at work."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, starts)
            present = self._choose()
            self._seen = {c.id: Seen(finished_at=c.state.finished_at) for c in present}
            nursery.start_soon(self._show, self._begin(present))
            while True:
                self._news = trio.Event()
                is_late = trio.current_time() >= self._end
                if not is_late and (fresh := self._begin([c for c in self._choose() if c.state.is_alive])):
                    nursery.start_soon(self._show, fresh)
                elif not self._shown:
                    work = at_work()
                    if work is None or is_late:
                        nursery.cancel_scope.cancel()
                    else:
                        nursery.start_soon(self._look_again, work)
                with trio.move_on_at(float("inf") if is_late else self._end):
                    await self._news.wait()

    async def _look_again(self, end: trio.Event) -> None:
        await end.wait()
        self._news.set()

    def _begin(self, containers: Sequence[Container]) -> list[Container]:
        fresh = [container for container in containers if container.id not in self._shown]
        self._shown |= {container.id for container in fresh}
        return fresh

    async def _watch(self, starts: Callable[[], AsyncIterator[object]]) -> None:
        async for _ in starts():
            self._news.set()

    async def _show(self, containers: Sequence[Container]) -> None:
        await merge([Source(c, lambda c=c: self._lines(c)) for c in containers], self._deliver)  # type: ignore[misc]

    async def _lines(self, container: Container) -> AsyncIterator[Item | None]:
        async for item in self._read(container, self._seen.setdefault(container.id, Seen())):
            yield item
        self._shown.discard(container.id)
        self._news.set()
