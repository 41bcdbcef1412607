"""Sysctls: which file a name stands for, and which a container may have: those that a namespace of its own holds."""

from __future__ import annotations

import re
from collections.abc import Mapping

_IPC = ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
        "kernel.shmmni", "kernel.shm_rmid_forced")  # fmt: skip
_UTS = ("kernel.domainname", "kernel.hostname")
_NAME = re.compile(r"[A-Za-z0-9_.:/@-]+")
_SWAP_DOT_AND_SLASH = {ord("."): "/", ord("/"): "."}


def path_of(key: str) -> str:
    """The file below /proc/sys. As in sysctl(8) the first dot or slash tells which of them separates; where that is the
    dot, a slash stands for a dot in a name (``net.ipv4.conf.eth0/1.rp_filter``)."""
    first = next((character for character in key if character in "./"), "")
    return key if first == "/" else key.translate(_SWAP_DOT_AND_SLASH)


def check_sysctls(values: Mapping[str, str], *, has_own_net: bool, has_own_ipc: bool) -> None:
    """Raise InvalidArgument for a sysctl that would change the host or another container."""
    # Late: the forks that become containers carry this module, and never get here.
    from runtime.errors import InvalidArgument

    for key in values:
        parts = path_of(key).split("/")
        if not _NAME.fullmatch(key) or {"", ".", ".."} & set(parts):
            raise InvalidArgument(f"sysctl {key!r} is no valid name")
        name = ".".join(parts)
        if name in _IPC or name.startswith("fs.mqueue."):
            if not has_own_ipc:
                raise InvalidArgument(f"sysctl {key!r} is not allowed in the host's IPC namespace")
        elif parts[0] == "net" and len(parts) > 1:
            if not has_own_net:
                raise InvalidArgument(
                    f"sysctl {key!r} is not allowed in a network namespace that is not the container's own"
                )
        elif name in _UTS:
            raise InvalidArgument(f"sysctl {key!r} is not allowed", hint="use hostname and domainname")
        else:
            raise InvalidArgument(
                f"sysctl {key!r} is not separately namespaced: setting it would change the whole machine",
                hint="allowed are net.*, kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.*",
            )
