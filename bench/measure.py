"""Timing commands, and reading what processes cost."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
"""Of what is measured: an interpreter as users have it, one that keeps compiled modules among others."""


@dataclass(frozen=True)
class Tool:
    """One of the two that are compared: how its commands begin, and their environment."""

    name: str
    compose: tuple[str, ...]
    """Before ``up``, ``down``, ``ps`` ..."""
    container: tuple[str, ...]
    """Before ``run`` and the like."""
    environment: Mapping[str, str]

    def call(self, prefix: Sequence[str], *words: str, cwd: Path | None = None) -> float:
        """Run a command to its end; seconds. Raises RuntimeError with what it said when it fails."""
        begun = time.perf_counter()
        done = subprocess.run(
            [*prefix, *words],
            cwd=cwd,
            env={**ENVIRONMENT, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        took = time.perf_counter() - begun
        if done.returncode:
            said = done.stdout.decode(errors="replace")[-2000:]
            raise RuntimeError(
                f"{self.name}: {' '.join([*prefix, *words])} ended with {done.returncode}:\n{said}"
            )
        return took


def median_of(runs: int, action: Callable[[], float]) -> float:
    """The median of ``runs`` measurements (seconds)."""
    return statistics.median(action() for _ in range(runs))


def proportional_bytes(pid: int) -> int:
    """PSS of a process: its memory, with shared pages divided among those that share them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def processes(is_wanted: Callable[[str], bool], variable: str = "") -> list[int]:
    """Ids of the processes whose name and command line (words joined by spaces) are wanted, and which were started
    with the environment variable (``NAME=text``): there may be other engines on the machine."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            name = (entry / "comm").read_text(encoding="utf-8", errors="replace").strip()
            environment = (entry / "environ").read_bytes().split(b"\0") if variable else []
        except OSError:
            continue
        if is_wanted(f"{name} {line}") and (not variable or variable.encode() in environment):
            found.append(int(entry.name))
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """What processes and those of their children that they have waited for have used, in hundredths of a second
    (proc_pid_stat(5), fields 14 to 17); one that is gone counts nothing."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        ticks += sum(map(int, fields.rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def context_switches(pids: Sequence[int]) -> dict[str, int]:
    """Voluntary context switches of each thread so far: how often it woke up."""
    found: dict[str, int] = {}
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            for line in status.read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    found[status.parent.name] = int(line.split()[1])
    return found


def wake_ups(before: dict[str, int], after: dict[str, int]) -> int:
    """Of the threads that there are ``after``."""
    return sum(count - before.get(thread, 0) for thread, count in after.items())
