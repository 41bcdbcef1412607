"""Reading what containers wrote: one log, or several merged in time order, to the end or for ever."""

from __future__ import annotations

import heapq
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from composer.engine.containers import Container
from composer.engine.model import Status
from runtime.container.logfile import list_files
from runtime.container.logs import LogEntry, LogReader, end_of_log
from runtime.errors import ComposerError
from runtime.storage.paths import Paths

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Exit:
    """A container's end, at its place among the lines that it wrote."""

    status: Status

    @property
    def time_ns(self) -> int:
        return self.status.finished_at


Item = list[LogEntry] | Exit
"""Lines of one container that are there together, or its end."""


@dataclass(slots=True)
class Seen:
    """What is known of one container's log, by what it is and not by its times: the clock may be set back meanwhile."""

    position: tuple[int, int] | None = None
    """Behind what was read last; None: nothing was."""
    finished_at: int = 0
    """Of the last run whose end is known (ns; 0: of none)."""


@dataclass
class ContainerLogs:
    """Logs by container."""

    paths: Paths

    def size(self, container: Container) -> int:
        """Bytes that the container has written, as far as they are kept: a cheap way to see that there is more."""
        directory = self.paths.container(container.id) / "log"
        try:
            return sum(os.stat(directory / f"{number}.log").st_size for number in list_files(directory))
        except FileNotFoundError:
            return -1  # rotated this very moment, so there is news

    def seen_by_now(self, container: Container) -> Seen:
        """Whoever reads on from there gets what is written, and the ends of runs, from now on."""
        end = end_of_log(self.paths.container(container.id) / "log")
        return Seen(end, container.state.finished_at)

    async def read(
        self,
        container: Container,
        *,
        follow: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        since: int | None = None,
        until: int | None = None,
        tail: int | None = None,
    ) -> AsyncIterator[list[LogEntry]]:
        """Lines in the order written, those together that are there together. ``since`` and ``until`` in ns, ``tail``
        lines from the end (None: all). Without ``follow`` it ends with what had been written when it began; with it
        when the container has ended for good (or is removed) and everything was read."""
        async for lines in self.read_marked(
            container, follow=follow, stdout=stdout, stderr=stderr, since=since, until=until, tail=tail
        ):
            if lines is not None and not isinstance(lines, Exit):
                yield lines

    async def read_marked(
        self,
        container: Container,
        *,
        follow: bool,
        stdout: bool = True,
        stderr: bool = True,
        since: int | None = None,
        until: int | None = None,
        tail: int | None = None,
        seen: Seen | None = None,
        end: float | None = None,
    ) -> AsyncIterator[Item | None]:
        """As :meth:`read`, with None whenever the reader has caught up with the writer. With ``seen``, which follows
        what is read: from there on, and with an :class:`Exit` behind the lines of each run.
        ``end`` is :func:`end_of` for a request of which this is a part."""
        if container.config.log.driver == "none":
            raise ComposerError("configured logging driver does not support reading", status=501)
        reader = LogReader(self.paths.container(container.id) / "log")
        begun = time.time_ns()
        end = end_of(until) if end is None else end
        try:
            if seen is not None and seen.position is not None:
                reader.seek(seen.position)
                since = None
            else:
                for block in reader.history(since=since, until=until, tail=tail):
                    if lines := _wanted(block, stdout, stderr):
                        yield lines
                    await trio.lowlevel.checkpoint()  # a long log is not all that there is to do
            if since is not None and since <= begun:
                since = None  # what is written from now on is later, whatever its time says
            while follow:
                # Asked before the last read, so that nothing written before the end is missed.
                status = container.state
                is_late = trio.current_time() >= end
                is_over = is_late or status.is_over or container.is_removed.is_set()
                for block in reader.read_new():
                    lines = _wanted(block, stdout, stderr)
                    if since is not None:
                        lines = [line for line in lines if line.time_ns >= since]
                    later = 0 if until is None else sum(line.time_ns > until for line in block)
                    if until is not None and later:
                        lines = [line for line in lines if line.time_ns <= until]
                    if lines:
                        yield lines
                    if later:
                        return
                    await trio.lowlevel.checkpoint()
                if seen is not None and not status.is_alive and status.finished_at != seen.finished_at:
                    seen.finished_at = status.finished_at
                    yield Exit(status)
                if is_over:
                    return
                yield None
                with trio.move_on_at(end):
                    await _wait_for_either(reader.wait_for_news, container, status)
        finally:
            if seen is not None:
                seen.position = reader.position
            reader.close()


def end_of(until: int | None) -> float:
    """When logs end of which those until then (ns) are asked for, of trio's clock: found out once, when they are asked
    for, since nobody sets that clock."""
    if until is None:
        return float("inf")
    return trio.current_time() + max(0.0, (until - time.time_ns()) / 1e9)


async def _wait_for_either(wait_for_news: Callable[[], object], container: Container, seen: Status) -> None:
    """Return when there may be new log entries or the container's state is another than ``seen``: it may have become
    so while somebody was taking the lines that were read last."""
    async with trio.open_nursery() as nursery:

        async def news() -> None:
            await wait_for_news()  # type: ignore[misc]
            nursery.cancel_scope.cancel()

        async def change() -> None:
            if not container.is_removed.is_set() and container.state is seen:
                await container.status.changed()
            nursery.cancel_scope.cancel()

        nursery.start_soon(news)
        nursery.start_soon(change)


def _wanted(lines: list[LogEntry], stdout: bool, stderr: bool) -> list[LogEntry]:
    if stdout and stderr:
        return lines
    return [line for line in lines if (stdout if line.stream == "stdout" else stderr)]


@dataclass
class Source(Generic[T]):
    """One log to merge: ``key`` tells the lines of sources apart, ``lines`` yields None when it has caught up."""

    key: T
    lines: Callable[[], AsyncIterator[Item | None]]


@dataclass
class _Head(Generic[T]):
    source: Source[T]
    waiting: deque[LogEntry | Exit]
    has_caught_up: bool = False
    is_over: bool = False


QUEUE = 500
"""Lines read ahead of one source while the others are behind."""


async def merge(sources: Sequence[Source[T]], deliver: Callable[[T, Item], Awaitable[None]]) -> None:
    """Deliver the lines of all sources in the order of their times, as far as it can be known: a line goes out as soon
    as every other source has a later one or has caught up with its writer. Returns when all sources are over."""
    heads = [_Head(source, deque()) for source in sources]
    signals = _Signals()
    async with trio.open_nursery() as nursery:
        for head in heads:
            nursery.start_soon(_fill, head, signals)
        while True:
            ready = _ready(heads)
            for key, line in ready:
                await deliver(key, line)
            if ready:
                signals.room.set()
                signals.room = trio.Event()
                continue
            if all(head.is_over and not head.waiting for head in heads):
                return
            await signals.news.wait()
            signals.news = trio.Event()


class _Signals:
    def __init__(self) -> None:
        self.news = trio.Event()
        self.room = trio.Event()


async def _fill(head: _Head[T], signals: _Signals) -> None:
    async for item in head.source.lines():
        head.has_caught_up = item is None
        was_empty = not head.waiting
        if isinstance(item, Exit):
            head.waiting.append(item)
        elif item is not None:
            head.waiting.extend(item)
        if item is None or was_empty or len(head.waiting) >= QUEUE:
            signals.news.set()
        while len(head.waiting) >= QUEUE:
            await signals.room.wait()
    head.is_over = True
    signals.news.set()


def _ready(heads: Sequence[_Head[T]]) -> list[tuple[T, Item]]:
    """Take what may go out now, in order."""
    order = [(head.waiting[0].time_ns, index) for index, head in enumerate(heads) if head.waiting]
    heapq.heapify(order)
    silent = any(not head.waiting and not head.has_caught_up and not head.is_over for head in heads)
    out: list[tuple[T, Item]] = []
    while order and not silent:
        _, index = heapq.heappop(order)
        head = heads[index]
        out += [(head.source.key, item) for item in _take(head.waiting, index, order[0] if order else None)]
        if head.waiting:
            heapq.heappush(order, (head.waiting[0].time_ns, index))
        elif not head.has_caught_up and not head.is_over:
            silent = True
    return out


def _take(waiting: deque[LogEntry | Exit], index: int, following: tuple[int, int] | None) -> list[Item]:
    """What comes before the first item of another source, which is ``following`` (time, index); at least one."""
    items: list[Item] = []
    lines: list[LogEntry] = []
    while waiting and (following is None or (waiting[0].time_ns, index) <= following):
        item = waiting.popleft()
        if isinstance(item, Exit):
            items += [lines, item] if lines else [item]
            lines = []
        else:
            lines.append(item)
    return [*items, lines] if lines else items
