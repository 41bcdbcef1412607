"""Commands at a terminal."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import termios
import time
from pathlib import Path

from tests.e2e.engine import PATIENCE, Composer


class Terminal:
    """A command on a pseudo terminal of its own."""

    def __init__(
        self, composer: Composer, *words: str, rows: int = 30, columns: int = 90, cwd: Path | None = None
    ) -> None:
        self.master, slave = os.openpty()
        self.resize(rows, columns)
        self.process = composer.start(
            *words, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, text=False,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self.slave = slave
        self.shown = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def until(self, pattern: bytes) -> re.Match[bytes]:
        """Read on until ``pattern`` is shown."""
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(pattern, self.shown)) is None:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.master], [], [], left)[0], (pattern, self.shown)
            self.shown += os.read(self.master, 65536)
        return found

    def end(self) -> int:
        """The exit status; the terminal has to be as it was before."""
        status = self.process.wait(PATIENCE)
        assert termios.tcgetattr(self.slave)[3] & termios.ECHO, "the terminal is still raw"
        os.close(self.slave)
        os.close(self.master)
        return status
