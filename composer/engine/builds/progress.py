"""How the steps of a build are told."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Literal

from composer.engine.builds.workshop import Tell
from composer.engine.requests import Event, StepEvent


def teller(
    emit: Callable[[Event], Awaitable[None]],
    image: str,
    *,
    kind: Literal["Image", "Build"] = "Image",
    service: str = "",
    quiet: bool = False,
) -> Tell:
    """Tells of the steps of ``image`` (or of a build without a name) as events below it; of ``service``, where others
    are built beside it."""

    async def progress(title: str, status: str, text: str) -> None:
        if not quiet:
            await emit(
                StepEvent(
                    kind=kind,
                    name=title,
                    parent=image,
                    service=service,
                    status=status,
                    text=text,
                    time=time.time_ns(),
                )
            )

    return progress
