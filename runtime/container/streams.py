"""A container's standard streams in its shim: reading output into the log and to who is attached, feeding input.

Standard library only. The container is never held back by a reader, unless that reader asked for it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from runtime.container.logfile import LogWriter
from runtime.container.loop import BREATH, GONE, READ, WRITE, Loop

CHUNK = 256 * 1024
SMALL_CHUNK = 4096
"""Where there is no memory for more."""
MAX_BEHIND = 4 * 1024 * 1024
"""Bytes that a reader may be behind before it is dropped."""
HOLD_BACK = 256 * 1024
"""Bytes that a lossless reader may be behind before the container has to wait."""


class Sink:
    """One attached reader of one stream; owns its descriptor."""

    def __init__(self, loop: Loop, fd: int, *, lossless: bool, on_change: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._lossless = lossless
        self._on_change = on_change
        self._waiting = bytearray()
        self.is_open = True
        # Also tells when the reader goes away while nothing is written.
        loop.watch(fd, self._ready, 0)

    @property
    def is_behind(self) -> bool:
        """Whether the container should wait for this reader."""
        return self._lossless and len(self._waiting) >= HOLD_BACK

    @property
    def is_idle(self) -> bool:
        return not self._waiting or not self.is_open

    def write(self, data: bytes) -> None:
        if not self.is_open:
            return
        if not self._waiting:
            try:
                sent = os.write(self._fd, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close()
                return
            if sent == len(data):
                return
            data = data[sent:]
            self._loop.watch(self._fd, self._ready, WRITE)
        self._waiting += data
        if len(self._waiting) > MAX_BEHIND and not self._lossless:
            self.close()

    def _ready(self, events: int) -> None:
        if events & GONE:
            self.close()
            return
        try:
            del self._waiting[: os.write(self._fd, self._waiting[:CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self._waiting:
            self._loop.watch(self._fd, self._ready, 0)
        self._on_change()

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._waiting.clear()
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._on_change()


class Output:
    """Reads one stream of the container (a pipe's read end or a terminal's master)."""

    def __init__(
        self, loop: Loop, fd: int, name: bytes, log: LogWriter | None, on_first: Callable[[], None]
    ) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._name = name
        self._log = log
        self._on_first: Callable[[], None] | None = on_first
        self._sinks: list[Sink] = []
        self.is_open = True
        loop.watch(fd, self._ready)

    def add_sink(self, fd: int, *, lossless: bool) -> None:
        self._sinks.append(Sink(self._loop, fd, lossless=lossless, on_change=self._sinks_changed))

    def _ready(self, _: int) -> None:
        self._read()

    def _read(self) -> bool:
        """Read once; False when there is nothing more at present, or ever."""
        try:
            try:
                data = os.read(self._fd, CHUNK)
            except MemoryError:
                data = os.read(self._fd, SMALL_CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last user of a terminal has closed it
            data = b""
        if not data:
            self.close()
            return False
        if self._on_first is not None:
            self._on_first()
            self._on_first = None
        if self._log is not None:
            self._write_log(self._log, data)
        for sink in self._sinks:
            sink.write(data)
        if self._sinks:
            self._sinks_changed()
        return True

    def _write_log(self, log: LogWriter, data: bytes) -> None:
        """Without memory the container waits: of what it has written nothing is dropped."""
        while True:
            try:
                log.write(self._name, data)
                return
            except MemoryError:
                time.sleep(BREATH)

    def _sinks_changed(self) -> None:
        self._sinks = [sink for sink in self._sinks if sink.is_open]
        if self.is_open:
            behind = any(sink.is_behind for sink in self._sinks)
            # Not even hang-up is of interest while a reader is waited for: the bytes before it come first.
            if behind:
                self._loop.forget(self._fd)
            else:
                self._loop.watch(self._fd, self._ready)

    def drain(self) -> None:
        """Read what is there now, whoever still holds the other end, then close."""
        while self.is_open and self._read():
            pass
        self.close()

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._loop.forget(self._fd)
            os.close(self._fd)

    @property
    def is_flushed(self) -> bool:
        return all(sink.is_idle for sink in self._sinks)

    def close_sinks(self) -> None:
        for sink in list(self._sinks):
            sink.close()


class Input:
    """Feeds the container's standard input (a pipe's write end, or a duplicate of a terminal's master) from who is
    attached.

    A source is read only when everything before has been taken: the container's pace is the sender's."""

    def __init__(self, loop: Loop, fd: int, *, is_terminal: bool, once: bool) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._is_terminal = is_terminal
        self._once = once
        self._waiting = b""
        self._sources: list[int] = []
        self.is_open = True

    def add_source(self, fd: int) -> None:
        if not self.is_open:
            os.close(fd)
            return
        os.set_blocking(fd, False)
        self._sources.append(fd)
        if not self._waiting:
            self._loop.watch(fd, self._reader(fd), READ)

    def _reader(self, source: int) -> Callable[[int], None]:
        def ready(_: int) -> None:
            try:
                data = os.read(source, 65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self._feed(data)
            else:
                self._drop(source)
                if self._once:
                    self.close()

        return ready

    def _feed(self, data: bytes) -> None:
        self._waiting += data
        self._write()
        if self._waiting:
            for source in self._sources:
                self._loop.forget(source)
            self._loop.watch(self._fd, lambda _: self._write(), WRITE)

    def _write(self) -> None:
        try:
            self._waiting = self._waiting[os.write(self._fd, self._waiting) :]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self._waiting:
            self._loop.forget(self._fd)
            for source in self._sources:
                self._loop.watch(source, self._reader(source), READ)

    def _drop(self, source: int) -> None:
        self._loop.forget(source)
        self._sources.remove(source)
        os.close(source)

    def close(self) -> None:
        """End-of-file for the container; a terminal only loses its sources."""
        self._waiting = b""  # whoever fed it looks whether something is left
        for source in list(self._sources):
            self._drop(source)
        if self.is_open and not self._is_terminal:
            self.is_open = False
            self._loop.forget(self._fd)
            with contextlib.suppress(OSError):
                os.close(self._fd)
