"""Signals by name and number, and whether a process can receive one at all."""

from __future__ import annotations

import os
import signal

from runtime.errors import InvalidArgument

_SIGTIMEDWAIT = {"x86_64": ("128", "177", "421"), "aarch64": ("137", "177", "421")}.get(
    os.uname().machine, ()
)
"""Numbers of rt_sigtimedwait(2), also for programs of 32 bits, with times of 32 and 64."""
SIGRTMIN, SIGRTMAX = 34, 64
"""As glibc and Docker count them: the C library keeps 32 and 33 for itself."""


def parse_signal(text: str) -> int:
    """``SIGTERM``, ``term``, ``15``, ``SIGRTMIN+3``, ``RTMAX-1``. Raises InvalidArgument with Docker's sentence."""
    plain = text.strip().upper()
    if plain.isdecimal():
        number = int(plain)
        if 0 < number <= SIGRTMAX:
            return number
        raise InvalidArgument(f"Invalid signal: {text}")
    plain = plain.removeprefix("SIG")
    for base, start, sign in (("RTMIN", SIGRTMIN, 1), ("RTMAX", SIGRTMAX, -1)):
        if plain.startswith(base):
            offset = plain[len(base) :].removeprefix("+" if sign > 0 else "-") or "0"
            if offset.isdecimal() and SIGRTMIN <= (number := start + sign * int(offset)) <= SIGRTMAX:
                return number
            raise InvalidArgument(f"Invalid signal: {text}")
    try:
        return int(signal.Signals[f"SIG{plain}"])
    except KeyError:
        raise InvalidArgument(f"Invalid signal: {text}", hint="for instance SIGTERM, INT or 9") from None


def signal_name(number: int) -> str:
    """``SIGTERM``; real-time signals as ``SIGRTMIN+n``."""
    if SIGRTMIN <= number <= SIGRTMAX:
        return f"SIGRTMIN+{number - SIGRTMIN}" if number > SIGRTMIN else "SIGRTMIN"
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def can_receive(pid: int, number: int, *, is_init: bool = True) -> bool:
    """Whether a signal would have any effect on process ``pid`` now.

    The init of a pid namespace gets no signal that it has not asked for (pid_namespaces(7)): it must catch it, or block
    it in some thread to take it with sigwait(3) or signalfd(2). While a thread sleeps in rt_sigtimedwait(2), as tini
    and dumb-init do, its mask in /proc lacks what it waits for: being in there counts, too. SIGKILL and SIGSTOP from
    outside always arrive. Anything that cannot be read counts as able.
    """
    if not is_init or number in (signal.SIGKILL, signal.SIGSTOP):
        return True
    bit = 1 << (number - 1)
    try:
        status = _masks(f"/proc/{pid}/status")
        if status.get("SigCgt", 0) & bit:
            return True
        for tid in os.listdir(f"/proc/{pid}/task"):
            thread = f"/proc/{pid}/task/{tid}"
            # Before and after: between the two looks the thread may have begun or ended its wait.
            if _waits(thread) or _masks(f"{thread}/status").get("SigBlk", 0) & bit or _waits(thread):
                return True
        return False
    except (OSError, ValueError):
        return True


def _waits(thread: str) -> bool:
    """Whether a thread sleeps in rt_sigtimedwait(2)."""
    with open(f"{thread}/syscall", encoding="ascii") as file:
        return file.read().split()[0] in _SIGTIMEDWAIT


def _masks(path: str) -> dict[str, int]:
    with open(path, encoding="utf-8", errors="replace") as file:
        return {
            key: int(value, 16)
            for key, _, value in (line.partition(":") for line in file)
            if key in ("SigCgt", "SigBlk")
        }
