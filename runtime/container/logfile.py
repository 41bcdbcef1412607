"""Writing a container's log: CRI lines, rotation by size, numbered files. Standard library only.

A line is ``<RFC 3339, nanoseconds, UTC> <stdout|stderr> <F|P> <text>``: F with its line end, P a part of a line that
goes on (longer than 16 KiB, or never ended). Kubernetes, "CRI logging". Files are ``<n>.log`` with rising n, so that
rotation renames nothing and a reader that has finished n goes on with n + 1.
"""

from __future__ import annotations

import contextlib
import os
import time

MAX_LINE = 16 * 1024
"""Longer lines are cut into parts, as Docker does."""


def list_files(directory: str | os.PathLike[str]) -> list[int]:
    """Numbers of the log files, oldest first."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(int(name[:-4]) for name in names if name.endswith(".log") and name[:-4].isdigit())


class LogWriter:
    """Takes bytes of two streams, writes whole lines.

    What cannot be written (no space) is dropped, never waited for; a file never ends in half a line."""

    def __init__(self, directory: str, *, max_size: int = 0, max_files: int = 1) -> None:
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._max_size = max_size
        self._max_files = max(1, max_files)
        numbers = list_files(directory)
        self._number = numbers[-1] if numbers else 0
        self._fd = -1
        self._size = 0
        self._carry: dict[bytes, bytes] = {}
        self._second = -1
        self._second_text = b""
        self.dropped = 0
        """Bytes that could not be written."""
        self._open()

    def _open(self) -> None:
        """Open the newest file; cut off half a line that a power failure may have left."""
        try:
            self._fd = os.open(
                f"{self._number}.log",
                os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW,
                0o640,
                dir_fd=self._directory,
            )
            self._size = os.fstat(self._fd).st_size
            if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
                os.write(self._fd, b"\n")
                self._size += 1
        except OSError:
            self._fd = -1

    def write(self, stream: bytes, data: bytes) -> None:
        """``stream`` is ``b"stdout"`` or ``b"stderr"``; ``data`` any piece of it, in order. After a MemoryError nothing
        of it is written."""
        carry = self._carry.get(stream, b"")
        if carry:
            data = carry + data
        end = data.rfind(b"\n")
        if end < 0 and len(data) < MAX_LINE:
            self._carry[stream] = data
            return
        now = self._timestamp()
        whole = b"%s %s F " % (now, stream)
        if _has_long_line(data):
            out, rest = _cut(data, whole, b"%s %s P " % (now, stream))
        else:
            out = whole + data[:end].replace(b"\n", b"\n" + whole) + b"\n"
            rest = data[end + 1 :]
        self._carry[stream] = rest
        self._append(out)

    def close(self) -> None:
        """Write what had no line end as parts, and close."""
        for stream, rest in self._carry.items():
            if not rest:
                continue
            self._append(b"%s %s P %s\n" % (self._timestamp(), stream, rest))
        self._carry.clear()
        if self._fd >= 0:
            os.close(self._fd)
        os.close(self._directory)

    def _timestamp(self) -> bytes:
        second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._second_text = b"%04d-%02d-%02dT%02d:%02d:%02d" % time.gmtime(second)[:6]
        return b"%s.%09dZ" % (self._second_text, nanoseconds)

    def _append(self, out: bytes) -> None:
        """Whole lines; as many into each file as it may hold, a longer one into a file of its own."""
        if not self._max_size or self._size + len(out) <= self._max_size:
            self._put(out)
            return
        at = 0
        while at < len(out):
            room = self._max_size - self._size
            end = len(out) if len(out) - at <= room else out.rfind(b"\n", at, at + max(0, room)) + 1
            if end <= at and self._size:
                self._rotate()
                continue
            end = end if end > at else out.index(b"\n", at) + 1
            self._put(out[at:end])
            at = end

    def _put(self, out: bytes) -> None:
        if self._fd < 0:
            self._open()
        try:
            written = os.write(self._fd, out)
        except OSError:
            self.dropped += len(out)
            return
        self._size += written
        if written < len(out):
            # The disk is full in the middle of a line: take back its beginning.
            keep = out.rfind(b"\n", 0, written) + 1
            self.dropped += len(out) - keep
            with contextlib.suppress(OSError):
                self._size += keep - written
                os.ftruncate(self._fd, self._size)

    def _rotate(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        oldest_kept = self._number + 2 - self._max_files
        self._number += 1
        self._size = 0
        self._open()
        for number in range(oldest_kept - 1, -1, -1):
            try:
                os.unlink(f"{number}.log", dir_fd=self._directory)
            except OSError:
                break


def _has_long_line(data: bytes) -> bool:
    """Whether a line of :data:`MAX_LINE` bytes or more may be in ``data``: such a line covers one of the blocks of
    half that size, so looking for a line end in each is enough (and may say yes to a little less)."""
    half = MAX_LINE // 2
    return any(data.find(b"\n", at, at + half) < 0 for at in range(0, len(data) - half + 1, half))


def _cut(data: bytes, whole: bytes, part: bytes) -> tuple[bytes, bytes]:
    """Lines of ``data`` with long ones cut into parts, and the rest that has no line end yet."""
    out = []
    lines = data.split(b"\n")
    rest = lines.pop()
    for line in lines:
        while len(line) > MAX_LINE:
            out += [part, line[:MAX_LINE], b"\n"]
            line = line[MAX_LINE:]
        out += [whole, line, b"\n"]
    while len(rest) >= MAX_LINE:
        out += [part, rest[:MAX_LINE], b"\n"]
        rest = rest[MAX_LINE:]
    return b"".join(out), rest
