"""cgroup v2: one hierarchy; controllers are switched on from above for the children of a cgroup.

Source: Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Collection

from runtime.kernel import cgroup_tree as tree
from runtime.kernel import kernel_limits

ROOT = "/sys/fs/cgroup"
CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")
"""Those that containers use, as far as they are there."""
FREEZE_SECONDS = 2.0
ENGINE_LEAF = "composer-init"
"""Where processes go that sit in the root of a delegated tree: a cgroup with controllers for its children cannot hold
processes itself (except for the machine's true root)."""


def make(directory: str, needed: Collection[str]) -> None:
    """A container's cgroup below parents that pass the controllers on. Raises OSError naming a controller of ``needed``
    that is not to be had here."""
    try:
        _pass_on(os.path.dirname(directory))
        tree.make_fresh(directory, _pass_on)
    except BlockingIOError as error:
        raise kernel_limits.of_cgroups(error, directory) from None
    there = set(tree.read(f"{directory}/cgroup.controllers").split())
    if lacking := sorted(set(needed) - there):
        tree.remove(directory)
        raise OSError(errno.ENOTSUP, f"cgroup controllers not available here: {', '.join(lacking)}", ROOT)


def _pass_on(directory: str) -> None:
    """Make sure that ``directory`` exists and hands all controllers that it has to its children."""
    if not os.path.isdir(directory):
        _pass_on(os.path.dirname(directory))
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o755)
    elif directory != ROOT and not tree.read(f"{directory}/cgroup.controllers").strip():
        _pass_on(os.path.dirname(directory))
    available = set(tree.read(f"{directory}/cgroup.controllers").split()) & set(CONTROLLERS)
    missing = available - set(tree.read(f"{directory}/cgroup.subtree_control").split())
    if not missing and directory != ROOT and available != set(CONTROLLERS):
        above = set(tree.read(f"{os.path.dirname(directory)}/cgroup.controllers").split())
        if above & set(CONTROLLERS) - available:
            _pass_on(os.path.dirname(directory))
            available = set(tree.read(f"{directory}/cgroup.controllers").split()) & set(CONTROLLERS)
            missing = available - set(tree.read(f"{directory}/cgroup.subtree_control").split())
    for controller in sorted(missing):
        try:
            tree.write(f"{directory}/cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            if error.errno != errno.EBUSY:
                continue  # found out by make(), if it is needed
            _move_processes_down(directory)
            with contextlib.suppress(OSError):
                tree.write(f"{directory}/cgroup.subtree_control", f"+{controller}")


def _move_processes_down(directory: str) -> None:
    leaf = f"{directory}/{ENGINE_LEAF}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(leaf, 0o755)
    for _ in range(5):
        pids = tree.read(f"{directory}/cgroup.procs").split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(OSError):
                tree.write(f"{leaf}/cgroup.procs", pid)


def join(directory: str) -> None:
    """Move the calling process. A container that has split its own cgroup (systemd in it) is joined where its
    processes are."""
    try:
        tree.write(f"{directory}/cgroup.procs", "0")
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EOPNOTSUPP):
            raise
        for cgroup in tree.walk(directory):
            if cgroup != directory and tree.read(f"{cgroup}/cgroup.procs").strip():
                tree.write(f"{cgroup}/cgroup.procs", "0")
                return
        raise


def set_frozen(directory: str, frozen: bool) -> None:
    """As :func:`runtime.kernel.cgroups_v1.set_frozen`."""
    wanted = int(frozen)
    tree.write(f"{directory}/cgroup.freeze", str(wanted))
    deadline = time.monotonic() + FREEZE_SECONDS
    while tree.read_table(f"{directory}/cgroup.events").get("frozen", 0) != wanted:
        if time.monotonic() > deadline:
            tree.write(f"{directory}/cgroup.freeze", "0")
            raise TimeoutError(errno.ETIMEDOUT, "the kernel could not freeze all processes", directory)
        time.sleep(0.001)


def is_frozen(directory: str) -> bool:
    return tree.read(f"{directory}/cgroup.freeze").strip() == "1"


def oom_kills(directory: str) -> int:
    """How often the OOM killer struck in the cgroup or below it."""
    return tree.read_table(f"{directory}/memory.events").get("oom_kill", 0)
