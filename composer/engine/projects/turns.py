"""One command at a time for a project; who waits is told for whom, and nobody waits for what he undoes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from composer.engine.projects.steps import Emit, warn
from runtime.errors import ComposerError

ENDING = frozenset({"stop", "down", "rm"})
"""Commands that nobody undoes by ending things."""
PATIENCE = 1.0
"""Seconds after which somebody who waits is told."""


class Preempted(ComposerError):
    """Another command has ended this one, because it undoes what this one does."""


@dataclass
class _Turn:
    """A command at work, or in line for it."""

    verb: str
    scope: trio.CancelScope
    since: float
    ended_by: str = ""


@dataclass
class _Line:
    lock: trio.Lock = field(default_factory=trio.Lock)
    turns: list[_Turn] = field(default_factory=list)
    """In order of coming: the first one is at work."""
    is_over: trio.Event = field(default_factory=trio.Event)
    """Nobody is at work or waits any more."""


class Turns:
    """Turns of commands, by project."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def take(
        self,
        project: str,
        verb: str,
        emit: Emit,
        *,
        preempts: bool = False,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> AsyncIterator[None]:
        """Be alone with ``project``. ``preempts``: other commands, at work or waiting, are ended first, unless they end
        things themselves. ``meanwhile`` is done while others are at work.

        Raises Preempted when another command does so with this one."""
        line = self._lines.setdefault(project, _Line())
        if preempts:
            for other in line.turns:
                if other.verb not in ENDING:
                    other.ended_by = verb
                    other.scope.cancel()
        turn = _Turn(verb, trio.CancelScope(), trio.current_time())
        line.turns.append(turn)
        try:
            with turn.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._tell, line, turn, emit)
                    if meanwhile is not None and line.turns[0] is not turn:
                        nursery.start_soon(meanwhile)
                    await line.lock.acquire()
                    nursery.cancel_scope.cancel()
                try:
                    turn.since = trio.current_time()
                    yield
                finally:
                    line.lock.release()
        finally:
            line.turns.remove(turn)
            if not line.turns:
                del self._lines[project]
                line.is_over.set()
        if turn.scope.cancelled_caught:
            raise Preempted(f"{verb} was ended by `composer {turn.ended_by}` of the same project")

    def at_work(self, project: str) -> trio.Event | None:
        """The end of all commands that are at work on ``project`` or wait for their turn; None when there are none."""
        line = self._lines.get(project)
        return line.is_over if line else None

    @staticmethod
    async def _tell(line: _Line, turn: _Turn, emit: Emit) -> None:
        await trio.sleep(PATIENCE)
        first = line.turns[0]
        if first is not turn:
            seconds = trio.current_time() - first.since
            await warn(
                emit,
                f"waiting for `composer {first.verb}` of this project, which has been at work for {seconds:.0f} s",
            )
