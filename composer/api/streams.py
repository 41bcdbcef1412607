"""Docker's framing of output streams, and the conversation between an attached client and a process.

Without a terminal each piece of output has a header of 8 bytes: the stream (1 standard output, 2 standard
error), three zeros, and the length as a big-endian 32-bit number (Engine API, "Attach to a container"). With
one, bytes go as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress

import trio

from composer.api.detaching import DetachKeys
from composer.api.interface import AttachSession
from composer.api.messages import MULTIPLEXED_STREAM, RAW_STREAM, Duplex, Hijack

_HEADER = struct.Struct(">BxxxL")
STREAM_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}
ENGINE_ERROR = 3
"""The stream number with which an engine reports its own error."""
EXIT_STATUS = 4
"""The stream number, none of Docker's, with which the engine tells who asked for it how the process has ended, in
decimal digits."""


def frame(stream: str, data: bytes) -> bytes:
    return _HEADER.pack(STREAM_NUMBERS[stream], len(data)) + data


def exit_frame(status: int) -> bytes:
    data = b"%d" % status
    return _HEADER.pack(EXIT_STATUS, len(data)) + data


def stream_content_type(*, tty: bool, version: tuple[int, int]) -> str:
    """What Docker calls the stream since API 1.42 (before, both kinds had one name)."""
    return MULTIPLEXED_STREAM if not tty and version >= (1, 42) else RAW_STREAM


def converse(
    session: AttachSession,
    *,
    tty: bool,
    stdin: bool,
    detach_keys: bytes,
    version: tuple[int, int],
    status: Callable[[], int | None] | None = None,
) -> Hijack:
    """The answer that connects the client with ``session`` until the process has ended, the client has gone
    or typed the detach keys. Closes the session. With ``status``, the last frame tells what it is by then."""
    return Hijack(
        lambda duplex: _converse(
            session, duplex, tty=tty, stdin=stdin, detach_keys=detach_keys, status=status
        ),
        stream_content_type(tty=tty, version=version),
    )


def say(text: str, *, tty: bool, version: tuple[int, int]) -> Hijack:
    """The answer that is one piece of output."""
    data = text.encode()

    async def converse(duplex: Duplex) -> None:
        await duplex.accept()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await duplex.send(data if tty else frame("stdout", data))

    return Hijack(converse, stream_content_type(tty=tty, version=version))


async def _converse(
    session: AttachSession,
    duplex: Duplex,
    *,
    tty: bool,
    stdin: bool,
    detach_keys: bytes,
    status: Callable[[], int | None] | None,
) -> None:
    async def read_client() -> None:
        await _pass_input(session, duplex, stdin=stdin, keys=DetachKeys(detach_keys if tty else b""))
        nursery.cancel_scope.cancel()

    try:
        await duplex.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_client)
            try:
                while (piece := await session.receive()) is not None:
                    stream, data = piece
                    await duplex.send(data if tty else frame(stream, data))
                if status is not None and not tty and (ended := status()) is not None:
                    await duplex.send(exit_frame(ended))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await session.aclose()


async def _pass_input(session: AttachSession, duplex: Duplex, *, stdin: bool, keys: DetachKeys) -> None:
    """Pass on what the client types; return when it is gone or wants to detach."""
    is_read = stdin
    try:
        while data := await duplex.receive():
            passed, is_detached = keys.feed(data)
            if passed and is_read:
                try:
                    await session.send(passed)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    is_read = False  # the process closed its input; output may still come
            if is_detached:
                return
        if stdin:
            try:
                await session.close_stdin()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        await duplex.wait_gone()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return
