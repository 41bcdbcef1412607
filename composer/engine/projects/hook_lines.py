"""What the hooks of a container write, in lines, for who watches an ``up``."""

from __future__ import annotations

import time

from composer.engine.containers import Container
from composer.engine.projects.parts import number_of, service_of
from composer.engine.projects.steps import Emit
from composer.engine.requests import HookEvent


class HookLines:
    """Makes events of output: whole lines, and at the end of each hook what has no line's end."""

    def __init__(self, container: Container, emit: Emit) -> None:
        self._container = container
        self._emit = emit
        self._rest = b""

    async def hear(self, data: bytes) -> None:
        """What a hook has written; ``b""``: it has ended."""
        lines, newline, self._rest = (self._rest + (data or b"\n" * bool(self._rest))).rpartition(b"\n")
        if newline:
            await self._tell(lines)

    async def _tell(self, lines: bytes) -> None:
        text = lines.decode(errors="replace")
        await self._emit(
            HookEvent(
                service=service_of(self._container),
                container=self._container.name,
                number=number_of(self._container),
                times=[time.time_ns()] * (text.count("\n") + 1),
                text=text,
            )
        )
