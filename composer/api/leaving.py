"""The end of an engine that has nothing to do: nobody who comes at that moment finds it and is sent away."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path

import trio

_ROUNDS = 10
"""Of the scheduler: whom the listener has just accepted is counted after that."""


async def close_door(path: Path, listener: socket.socket, count: Callable[[], int]) -> bool:
    """Take the socket's name away; whoever comes from now on starts another engine, and waits for this one's lock.

    False, and the name is back, when somebody had come before: ``count`` of those who are connected, and who waits for
    ``listener`` to accept him."""
    hidden = _hidden(path)
    try:
        os.rename(path, hidden)
    except OSError:
        # Somebody has taken it away, or nothing can be written: then nobody can be kept from coming.
        return True
    for _ in range(_ROUNDS):
        await trio.lowlevel.checkpoint()
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    if count() or waiting.poll(0):
        os.rename(hidden, path)
        return False
    os.unlink(hidden)
    return True


def open_door(path: Path) -> None:
    """Give the socket back the name that a core had taken away when it was killed; not when its keeper was killed, too,
    and what has the name now is another engine's."""
    hidden = _hidden(path)
    with contextlib.suppress(FileNotFoundError, FileExistsError):
        os.link(hidden, path, follow_symlinks=False)
    hidden.unlink(missing_ok=True)


def _hidden(path: Path) -> Path:
    return path.with_name(f"{path.name}.leaving")
