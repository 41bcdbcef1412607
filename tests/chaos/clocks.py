"""Clocks that jump, for an engine and its commands alone: a library of a page is preloaded into them (``clock.c``).

Nobody's clock is set. Containers do not see it, and the kernel's own times (of files) stay what they are. Debian's
libfaketime cannot be had for this: it breaks clock_nanosleep(2) to a moment, which is how Python sleeps."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from composer.program import core_argv
from runtime.container import keeper
from runtime.container.bootstrap import keeper_argv
from tests.e2e.engine import Composer

SOURCE = Path(__file__).with_name("clock.c")
SECOND = 1_000_000_000
DAY = 86400.0


@dataclass
class Clock:
    """How far the clocks are from the machine's."""

    page: mmap.mmap
    wall: float = 0.0
    boot: float = 0.0

    def set(self, by: float) -> None:
        """As ``date -s``: the time of day, so many seconds from where it is."""
        self._shift(by, 0.0)

    def sleep(self, seconds: float) -> None:
        """As a suspended machine: it is later, and CLOCK_MONOTONIC knows nothing of it."""
        self._shift(seconds, seconds)

    def _shift(self, wall: float, boot: float) -> None:
        self.wall += wall
        self.boot += boot
        self.page[:16] = struct.pack("=qq", int(self.wall * SECOND), int(self.boot * SECOND))


def compile_clock(directory: Path) -> Path:
    """The library that is preloaded."""
    compiler = next(name for name in ("cc", "gcc", "tcc") if shutil.which(name))
    library = directory / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-nostdlib", "-o", library, SOURCE], check=True)
    return library


def make_clock(composer: Composer, library: Path, directory: Path) -> Clock:
    """For the commands of ``composer`` from now on, and the engine that :func:`start_engine` starts."""
    path = directory / "clock"
    path.write_bytes(bytes(mmap.PAGESIZE))
    with open(path, "r+b") as file:
        page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
    composer.environment |= {"LD_PRELOAD": str(library), "COMPOSER_TEST_CLOCK": str(path)}
    return Clock(page)


def start_engine(composer: Composer) -> None:
    """As the first command does, which would keep nothing of LD_PRELOAD."""
    composer.paths.lib.mkdir(mode=0o711, parents=True, exist_ok=True)
    reader, writer = os.pipe()
    argv = keeper_argv(composer.paths, core_argv())
    with open(reader, "rb") as told, open(composer.paths.engine_log, "ab") as log:
        try:
            subprocess.Popen(
                argv,
                env={**composer.env, keeper.NOTIFY_ENVIRONMENT: str(writer)},
                pass_fds=[writer],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            ).returncode = 0  # the engine is nobody's child
        finally:
            os.close(writer)
        assert told.read() == keeper.READY, composer.paths.engine_log.read_text()
    for name in ("composer-keeper", "composer-core"):
        (pid,) = composer.processes(name)
        assert "clock.so" in Path(f"/proc/{pid}/maps").read_text(), f"{name} has the machine's clock"
