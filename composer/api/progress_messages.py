"""Answers that are a stream of Docker's progress messages."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import trio

from composer.api.http import find_composer_error
from composer.api.interface import Progress
from composer.api.messages import Sink, Streaming, encode_json, error_fields


def progress_messages(work: Callable[[Progress], Coroutine[Any, Any, None]]) -> Streaming:
    """A stream of Docker's progress messages. An error before the first becomes the answer's status, a later
    one the last message."""

    async def produce(sink: Sink) -> None:
        has_begun = False
        turn = trio.Lock()  # what goes on side by side is told by several tasks

        async def emit(message: dict[str, Any]) -> None:
            nonlocal has_begun
            has_begun = True
            async with turn:
                await sink.send(encode_json(message) + b"\r\n")

        try:
            await work(emit)
        except Exception as error:
            known = find_composer_error(error)
            if known is None or not has_begun:
                raise
            detail = {"error": known.message, "errorDetail": error_fields(known)}
            await sink.send(encode_json(detail) + b"\r\n")

    return Streaming(produce)
