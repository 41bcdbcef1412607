"""Device nodes of this machine, as they are made again in a container."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from runtime.errors import InvalidArgument

DeviceNode = tuple[str, str, int, int, int, int, int]
"""(path below /dev or absolute elsewhere, ``c``, ``b`` or ``p``, major, minor, permission bits, uid, gid)"""

_KINDS = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}
_OWN = ("pts", "shm", "fd", "mqueue", "console", "ptmx", ".udev", ".lxd-mounts")
"""In /dev, but made anew for every container."""
MAX_DEPTH = 8


def node_of(path: str, target: str) -> DeviceNode | None:
    """The node at ``path`` (links followed) under the name ``target``; None when it is no device. Raises OSError."""
    state = os.stat(path)
    kind = _KINDS.get(stat.S_IFMT(state.st_mode))
    if kind is None:
        return None
    return (
        target,
        kind,
        os.major(state.st_rdev),
        os.minor(state.st_rdev),
        stat.S_IMODE(state.st_mode),
        state.st_uid,
        state.st_gid,
    )


def nodes_at(source: str, target: str) -> list[DeviceNode]:
    """The device ``source``, or all devices below that directory, as ``target`` (a path below /dev without it, or an
    absolute one elsewhere).

    Raises InvalidArgument when there is none."""
    try:
        if os.path.isdir(source):
            nodes = list(_below(source, target))
        else:
            node = node_of(source, target)
            nodes = [node] if node is not None and node[1] in "cb" else []
    except OSError as error:
        text = f"error gathering device information for {source}: {error.strerror}"
        raise InvalidArgument(text).pointing_at("devices") from None
    if not nodes:
        text = f"error gathering device information for {source}: not a device node"
        raise InvalidArgument(text).pointing_at("devices")
    return nodes


def all_nodes() -> tuple[DeviceNode, ...]:
    """Every device of the host's /dev, for privileged containers."""
    return tuple(_below("/dev", ""))


def _below(source: str, target: str, depth: int = 0) -> Iterator[DeviceNode]:
    """Links are not followed: their targets are found where they are."""
    if depth > MAX_DEPTH:
        return
    try:
        entries = sorted(os.scandir(source), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        name = f"{target}/{entry.name}" if target else entry.name
        try:
            if entry.is_symlink() or (not depth and source == "/dev" and entry.name in _OWN):
                continue
            if entry.is_dir():
                yield from _below(entry.path, name, depth + 1)
            elif (node := node_of(entry.path, name)) is not None and node[1] in "cb":
                yield node
        except OSError:
            continue
