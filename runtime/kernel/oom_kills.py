"""Whether the OOM killer has struck among the engine's own processes, which share a memory cgroup, and which limit it
was. Standard library only."""

from __future__ import annotations

import functools
import os
import time

from runtime.kernel import cgroup_tree

RECENT = 5.0
"""Seconds for which a kill counts as the reason for what ends: several may end by one."""
OF_MEMORY = "the kernel killed it for want of memory (OOM killer)"
UNLIMITED = 1 << 60
"""v1 has a number of bytes near 2^63 for what has no limit."""


class OomWatch:
    """Of the memory cgroup that the calling process is in when it makes this: what it has forked is in there, too."""

    def __init__(self) -> None:
        self._place = _own_cgroup()
        self._seen = self._kills()
        self._noticed = float("-inf")

    def reason(self) -> str:
        """For what has just ended: ``: `` and the words for people; "" when it was nothing of that kind."""
        kills, now = self._kills(), time.monotonic()
        if kills > self._seen:
            self._seen, self._noticed = kills, now
        if now - self._noticed > RECENT:
            return ""
        return f": {OF_MEMORY}: {_limit_of(self._place)}"

    def _kills(self) -> int:
        """memory.events.local, Linux 5.2: those of containers below the cgroup do not count."""
        for name in ("memory.events.local", "memory.oom_control"):
            if table := cgroup_tree.read_table(f"{self._place}/{name}"):
                return table.get("oom_kill", 0)
        return 0


@functools.cache
def watch() -> OomWatch:
    """The calling process's, from its first call on."""
    return OomWatch()


def _own_cgroup() -> str:
    """The directory; "" where there is no memory controller."""
    for line in cgroup_tree.read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        place = ("/sys/fs/cgroup/memory" if controllers else "/sys/fs/cgroup") + path
        if "memory" in controllers.split(",") or os.path.exists(f"{place}/memory.events"):
            return place.rstrip("/")
    return ""


def _limit_of(place: str) -> str:
    """Which limit it was, of the cgroup or of one above it."""
    while place.startswith("/sys/fs/cgroup/"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if 0 < (most := cgroup_tree.read_number(f"{place}/{name}")) < UNLIMITED:
                return f"{name} of {place}, {most} bytes, is reached"
        place = os.path.dirname(place)
    return "the machine has none left"
