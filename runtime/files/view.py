"""A container's files as seen from outside: a descriptor of its root, below which everything is resolved.

A running container's root is reached through its first process, mounts included. One that does not run has none: its
layers and volumes are mounted for the time of the look, in a mount namespace of a thread that ends with it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from runtime.container.upper import make_like
from runtime.errors import Conflict
from runtime.kernel import mounts, syscalls

T = TypeVar("T")
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Layers:
    """What the root of a container that does not run is made of."""

    layers: tuple[str, ...]
    """Host directories of the image, topmost first, and the one with the mount points."""
    upper: str
    work: str
    volumes: tuple[tuple[str, str, bool], ...] = ()
    """Host path, target and whether it may be written; without those that the look is not about."""


def look_at_process(pid: int, cgroup: str, look: Callable[[int], T]) -> T:
    """Call ``look`` with the root of a running process, which is in a control group whose path has ``cgroup``.

    Blocking. Raises Conflict when it does not run any more."""
    try:
        root = os.open(f"/proc/{pid}/root", _DIRECTORY)
    except OSError:
        raise Conflict("the container has just ended; try again") from None
    try:
        if not _is_in(pid, cgroup):
            raise Conflict("the container has just ended; try again")
        return look(root)
    finally:
        os.close(root)


def look_at_layers(layers: Layers, look: Callable[[int], T], *, is_writable: bool) -> T:
    """Call ``look`` with the root that ``layers`` make, in a thread of its own. Blocking."""
    found: list[T] = []
    failed: list[BaseException] = []

    def apart() -> None:
        try:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount(None, b"/", None, syscalls.MS_PRIVATE | syscalls.MS_REC)
            with _mounted(layers, is_writable) as root:
                found.append(look(root))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=apart, name="look")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


@contextlib.contextmanager
def _mounted(parts: Layers, is_writable: bool) -> Iterator[int]:
    with contextlib.ExitStack() as opened:

        def directory(path: str) -> int:
            fd = os.open(path, _DIRECTORY)
            opened.callback(os.close, fd)
            return fd

        target = os.path.dirname(parts.upper)
        if is_writable:
            layers = [directory(path) for path in parts.layers]
            os.makedirs(target, mode=0o700, exist_ok=True)
            for path in (parts.upper, parts.work):
                if not os.path.isdir(path):
                    make_like(path, layers[0])
            mounts.overlay(layers, directory(parts.upper), directory(parts.work), os.fsencode(target))
        else:
            upper = [parts.upper] if os.path.isdir(parts.upper) else []
            target = target if os.path.isdir(target) else "/mnt"
            mounts.overlay([directory(p) for p in (*upper, *parts.layers)], None, None, os.fsencode(target))
        root = directory(target)
        for source, where, may_write in parts.volumes:
            _attach(root, source, where, is_read_only=not (may_write and is_writable))
        yield root


def _attach(root: int, source: str, where: str, *, is_read_only: bool) -> None:
    """Mount a volume; one without a place to mount it on has never been there."""
    try:
        point = mounts.open_in_root(root, where, os.O_PATH)
    except OSError:
        return
    try:
        tree = mounts.clone_tree(os.fsencode(source))
        try:
            if is_read_only:
                mounts.make_read_only(tree)
            syscalls.move_mount(tree, point, where)
        finally:
            os.close(tree)
    except FileNotFoundError:
        return
    finally:
        os.close(point)


def _is_in(pid: int, cgroup: str) -> bool:
    """Whether the process, whose number may be another's by now, is in the control group. cgroups(7)"""
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            return cgroup in file.read()
    except OSError:
        return False
