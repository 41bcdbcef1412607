"""Which sysctls a container may have of its own: those that a namespace of its own holds."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.errors import InvalidArgument

_IPC = ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
        "kernel.shmmni", "kernel.shm_rmid_forced")  # fmt: skip
_UTS = ("kernel.domainname", "kernel.hostname")


def check_sysctls(values: Mapping[str, str], *, has_own_net: bool, has_own_ipc: bool) -> None:
    """Raise InvalidArgument for a sysctl that would change the host (sysctl(8) names, dots or slashes)."""
    for key in values:
        name = key.replace("/", ".") if "/" in key.split(".", 1)[0] else key
        if ".." in name or not name.isascii() or any(c.isspace() for c in name):
            raise InvalidArgument(f"sysctl {key!r} is no valid name")
        if name in _IPC or name.startswith("fs.mqueue."):
            if not has_own_ipc:
                raise InvalidArgument(f"sysctl {key!r} is not allowed in the host's IPC namespace")
        elif name.startswith("net."):
            if not has_own_net:
                raise InvalidArgument(f"sysctl {key!r} is not allowed in the host's network namespace")
        elif name in _UTS:
            raise InvalidArgument(f"sysctl {key!r} is not allowed", hint="use hostname and domainname")
        else:
            raise InvalidArgument(
                f"sysctl {key!r} is not separately namespaced: setting it would change the whole machine",
                hint="allowed are net.*, kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.*",
            )
