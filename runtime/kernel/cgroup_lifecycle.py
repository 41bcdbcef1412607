"""A container's cgroups from their making to their removal: what its shim and its processes do with the settings that
``runtime.kernel.cgroups.plan`` has decided. Standard library only, and little of it: every shim carries it.
"""

from __future__ import annotations

import base64
import os
import sys
from typing import Any

from runtime.kernel import bpf, cgroup_tree, cgroups_v1, cgroups_v2, forking

Settings = dict[str, Any]
"""``version``; ``directories`` (to be made and joined, in order); ``later`` (v1: those that an update may add);
``controllers`` (v2: those that must be there); ``files`` (``[[[path, text], alternative ...], device, required]`` to
be written, in order); ``program`` (v2: the device filter in base64); ``memory`` and ``freezer`` (the directories with
these controllers, "" when there is none)."""


def create(settings: Settings) -> None:
    """Make the cgroups and write all settings. Raises OSError with the file in it; :func:`remove` undoes a part."""
    # Programs of the container that are not root's look their limits up too (the JVM).
    before = os.umask(0o022)
    try:
        for directory in settings["directories"]:
            if settings["version"] == 2:
                cgroups_v2.make(directory, settings["controllers"])
            else:
                cgroups_v1.make(directory)
    finally:
        os.umask(before)
    for paths, device, required in settings["files"]:
        if notice := cgroup_tree.write_setting(paths, device, required):
            print(f"cgroup: {notice}", file=sys.stderr)
    if settings["program"]:
        bpf.attach_device_filter(settings["directories"][0], base64.b64decode(settings["program"]))


def fork(settings: Settings) -> tuple[int, bool]:
    """os.fork, and whether the child is in the cgroups already; if not, it has to :func:`join` them."""
    if settings["version"] == 2:
        directory = os.open(settings["directories"][0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return forking.fork_into(directory), True
        except OSError:
            # An old kernel, a filter around this engine, or a container that has split its cgroup.
            pass
        finally:
            os.close(directory)
    return os.fork(), False


def join(settings: Settings) -> None:
    """Move the calling process, which has one thread, into the cgroups."""
    if settings["version"] == 2:
        cgroups_v2.join(settings["directories"][0])
    else:
        # A container that an older engine has started has no "later".
        cgroups_v1.join(settings["directories"], settings.get("later", ()))


def files_to_join(settings: Settings) -> list[str]:
    """v1: where a process with one thread writes 0 to :func:`join`."""
    return cgroups_v1.files_to_join(settings["directories"], settings.get("later", ()))


def oom_killed(settings: Settings) -> bool:
    """Whether the OOM killer struck in the container since it was started."""
    memory = settings["memory"]
    if not memory:
        return False
    kills = cgroups_v2.oom_kills(memory) if settings["version"] == 2 else cgroups_v1.oom_kills(memory)
    return kills > 0


def kill(settings: Settings) -> None:
    """SIGKILL for whatever is in the cgroups, paused or not; returns when nothing is left."""
    freezer = settings["freezer"]
    if freezer:
        cgroup_tree.kill(freezer, set_frozen(settings["version"]))
    elif settings["directories"]:
        cgroup_tree.kill(settings["directories"][0])


def remove(settings: Settings) -> None:
    """Remove the cgroups, which must be empty. Raises OSError (EBUSY)."""
    for directory in (*settings["directories"], *settings.get("later", ())):
        cgroup_tree.remove(directory)


def set_frozen(version: int) -> cgroup_tree.SetFrozen:
    """How processes of a cgroup are stopped and continued."""
    return cgroups_v2.set_frozen if version == 2 else cgroups_v1.set_frozen
