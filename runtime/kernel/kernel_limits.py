"""Which limit of the kernel's is behind an error number that says something else: ENOSPC of mount(2) is no full disk.

All of these limits belong to the machine or to a user namespace, so what reaches them is mostly not the engine's.
Standard library only, and little of it: every shim carries it.
"""

from __future__ import annotations

import errno
import os

from runtime.kernel import cgroup_tree

NAMESPACES = {
    0x02000000: "cgroup",
    0x08000000: "ipc",
    0x40000000: "net",
    0x00020000: "mnt",
    0x20000000: "pid",
    0x00000080: "time",
    0x10000000: "user",
    0x04000000: "uts",
}
"""By their flag, as in ``user.max_<name>_namespaces``. sched.h, namespaces(7)"""
KEYRINGS = "/proc/key-users"


class LimitReached(OSError):
    """With the number that the kernel gave, the limit instead of its words, and ``hint``: the way out."""

    def __init__(self, number: int, message: str, hint: str) -> None:
        super().__init__(number, message)
        self.hint = hint


def sysctl(name: str) -> int:
    """Its value; 0 when this kernel does not have it, or has more than one value in it."""
    return cgroup_tree.read_number(f"/proc/sys/{name.replace('.', '/')}")


def is_far_from_most_mounts() -> bool:
    """Whether there are not half as many as there may be: not all that count can be seen. False where nothing can."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            return 2 * sum(1 for _ in file) < sysctl("fs.mount-max")
    except OSError:
        return False


def of_mounts(error: OSError, what: str) -> OSError:
    """ENOSPC of what attaches mounts and writes on no disk. mount(2), Linux 4.9"""
    most = sysctl("fs.mount-max")
    if error.errno != errno.ENOSPC or not most:
        return error
    return LimitReached(
        errno.ENOSPC,
        f"{what}: no more mounts: this mount namespace has as many as sysctl fs.mount-max allows, {most}",
        f"This is no full disk. Unmount what is not needed (`findmnt` shows it), or allow more: "
        f"`sysctl -w fs.mount-max={2 * most}`.",
    )


def of_namespaces(error: OSError, kinds: int) -> OSError:
    """ENOSPC of unshare(2) with one of the flags ``kinds``, or with the first that is refused now."""
    name = NAMESPACES.get(kinds)
    if error.errno != errno.ENOSPC or name is None:
        return error
    key = f"user.max_{name}_namespaces"
    most = sysctl(key)
    return LimitReached(
        errno.ENOSPC,
        f"no more {name} namespaces: there are as many as sysctl {key} allows, {most}",
        f"This is no full disk. Allow more: `sysctl -w {key}={max(2 * most, 1000)}`.",
    )


def of_keyrings(error: OSError) -> OSError:
    """EDQUOT of keyctl(2): how many keys a user may have, or how many bytes in them. keyrings(7)"""
    if error.errno != errno.EDQUOT:
        return error
    owner = "root_" if os.geteuid() == 0 else ""
    names = (f"kernel.keys.{owner}maxkeys", f"kernel.keys.{owner}maxbytes")
    key = names[1] if _has_room_for_keys() else names[0]
    most = sysctl(key)
    return LimitReached(
        errno.EDQUOT,
        f"no more keyrings: user {os.geteuid()} has as many as sysctl {key} allows, {most}",
        f"This is no full disk; each container has one. Allow more: `sysctl -w {key}={2 * most}`.",
    )


def _has_room_for_keys() -> bool:
    """Whether it is the bytes that are used up. A line: ``0: 80 79/79 78/1000000 1690/25000000``."""
    for line in cgroup_tree.read(KEYRINGS).splitlines():
        words = line.split()
        if len(words) == 5 and words[0] == f"{os.geteuid()}:":
            used, _, most = words[3].partition("/")
            return int(used) < int(most)
    return False


def of_terminals(error: OSError) -> OSError:
    """ENOSPC of an open of ptmx. pty(7)"""
    if error.errno != errno.ENOSPC:
        return error
    most = sysctl("kernel.pty.max")
    return LimitReached(
        errno.ENOSPC,
        f"no more terminals: there are as many as sysctl kernel.pty.max allows, {most}",
        f"This is no full disk. End what has terminals, do without one (`tty: false`, `-T`), or allow more: "
        f"`sysctl -w kernel.pty.max={max(2 * most, 4096)}`.",
    )


def of_inotify(error: OSError) -> OSError:
    """EMFILE of inotify_init1(2), ENOSPC of inotify_add_watch(2). inotify(7)"""
    if error.errno not in (errno.EMFILE, errno.ENOSPC) or not _has_descriptors():
        return error
    key = "fs.inotify.max_user_" + ("instances" if error.errno == errno.EMFILE else "watches")
    most = sysctl(key)
    return LimitReached(
        error.errno,
        f"no more files can be watched: user {os.geteuid()} has as many as sysctl {key} allows, {most}",
        f"Allow more: `sysctl -w {key}={max(2 * most, 1024)}`.",
    )


def _has_descriptors() -> bool:
    try:
        os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def of_cgroups(error: OSError, directory: str) -> OSError:
    """EAGAIN of mkdir(2) in a cgroup v2 file system. admin-guide/cgroup-v2.rst"""
    if error.errno != errno.EAGAIN:
        return error
    while (directory := os.path.dirname(directory)).startswith("/sys/fs/cgroup/"):
        most = cgroup_tree.read_number(f"{directory}/cgroup.max.descendants")
        if most and cgroup_tree.read_table(f"{directory}/cgroup.stat").get("nr_descendants", 0) >= most:
            return LimitReached(
                errno.EAGAIN,
                f"no more cgroups: {directory} has as many as its cgroup.max.descendants allows, {most}",
                f"Allow more: `echo max > {directory}/cgroup.max.descendants`.",
            )
    return error
