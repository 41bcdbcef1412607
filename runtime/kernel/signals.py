"""Signals by name and number, and whether a process can receive one at all."""

from __future__ import annotations

import os
import signal

from runtime.errors import InvalidArgument

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
            offset = plain[len(base) :].lstrip("+-") or "0"
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
    it in some thread to take it with sigwait(3) or signalfd(2). SIGKILL and SIGSTOP from outside always arrive.
    Anything that cannot be read counts as able.
    """
    if not is_init or number in (signal.SIGKILL, signal.SIGSTOP):
        return True
    bit = 1 << (number - 1)
    try:
        status = _masks(f"/proc/{pid}/status")
        if status.get("SigCgt", 0) & bit:
            return True
        threads = os.listdir(f"/proc/{pid}/task")
        return any(_masks(f"/proc/{pid}/task/{tid}/status").get("SigBlk", 0) & bit for tid in threads)
    except (OSError, ValueError):
        return True


def _masks(path: str) -> dict[str, int]:
    with open(path, encoding="utf-8", errors="replace") as file:
        return {
            key: int(value, 16)
            for key, _, value in (line.partition(":") for line in file)
            if key in ("SigCgt", "SigBlk")
        }
