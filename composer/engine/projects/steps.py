"""Telling what happens: the events of one request, in Docker Compose's words."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal

from composer.engine.requests import Event, StepEvent, WarningEvent

Emit = Callable[[Event], Awaitable[None]]
Kind = Literal["Container", "Network", "Volume", "Image", "Config", "Secret"]


async def tell(emit: Emit, kind: Kind, name: str, status: str, text: str = "") -> None:
    """Emit one step."""
    await emit(StepEvent(kind=kind, name=name, status=status, text=text, time=time.time_ns()))


async def warn(emit: Emit, message: str) -> None:
    await emit(WarningEvent(message=message))


async def warn_all(emit: Emit, messages: Iterable[str]) -> None:
    """Each of them."""
    for message in messages:
        await warn(emit, message)
