"""The smallest event loop that serves: epoll, one callback a descriptor, children by SIGCHLD. Standard library only.

Used by keeper and shims, which are single-threaded and never wait for anything else.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
GONE = select.EPOLLHUP | select.EPOLLERR

BREATH = 0.1
"""Seconds until what there was no memory for is tried again."""

Callback = Callable[[int], None]
"""Called with the epoll events of its descriptor."""


class Loop:
    """Watches descriptors until :meth:`stop`; costs nothing while nothing happens."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._is_running = False
        self._wakeup = -1
        self._alarm: tuple[float, Callable[[], None]] | None = None

    def after(self, seconds: float, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` once while :meth:`run` runs, in place of what was asked before; None: nothing."""
        self._alarm = None if callback is None else (time.monotonic() + seconds, callback)

    def watch(self, fd: int, callback: Callback, events: int = READ) -> None:
        """Call ``callback`` when ``fd`` has one of ``events`` (or is hung up); replaces what was asked before."""
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        """No longer watch ``fd``; to be called before it is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def on_children(self, callback: Callable[[int, int], None]) -> None:
        """Call ``callback(pid, wait status)`` for every child that ends from now on."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup = writer
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)

        def reap(_: int) -> None:
            try:
                while os.read(reader, 4096):
                    pass
            except BlockingIOError:
                pass
            while True:
                try:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    return
                if pid == 0:
                    return
                callback(pid, status)

        self.watch(reader, reap)
        os.write(writer, b"\0")  # children that ended before

    def run(self) -> None:
        """Until :meth:`stop` is called."""
        self._is_running = True
        while self._is_running:
            self.run_once(-1 if self._alarm is None else max(0.0, self._alarm[0] - time.monotonic()))
            if self._alarm is not None and self._alarm[0] <= time.monotonic():
                (_, callback), self._alarm = self._alarm, None
                callback()

    def run_once(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds (-1: for ever) and serve what there is; False when there was nothing."""
        happened = self._epoll.poll(timeout)
        for fd, events in happened:
            # An earlier callback of this round may have forgotten (and even reopened) this descriptor: then the
            # callback that is there now finds nothing to read, which all of them bear.
            callback = self._callbacks.get(fd)
            if callback is not None:
                try:
                    callback(events)
                except MemoryError:
                    # What has not been read is still there when there is memory again.
                    time.sleep(BREATH)
        return bool(happened)

    def stop(self) -> None:
        self._is_running = False


def _nothing(*_: object) -> None:
    """A handler, so that the signal is not ignored and wakes the loop."""
