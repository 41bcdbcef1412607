"""The engine's own log: lines on standard error, which the keeper made a file, and which does not grow for ever.

All of the engine's processes append to it. So it is not renamed when it is full but copied and emptied: who has it open
goes on at its new end.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import sys
import time
from typing import TextIO

LIMIT = 8 << 20
"""Bytes from which on the log becomes the old one, of which there is one."""


class _Formatter(logging.Formatter):
    """Times in UTC with milliseconds; the module's last name; tracebacks only where something is wrong in the code."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")


class Bounded(logging.StreamHandler[TextIO]):
    """Writes to ``stream``; what is in a file that has grown beyond ``limit`` goes to ``<file>.old``."""

    def __init__(self, stream: TextIO, limit: int = LIMIT) -> None:
        super().__init__(stream)
        self.setFormatter(_Formatter())
        self._limit = limit

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        try:
            descriptor = self.stream.fileno()
            found = os.fstat(descriptor)
            if found.st_size > self._limit and stat.S_ISREG(found.st_mode):
                self._begin_anew(descriptor)
        except (OSError, ValueError):
            self._limit *= 2  # a full disk is not tried with each line

    def _begin_anew(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        shutil.copyfile(path, f"{path}.new")
        os.chmod(f"{path}.new", 0o600)
        os.replace(f"{path}.new", f"{path}.old")
        os.truncate(path, 0)


def set_up_logging() -> None:
    """To standard error; COMPOSER_LOG names the level (INFO)."""
    level = logging.getLevelName(os.environ.get("COMPOSER_LOG", "INFO").upper())
    logging.basicConfig(
        handlers=[Bounded(sys.stderr)], level=level if isinstance(level, int) else logging.INFO
    )
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
