"""Questions that other name servers are being asked, on record so that the next core asks them when this one is killed:
they have left their socket, and the client would wait for five seconds before it asks again."""

from __future__ import annotations

import mmap
import os
import socket
import struct
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
    """A file in memory that the kernel keeps when a process dies. Without a path nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        """Raises OSError."""
        self._map: mmap.mmap | None = None
        self._left: dict[str, list[Question]] = {}
        self._free: list[int] = []
        if path is None:
            return
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(descriptor, SLOTS * _SIZE)
            self._map = mmap.mmap(descriptor, SLOTS * _SIZE)
        finally:
            os.close(descriptor)
        for slot in range(SLOTS):
            self._free.append(slot)
            if self._map[slot * _SIZE]:
                _, length, port, address, container = _HEAD.unpack_from(self._map, slot * _SIZE)
                begin = slot * _SIZE + _HEAD.size
                message = self._map[begin : begin + min(length, _SIZE - _HEAD.size)]
                client = (socket.inet_ntoa(address), port)
                self._left.setdefault(container.rstrip(b"\0").decode(), []).append(Question(client, message))
                self._map[slot * _SIZE] = 0

    def take_left(self, container_id: str) -> list[Question]:
        """What the last core has not answered to this container."""
        return [
            self.put(container_id, left.client, left.message) for left in self._left.pop(container_id, ())
        ]

    def put(self, container_id: str, client: Any, message: bytes) -> Question:
        """Have a question on record until :meth:`forget`."""
        if self._map is None or not self._free or len(message) > _SIZE - _HEAD.size:
            return Question(client, message)
        slot = self._free.pop()
        begin = slot * _SIZE
        address = socket.inet_aton(client[0])
        self._map[begin + _HEAD.size : begin + _HEAD.size + len(message)] = message
        # What says that the slot is in use comes last.
        _HEAD.pack_into(self._map, begin, 0, len(message), client[1], address, container_id.encode())
        self._map[begin] = 1
        return Question(client, message, slot)

    def forget(self, question: Question) -> None:
        if self._map is not None and question.slot >= 0:
            self._map[question.slot * _SIZE] = 0
            self._free.append(question.slot)
