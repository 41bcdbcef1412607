"""Namespaces of processes: their names, their flags, entering those of another process. namespaces(7)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from runtime.kernel import syscalls

FLAGS = {
    "mnt": syscalls.CLONE_NEWNS,
    "net": syscalls.CLONE_NEWNET,
    "uts": syscalls.CLONE_NEWUTS,
    "ipc": syscalls.CLONE_NEWIPC,
    "pid": syscalls.CLONE_NEWPID,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}
"""By the name of the file in ``/proc/<pid>/ns``."""


def to_enter(wanted: Mapping[str, object]) -> int:
    """Which namespaces, but for the one of pids, whoever joins a container enters: the flags for setns(2). ``wanted``
    is the container's ``Namespaces``."""
    kinds = syscalls.CLONE_NEWNS
    for kind in ("net", "ipc", "uts", "cgroup"):
        if wanted[kind] != "host":
            kinds |= FLAGS[kind]
    return kinds


def open_namespace(pid: int | str, kind: str) -> int:
    """A descriptor of the namespace ``kind`` that process ``pid`` (or ``"self"``) is in."""
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def start_time(pid: int) -> int:
    """Clock ticks from boot to the start of ``pid``: with the boot id, what tells a process from a later one that
    got its number. proc_pid_stat(5), field 22. Raises FileNotFoundError or ProcessLookupError when it is gone."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def boot_id() -> str:
    """The kernel's random identifier of this boot. random(4)."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def bear_children_in(pid_namespace: str | int) -> None:
    """Have whatever is forked from here on be in another pid namespace: that of a process, or a ``new`` one; any other
    word leaves it as it is."""
    if pid_namespace == "new":
        syscalls.unshare(syscalls.CLONE_NEWPID)
    elif isinstance(pid_namespace, int):
        fd = open_namespace(pid_namespace, "pid")
        syscalls.setns(fd, syscalls.CLONE_NEWPID)
        os.close(fd)
