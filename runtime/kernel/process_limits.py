"""Which limit keeps a process from having another one: fork(2) says EAGAIN for all of them. Standard library only."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator

from runtime.kernel import cgroup_tree

RESERVED_PIDS = 300
"""Numbers that are given once, to the first processes of a machine, and not again. kernel/pid.c"""


def reached_limit(own: Iterable[str] = ()) -> str:
    """The limit that is reached now, as a part of a sentence for people; "" where none can be told. ``own`` are
    cgroups of the container that the process was to be in, whose limit is called by its name."""
    for directory in own:
        if limit := _full(directory):
            return f"the container's limit of {limit} processes (pids_limit) is reached"
    for directory in _own_cgroups():
        if limit := _full(directory):
            return f"pids.max of {directory}, {limit}, is reached"
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if os.geteuid() != 0 and soft != resource.RLIM_INFINITY:
        return f"`ulimit -u` of the engine is {soft}"
    for name, reserved in (("threads-max", 1), ("pid_max", RESERVED_PIDS + 1)):
        limit = cgroup_tree.read_number(f"/proc/sys/kernel/{name}")
        if limit and _threads() >= limit - reserved:
            return f"sysctl kernel.{name}, {limit}, is reached"
    return ""


def _full(directory: str) -> int:
    """The limit of a cgroup that has as many processes as it may have; 0 for all others."""
    limit = cgroup_tree.read_number(f"{directory}/pids.max")
    return limit if limit and cgroup_tree.read_number(f"{directory}/pids.current") >= limit else 0


def _own_cgroups() -> Iterator[str]:
    """The directories of the calling process's cgroup with a limit of processes, and of those above it."""
    for line in cgroup_tree.read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "pids"):
            continue
        root = "/sys/fs/cgroup/pids" if controllers else "/sys/fs/cgroup"
        while path != "/":
            yield root + path
            path = os.path.dirname(path)


def _threads() -> int:
    try:
        return int(cgroup_tree.read("/proc/loadavg").split()[3].partition("/")[2])
    except (IndexError, ValueError):
        return 0
