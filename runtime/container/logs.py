"""Reading a container's log back: parsing lines, the last lines of a large log, following it over rotations.

The format and the file names are those of ``runtime.container.logfile``. A reader holds the file that it is in, so
nothing is lost when that is rotated away while it reads.
"""

from __future__ import annotations

import calendar
import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import trio

from runtime.container.logfile import list_files
from runtime.kernel import inotify
from runtime.kernel.kernel_limits import LimitReached

log = logging.getLogger(__name__)

BLOCK = 64 * 1024
"""Bytes that are read at once; a line and its parts are much shorter (``logfile.MAX_LINE``)."""
LOOK_FIRST, LOOK_LAST = 0.01, 0.25
"""Seconds between two looks at a log that cannot be watched, at first and at last."""
_TIME_LENGTH = len("2006-01-02T15:04:05.000000000Z")


class LogEntry(msgspec.Struct, frozen=True, gc=False):
    """One line, or a part of one."""

    time_ns: int
    """Nanoseconds since the epoch."""
    stream: Literal["stdout", "stderr"]
    data: bytes
    """Without the line end."""
    partial: bool = False
    """The line goes on in the stream's next entry, or was never ended."""


_seconds: dict[bytes, int] = {}


def parse_line(line: bytes) -> LogEntry | None:
    """One line of a log file without its end; None when it is none (cut off by a crash of the machine)."""
    try:
        second = line[:19]
        epoch = _seconds.get(second)
        if epoch is None:
            if len(_seconds) > 100_000:
                _seconds.clear()
            epoch = calendar.timegm(time.strptime(second.decode("ascii"), "%Y-%m-%dT%H:%M:%S"))
            _seconds[second] = epoch
        nanoseconds = int(line[20:29])
        rest = line[_TIME_LENGTH + 1 :]
        stream: Literal["stdout", "stderr"] = "stdout" if rest.startswith(b"stdout ") else "stderr"
        if (
            not rest.startswith((b"stdout ", b"stderr "))
            or line[29:31] != b"Z "
            or rest[7:9] not in (b"F ", b"P ")
        ):
            return None
    except (ValueError, UnicodeDecodeError):
        return None
    return LogEntry(epoch * 1_000_000_000 + nanoseconds, stream, rest[9:], rest[7:8] == b"P")


def format_time(nanoseconds: int) -> bytes:
    """As at the beginning of lines, so that times can be compared without parsing them."""
    second, rest = divmod(max(0, nanoseconds), 1_000_000_000)
    return b"%04d-%02d-%02dT%02d:%02d:%02d" % time.gmtime(second)[:6] + b".%09dZ" % rest


def read_log(
    directory: Path, *, since: int | None = None, until: int | None = None, tail: int | None = None
) -> Iterator[LogEntry]:
    """What is in the log now; see :meth:`LogReader.history`."""
    reader = LogReader(directory)
    try:
        for block in reader.history(since=since, until=until, tail=tail):
            yield from block
    finally:
        reader.close()


def end_of_log(directory: Path) -> tuple[int, int]:
    """The :attr:`LogReader.position` behind all that has been written."""
    for number in reversed(list_files(directory)):
        with contextlib.suppress(FileNotFoundError):  # rotated away this very moment
            return number, os.stat(directory / f"{number}.log").st_size
    return -1, 0


class LogReader:
    """Reads one log, first what is there (:meth:`history`), then what is added (:meth:`read_new`): in blocks, each of
    which took few milliseconds, and may be empty when nothing in it was wanted."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = -1
        """The file that is read; -1: none yet."""
        self._fd = -1
        self._offset = 0
        self._inotify = -1
        self._is_watched = False
        self._is_looking = False
        self._looked_at = (-1, 0)

    def close(self) -> None:
        for fd in (self._fd, self._inotify):
            if fd >= 0:
                os.close(fd)
        self._fd = self._inotify = -1

    @property
    def position(self) -> tuple[int, int]:
        """Behind the last block that was taken: number of the file and offset; (-1, 0): before the first one."""
        return self._number, self._offset

    def seek(self, position: tuple[int, int]) -> None:
        """Go on with :meth:`read_new` at a :attr:`position`; when its file is gone, with the next one there is."""
        number, offset = position
        if number >= 0 and not self._open(number, offset):
            self._number = number

    def history(
        self, *, since: int | None = None, until: int | None = None, tail: int | None = None
    ) -> Iterator[list[LogEntry]]:
        """Entries written before this call: from ``since`` to ``until`` (ns, both included), the last ``tail`` of them
        all. What is written meanwhile is not among them: a writer may be faster than any reader.

        With ``tail`` the log is read from its end. Afterwards :meth:`read_new` goes on behind the last one."""
        end = end_of_log(self._directory)
        if tail is not None:
            self._seek_tail(tail)
        yield from self._read(since, until, end)

    def read_new(self) -> Iterator[list[LogEntry]]:
        """Entries written since the last call, none twice, none left out (but by rotation while nobody read)."""
        yield from self._read(None, None, None)

    async def wait_for_news(self) -> None:
        """Return when something may have been written since the last :meth:`read_new`; the first call at once.

        Where the kernel watches no more files (a limit that all programs of a user share), it is looked for."""
        if self._is_looking:
            await self._look()
            return
        try:
            if self._inotify < 0:
                self._inotify = inotify.open_inotify()
                self._watch()
                await trio.lowlevel.checkpoint()
                return
            await trio.lowlevel.wait_readable(self._inotify)
            inotify.discard_events(self._inotify)
            self._watch()
        except LimitReached as error:
            log.warning("%s: %s; logs are looked at instead", self._directory, error.strerror)
            self._is_looking = True
            self._looked_at = end_of_log(self._directory)
            await trio.lowlevel.checkpoint()

    async def _look(self) -> None:
        """Return when the log is longer than when this returned last."""
        pause = LOOK_FIRST
        while (found := end_of_log(self._directory)) == self._looked_at:
            await trio.sleep(pause)
            pause = min(2 * pause, LOOK_LAST)
        self._looked_at = found

    def _watch(self) -> None:
        """Watch the directory; before the container has been started the first time, the nearest one above it."""
        while not self._is_watched:
            above = next(path for path in (self._directory, *self._directory.parents) if path.exists())
            mask = inotify.IN_CREATE | inotify.IN_MOVED_TO
            if above == self._directory:
                mask |= inotify.IN_MODIFY | inotify.IN_DELETE_SELF
            with contextlib.suppress(FileNotFoundError):
                inotify.add_watch(self._inotify, above, mask)
                self._is_watched = above == self._directory
            # What was made between looking and watching raises no event: look again.
            if next(path for path in (self._directory, *self._directory.parents) if path.exists()) == above:
                return

    def _open(self, number: int, offset: int = 0) -> bool:
        try:
            fd = os.open(self._directory / f"{number}.log", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        if self._fd >= 0:
            os.close(self._fd)
        self._number, self._fd, self._offset = number, fd, offset
        return True

    def _advance(self) -> bool:
        """Go on to the next file there is."""
        return any(number > self._number and self._open(number) for number in list_files(self._directory))

    def _seek_tail(self, tail: int) -> None:
        """Set the position to before the last ``tail`` lines."""
        numbers = list_files(self._directory)
        missing = max(0, tail)
        for number in reversed(numbers):
            if not self._open(number):
                continue
            end = os.fstat(self._fd).st_size
            position, found = _find_lines_back(self._fd, end, missing)
            self._offset = position
            missing -= found
            if missing <= 0:
                return

    def _read(
        self, since: int | None, until: int | None, end: tuple[int, int] | None
    ) -> Iterator[list[LogEntry]]:
        """Up to ``end``, or until there is no more."""
        lower = b"" if since is None else format_time(since)
        upper = b"~" if until is None else format_time(until)
        if self._fd < 0 and not self._advance():
            return
        while True:
            # Asked before the last read: when there is a next file, this one is complete.
            has_next = any(number > self._number for number in list_files(self._directory))
            for block in self._blocks(end):
                lines = block.split(b"\n")
                if since is not None or until is not None:
                    lines = [line for line in lines if lower <= line[:_TIME_LENGTH] <= upper]
                yield [entry for line in lines if (entry := parse_line(line)) is not None]
            if not has_next or (end is not None and self._number >= end[0]) or not self._advance():
                return

    def _blocks(self, end: tuple[int, int] | None) -> Iterator[bytes]:
        """Complete lines from the position on, without the last one's end; the position follows as they are taken."""
        while True:
            size = BLOCK
            if end is not None and self._number >= end[0]:
                size = min(size, end[1] - self._offset if self._number == end[0] else 0)
            block = os.pread(self._fd, max(0, size), self._offset)
            length = block.rfind(b"\n") + 1
            if not length:
                return
            self._offset += length
            yield block[: length - 1]


def _find_lines_back(fd: int, end: int, count: int) -> tuple[int, int]:
    """Offset of the ``count``-th last complete line before ``end``, and how many were found."""
    if count == 0:
        last = end
        while last > 0:
            start = max(0, last - BLOCK)
            at = os.pread(fd, last - start, start).rfind(b"\n")
            if at >= 0:
                return start + at + 1, 0
            last = start
        return 0, 0
    found = -1  # the end of the last line is not the beginning of one
    position = end
    while position > 0:
        start = max(0, position - BLOCK)
        block = os.pread(fd, position - start, start)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            found += 1
            if found == count:
                return start + at + 1, count
        position = start
    return 0, found + 1 if end else 0
