"""Questions that other name servers are being asked, on record so that the next core asks them when this one is killed:
they have left their socket, and the client would wait for five seconds before it asks again."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

SLOTS = 512
_HEAD = struct.Struct("=B3xHH4s64s")
"""In use, length of the message, the client's port and address, the container's id."""
_SIZE = 1024


class Question(NamedTuple):
    """``slot`` is -1 for one that is not on record: too long, or one too many."""

    client: Any
    message: bytes
    slot: int = -1


class PendingQuestions:
    """A file that is written to, never synced: it has to survive the process, not the machine. Where it cannot be
    written nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        self._file = -1
        self._left: dict[str, list[Question]] = {}
        self._free = list(range(SLOTS))
        if path is not None:
            with contextlib.suppress(OSError):
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                self._read(os.pread(self._file, SLOTS * _SIZE, 0))

    def _read(self, content: bytes) -> None:
        """What is left keeps its place: this core may be killed before it has asked."""
        for begin in range(0, len(content) - _HEAD.size + 1, _SIZE):
            is_used, length, port, address, container = _HEAD.unpack_from(content, begin)
            message = content[begin + _HEAD.size : begin + _HEAD.size + length]
            if is_used and len(message) == length <= _SIZE - _HEAD.size:
                slot = begin // _SIZE
                self._free.remove(slot)
                left = Question((socket.inet_ntoa(address), port), message, slot)
                self._left.setdefault(container.rstrip(b"\0").decode("ascii", "replace"), []).append(left)

    def take_left(self, container_id: str) -> list[Question]:
        """What the last core has not answered to this container."""
        return self._left.pop(container_id, [])

    def forget_left(self, living: Collection[str]) -> None:
        """Nobody takes what is left by containers other than these: they have ended."""
        for container_id in self._left.keys() - set(living):
            for question in self._left.pop(container_id):
                self.forget(question)

    def put(self, container_id: str, client: Any, message: bytes) -> Question:
        """Have a question on record until :meth:`forget`."""
        if self._file < 0 or not self._free or len(message) > _SIZE - _HEAD.size:
            return Question(client, message)
        slot = self._free.pop()
        address = socket.inet_aton(client[0])
        head = _HEAD.pack(1, len(message), client[1], address, container_id.encode())
        with contextlib.suppress(
            OSError
        ):  # a full disk loses a question at most, when the core is killed as well
            os.pwrite(self._file, head + message, slot * _SIZE)
        return Question(client, message, slot)

    def forget(self, question: Question) -> None:
        if question.slot >= 0:
            with contextlib.suppress(OSError):
                os.pwrite(self._file, b"\0", question.slot * _SIZE)
            self._free.append(question.slot)
