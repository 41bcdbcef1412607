"""Whether the core still lives up to its name: for the keeper, which kills one that hangs. Standard library only.

Nothing is asked at regular times. When somebody connects to the engine's socket, or a shim ends, the core has something
to do; the keeper then looks, a few seconds later and as long as somebody waits, whether it has done anything since:
whether its main thread has ever gone to sleep and woken up (``voluntary_ctxt_switches``, proc_pid_status(5)). A core
that is merely slow, or short of descriptors, has; one that is stopped, or waits for what never comes, has not.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable
from typing import NamedTuple

from runtime.container.loop import READ, Loop
from runtime.kernel import sockets

LOOK = 2.0
"""Seconds between two looks while there is reason to look."""
PATIENCE = {"T": 2 * LOOK, "R": 60.0}
"""Seconds without a sign of life, by the state of the process: stopped, and computing."""
OTHERWISE = 30.0
"""Seconds in any other state: a slow disk can keep a process for long."""


class Sign(NamedTuple):
    """What a look at the core has shown."""

    switches: int
    """How often its main thread has waited for something."""
    state: str
    """One letter: R, S, D, T (stopped), t (held by a debugger), Z."""


def is_hung(state: str, seconds: float) -> bool:
    """Whether a core has to be given up that somebody has waited for, and that has given no sign of life for so long.

    One that a debugger holds is left to it."""
    return state not in "tZ" and seconds >= PATIENCE.get(state, OTHERWISE)


def look_at(pid: int) -> Sign | None:
    """None when there is no such process."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Sign(int(fields["voluntary_ctxt_switches"]), fields["State"].split()[0])


class Watchdog:
    """Watches one core at a time on behalf of the keeper."""

    def __init__(self, loop: Loop, listener: int, address: str, hung: Callable[[float], None]) -> None:
        self._loop = loop
        self._listener = listener
        self._address = address
        self._hung = hung
        self._core = -1
        self._last: Sign | None = None
        self._silent = 0.0
        self._is_due = False
        """Something has happened since the last look that nobody waits for."""
        loop.watch(listener, lambda _: self._begin(), READ | select.EPOLLET)

    def watch(self, core: int) -> None:
        """From now on this process is the core, and has said that it serves; -1: there is none."""
        self._core = core
        self._last = None
        self._loop.after(0.0, None)
        if core >= 0:
            self._begin()

    def expect(self) -> None:
        """Something has happened that the core has to see to, though nobody connects for its sake."""
        self._is_due = True
        self._begin()

    def _begin(self) -> None:
        if self._core >= 0 and self._last is None:
            self._silent = 0.0
            self._is_due = False
            self._last = look_at(self._core)
            self._loop.after(LOOK, self._look)

    def _look(self) -> None:
        sign, last = look_at(self._core), self._last
        self._last = None
        if sign is None or last is None:
            return  # it has ended: that is heard of elsewhere
        is_alive = sign.switches != last.switches
        self._silent = 0.0 if is_alive else self._silent + LOOK
        if not self._is_awaited():
            if is_alive and not self._is_due:
                return
            self._is_due = False
            if not is_alive:
                self._knock()
        elif is_hung(sign.state, self._silent):
            self._hung(self._silent)
            return
        self._last = sign
        self._loop.after(LOOK, self._look)

    def _is_awaited(self) -> bool:
        """Whether a connection waits to be accepted."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        return bool(poll.poll(0))

    def _knock(self) -> None:
        """Be somebody who waits."""
        with contextlib.suppress(OSError), sockets.connect(self._address, socket.SOCK_STREAM):
            pass


def kill(core: int) -> None:
    """End a core that hangs; whether it is stopped makes no difference to SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(core, 9)
