"""A container's log as Docker streams it: lines with their ends, framed, with times if wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from composer.api.messages import Sink
from composer.api.streams import frame
from composer.api.times import log_timestamp
from composer.engine.model import LogLine

BATCH = 32 << 10
"""Bytes that are collected before they are sent, as long as more are there without waiting."""


def encode_line(line: LogLine, *, tty: bool, timestamps: bool) -> bytes:
    data = line.data if line.partial else line.data + b"\n"
    if timestamps:
        data = log_timestamp(line.time_ns).encode() + b" " + data
    return data if tty else frame(line.stream, data)


async def copy(lines: AsyncIterator[LogLine], sink: Sink, *, tty: bool, timestamps: bool) -> None:
    """Send all ``lines``: many small ones together, each at once when it comes alone."""
    send, receive = trio.open_memory_channel[LogLine](1024)

    async def read() -> None:
        async with send:
            async for line in lines:
                try:
                    send.send_nowait(line)
                except trio.WouldBlock:
                    await send.send(line)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        async with receive:
            async for line in receive:
                batch = bytearray(encode_line(line, tty=tty, timestamps=timestamps))
                while len(batch) < BATCH:
                    try:
                        batch += encode_line(receive.receive_nowait(), tty=tty, timestamps=timestamps)
                    except (trio.WouldBlock, trio.EndOfChannel):
                        break
                await sink.send(bytes(batch))
