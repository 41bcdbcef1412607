"""cgroup v1: a hierarchy a controller (or a few), each with a directory of its own for every container.

A process that writes 0 to ``tasks`` moves itself alone, without the lock over all thread groups of the machine that
writing to ``cgroup.procs`` takes; who joins here has one thread. Source: Documentation/admin-guide/cgroup-v1.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Collection, Sequence

from runtime.kernel import cgroup_tree as tree

ROOT = "/sys/fs/cgroup"
ALWAYS = ("cpu", "cpuacct", "blkio", "memory", "pids", "devices", "freezer")
"""Controllers that every container is in: limits, accounting, pausing."""
FREEZE_SECONDS = 2.0
MOVES = 50
"""How often what a container has started meanwhile is looked for."""


def choose_hierarchies(available: Sequence[str], needed: Collection[str]) -> tuple[str, ...]:
    """Which of the hierarchies (mount points such as ``cpu,cpuacct``) a container is put in.

    cpuset is dear (its two files must be filled before anything can join) and only there when something is limited:
    then programs that size themselves by their cgroup (the JVM) look for it."""
    wanted = {*ALWAYS, *needed, *(("cpuset",) if {"cpu", "memory"} & set(needed) else ())}
    return tuple(name for name in available if wanted & set(name.split(",")))


def hierarchy_of(controller: str, hierarchies: Sequence[str]) -> str | None:
    """The mount point that holds ``controller``."""
    return next((name for name in hierarchies if controller in name.split(",")), None)


def mounted_hierarchies() -> tuple[str, ...]:
    """Mount points of cgroup v1 controllers below /sys/fs/cgroup, in order of their names."""
    found = set()
    for line in tree.read("/proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        where, kind = fields.split()[4], rest.split()[0]
        if kind == "cgroup" and os.path.dirname(where) == ROOT:
            options = rest.split()[-1].split(",")
            name = os.path.basename(where)
            # Only those with controllers: name=systemd and the like are not ours to use.
            if set(name.split(",")) & set(options):
                found.add(name)
    return tuple(sorted(found))


def make(directory: str) -> None:
    """One container's directory of one hierarchy."""
    tree.make_fresh(directory, make_parents)
    if "/cpuset" in directory:
        _fill_cpuset(directory)


def make_parents(directory: str) -> None:
    """The directories between a hierarchy's root and a container's."""
    if os.path.isdir(directory):
        return
    make_parents(os.path.dirname(directory))
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o755)
    if "/cpuset" in directory:
        _fill_cpuset(directory)


def _fill_cpuset(directory: str) -> None:
    """A new cpuset is empty and cannot be joined until it has cpus and memory nodes: take its parent's."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if os.path.exists(f"{directory}/{name}"):
            _inherit(directory, name)


def _inherit(directory: str, name: str) -> str:
    """The setting; where it is empty it becomes the parent's, which may be as new: somebody else has just made it and
    not filled it yet."""
    text = tree.read(f"{directory}/{name}").strip()
    if not text and directory != ROOT:
        text = _inherit(os.path.dirname(directory), name)
        tree.write(f"{directory}/{name}", text)
    return text


def join(directories: Sequence[str], later: Sequence[str] = ()) -> None:
    """Move the calling (single-threaded) process; into those of ``later`` that an update has made by now."""
    for path in files_to_join(directories, later):
        tree.write(path, "0")


def files_to_join(directories: Sequence[str], later: Sequence[str]) -> list[str]:
    """What :func:`join` writes to, in order. Those of ``later`` come after the others: whoever makes one of these
    moves all that is in the others then."""
    return [f"{directory}/tasks" for directory in (*directories, *filter(os.path.isdir, later))]


def extend(directory: str, existing: str) -> None:
    """Make one more cgroup of a running container, whose processes are in ``existing`` too, and move them into it."""
    make_parents(directory)
    for _ in range(MOVES):
        left = set(tree.processes(existing)) - set(tree.processes(directory))
        if not left:
            return
        for pid in left:
            # Gone meanwhile; what it has started is in the next round.
            with contextlib.suppress(ProcessLookupError):
                tree.write(f"{directory}/cgroup.procs", str(pid))
    raise OSError(errno.EBUSY, "processes start faster than they can be moved", directory)


def set_frozen(freezer: str, frozen: bool) -> None:
    """Stop or continue everything in the cgroup, and wait until it is so. Raises TimeoutError when the kernel does not
    get there (a process in an uninterruptible wait); then nothing is frozen."""
    wanted = "FROZEN" if frozen else "THAWED"
    deadline = time.monotonic() + FREEZE_SECONDS
    while True:
        tree.write(f"{freezer}/freezer.state", wanted)
        if tree.read(f"{freezer}/freezer.state").strip() == wanted:
            return
        if time.monotonic() > deadline:
            tree.write(f"{freezer}/freezer.state", "THAWED")
            raise TimeoutError(errno.ETIMEDOUT, "the kernel could not freeze all processes", freezer)
        time.sleep(0.002)


def is_frozen(freezer: str) -> bool:
    return tree.read(f"{freezer}/freezer.state").strip() in ("FROZEN", "FREEZING")


def oom_kills(memory: str) -> int:
    """How often the OOM killer struck in the cgroup."""
    return tree.read_table(f"{memory}/memory.oom_control").get("oom_kill", 0)
