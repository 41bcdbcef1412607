"""A memory cgroup in which the kernel's OOM killer can be made to strike, and whom.

``python -m tests.chaos.memory_pressure PID FILE`` takes memory until that process has been killed; the file has what is
used."""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.engine import is_gone, wait_for

ROOT = Path(__file__).resolve().parents[2]
V1 = Path("/sys/fs/cgroup/memory")
LIMIT = 400 << 20
"""Bytes: an engine has room in it, and so have its commands."""
WILLING = 1000
"""For oom_score_adj: who has it is taken first."""


class Pressure:
    """Processes in ``place`` may have :data:`LIMIT` bytes together."""

    def __init__(self) -> None:
        self._above = V1 if V1.is_dir() else Path("/sys/fs/cgroup")
        self.place = self._above / f"test-{uuid.uuid4().hex[:8]}"
        self.place.mkdir()
        self.limit = self.place / ("memory.limit_in_bytes" if V1.is_dir() else "memory.max")
        self.limit.write_text(str(LIMIT))

    def run(self, words: Sequence[str], env: dict[str, str]) -> None:
        """Execute a command in there, and so what it leaves running."""
        subprocess.run(self._inside(words), env=env, check=True, stdin=subprocess.DEVNULL)

    def kill(self, pid: int) -> None:
        """Let the OOM killer kill a process that is in there."""
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(WILLING))
        used = self.place / ("memory.usage_in_bytes" if V1.is_dir() else "memory.current")
        words = [sys.executable, "-m", "tests.chaos.memory_pressure", str(pid), str(used)]
        subprocess.run(
            self._inside(words), cwd=ROOT
        )  # whose end it may be, too, when another takes the place
        assert is_gone(pid)

    def end(self) -> None:
        for pid in (self.place / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (self._above / "cgroup.procs").write_text(pid)
        wait_for(lambda: not (self.place / "cgroup.procs").read_text(), "the cgroup to be empty")
        os.rmdir(self.place)

    def _inside(self, words: Sequence[str]) -> list[str]:
        return ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(self.place), *words]


def _take_until_killed(pid: int, used: Path) -> None:
    """At last page by page: what the killed one has had must not be taken before it is seen that it is gone."""
    pidfd = os.pidfd_open(pid)
    memory = mmap.mmap(-1, 2 * LIMIT)
    taken = 0
    while not select.select([pidfd], [], [], 0)[0]:
        end = taken + (1 << 20 if int(used.read_text()) < LIMIT - (8 << 20) else mmap.PAGESIZE)
        for page in range(taken, end, mmap.PAGESIZE):
            memory[page] = 1
        taken = end


if __name__ == "__main__":
    _take_until_killed(int(sys.argv[1]), Path(sys.argv[2]))
