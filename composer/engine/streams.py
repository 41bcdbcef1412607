"""The engine's end of a container's or an exec's streams: pipes or a terminal, read and written by descriptor."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from typing import Literal

import trio

Stream = Literal["stdout", "stderr"]
CHUNK = 64 * 1024
STRAGGLERS = 2.0
"""Seconds, as in Docker, for which output may follow the end of the process: what it has started may still have it
open, for ever perhaps."""


def open_pipes(*wanted: bool) -> list[tuple[int, int] | tuple[None, None]]:
    """Reading and writing end of a pipe for each that is wanted: all of them, or none. Raises OSError."""
    made: list[tuple[int, int] | tuple[None, None]] = []
    try:
        for is_wanted in wanted:
            made.append(os.pipe2(os.O_CLOEXEC) if is_wanted else (None, None))
    except OSError:
        for fd in (end for pipe in made for end in pipe if end is not None):
            os.close(fd)
        raise
    return made


class Streams:
    """Output descriptors to read, and perhaps one to write. Owns them all. Everything is non-blocking."""

    def __init__(
        self,
        *,
        stdout: int | None = None,
        stderr: int | None = None,
        stdin: int | None = None,
        is_terminal: bool = False,
        on_close: Callable[[], None] | None = None,
        ended: trio.Event | None = None,
    ) -> None:
        """``ended`` is set when the process has ended whose streams these are; without it they end by themselves."""
        self._readers: dict[Stream, int] = {}
        if stdout is not None:
            self._readers["stdout"] = stdout
        if stderr is not None:
            self._readers["stderr"] = stderr
        self._stdin = stdin
        self._is_terminal = is_terminal
        self._on_close = on_close
        self._ended = ended
        self._deadline = float("inf")
        for fd in {fd for fd in (stdout, stderr, stdin) if fd is not None}:
            os.set_blocking(fd, False)

    async def receive(self) -> tuple[Stream, bytes] | None:
        """The next piece of output; None when every stream, and the process, has ended."""
        while self._readers and not self._is_late():
            for stream, fd in list(self._readers.items()):
                data = self._read(fd)
                if data is None:
                    continue
                if data:
                    await trio.lowlevel.checkpoint()
                    return stream, data
                del self._readers[stream]
                self._close_reader(fd)
            if self._readers:
                await self._wait_any()
        if self._ended is not None:
            await self._ended.wait()
        return None

    def _is_late(self) -> bool:
        """Whether whatever comes now comes too long after the end of the process."""
        if self._ended is None or not self._ended.is_set():
            return False
        self._deadline = min(self._deadline, trio.current_time() + STRAGGLERS)
        return trio.current_time() >= self._deadline

    def _read(self, fd: int) -> bytes | None:
        try:
            return os.read(fd, CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            # A terminal whose other end is closed reads as EIO.
            if error.errno in (errno.EIO, errno.ECONNRESET):
                return b""
            raise

    def _close_reader(self, fd: int) -> None:
        if fd != self._stdin:
            os.close(fd)

    async def _wait_any(self) -> None:
        """Until there is something to read, the process has ended, or too long ago."""
        fds = list(self._readers.values())
        if self._ended is None and len(fds) == 1:
            await trio.lowlevel.wait_readable(fds[0])
            return
        with trio.move_on_at(self._deadline):
            async with trio.open_nursery() as nursery:

                async def until(wait: Awaitable[object]) -> None:
                    await wait
                    nursery.cancel_scope.cancel()

                for fd in fds:
                    nursery.start_soon(until, trio.lowlevel.wait_readable(fd))
                if self._ended is not None and not self._ended.is_set():
                    nursery.start_soon(until, self._ended.wait())

    async def send(self, data: bytes) -> None:
        """Write all of ``data`` to standard input. Raises trio.BrokenResourceError when nobody reads any more."""
        view = memoryview(data)
        while view:
            if self._stdin is None:
                raise trio.BrokenResourceError("standard input is closed")
            try:
                written = os.write(self._stdin, view)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._stdin)
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
            view = view[written:]
        await trio.lowlevel.checkpoint()

    async def close_stdin(self) -> None:
        """End of file for the reader; a terminal stays open (its end of file is a character)."""
        if self._stdin is not None and not self._is_terminal:
            os.close(self._stdin)
            self._stdin = None
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Let go of everything; what runs goes on."""
        fds = set(self._readers.values())
        self._readers.clear()
        if self._stdin is not None:
            fds.add(self._stdin)
            self._stdin = None
        for fd in fds:
            trio.lowlevel.notify_closing(fd)
            os.close(fd)
        if self._on_close is not None:
            self._on_close()
            self._on_close = None
        await trio.lowlevel.checkpoint()
