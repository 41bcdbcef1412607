"""Control groups of containers, the same for cgroup v1 (and hybrid) and v2.

A container's cgroups are planned as plain JSON (:func:`plan`, pure, in the core), made and joined by the shim and its
children (``runtime.kernel.cgroup_lifecycle``), and looked after by the engine with :class:`Cgroups`, which finds them
by the container's id. They are named ``<root>/<controller>/composer[-<tag>]/[<parent>/]<id>``, on v2 without the
controller.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Literal

from runtime.errors import InvalidArgument
from runtime.kernel import cgroup_files, cgroup_tree, cgroups_v1, cgroups_v2, device_filter
from runtime.kernel.cgroup_files import Limits
from runtime.kernel.cgroup_lifecycle import Settings, set_frozen
from runtime.kernel.cgroup_reading import Reading, read_v1, read_v2

ROOT = "/sys/fs/cgroup"
_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]*")
_ID = re.compile(r"[0-9a-f]{64}")


def version() -> int:
    """1 (also hybrid: the controllers are in hierarchies of v1) or 2."""
    return 2 if os.path.exists(f"{ROOT}/cgroup.controllers") else 1


def controllers() -> tuple[str, ...]:
    """v1: mount points below /sys/fs/cgroup (``cpu,cpuacct``); v2: controllers in the root."""
    if version() == 1:
        return cgroups_v1.mounted_hierarchies()
    return tuple(cgroup_tree.read(f"{ROOT}/cgroup.controllers").split())


def base_of(tag: str) -> str:
    """The name of the engine's own cgroup, in which all containers' are."""
    return f"composer-{tag}" if tag else "composer"


def confine_path(parent: str) -> str:
    """``cgroup_parent`` as a path below the engine's own cgroup: no way out of it, nothing taken for a container's.

    Raises InvalidArgument."""
    parts = [part for part in parent.split("/") if part not in ("", ".")]
    for part in parts:
        if not _COMPONENT.fullmatch(part) or len(part) > 255 or _ID.fullmatch(part):
            raise InvalidArgument(
                f"invalid cgroup_parent {parent!r}",
                hint="write names of letters, digits and _.:@- separated by slashes; it is made below the engine's own",
            )
    if not parts:
        raise InvalidArgument(f"invalid cgroup_parent {parent!r}: it names no cgroup")
    return "/".join(parts)


def hierarchies_for(limits: Limits, version: int, available: Sequence[str]) -> tuple[str, ...]:
    """v1: the hierarchies that a container with ``limits`` is put in; v2: nothing."""
    if version == 2:
        return ()
    return cgroups_v1.choose_hierarchies(available, cgroup_files.needed_controllers(limits))


def plan(
    path: str,
    limits: Limits,
    device_rules: Sequence[device_filter.Rule] | None,
    *,
    version: int,
    available: Sequence[str],
) -> Settings:
    """What is to be made for a container whose cgroup is ``path`` (below the root); ``device_rules`` None allows every
    device. Pure. Raises InvalidArgument, also for a limit whose controller this machine lacks."""
    needed = cgroup_files.needed_controllers(limits)
    if version == 2:
        own = f"{ROOT}/{path}"
        needed = frozenset("io" if name == "blkio" else name for name in needed)
        if lacking := sorted(needed - set(available)):
            raise InvalidArgument(_lacking(lacking))
        directory_of = dict.fromkeys((*cgroups_v2.CONTROLLERS, "freezer"), own)
        later: list[str] = []
        program = b"" if device_rules is None else device_filter.compile_program(device_rules)
        files: list[Any] = []
    else:
        hierarchies = hierarchies_for(limits, version, available)
        directory_of = {
            name: f"{ROOT}/{hierarchy}/{path}" for hierarchy in hierarchies for name in hierarchy.split(",")
        }
        if lacking := sorted(needed - set(directory_of)):
            raise InvalidArgument(_lacking(lacking))
        addable = cgroups_v1.hierarchy_of("cpuset", available)
        later = [f"{ROOT}/{addable}/{path}"] if addable and addable not in hierarchies else []
        program = b""
        files = []
        if device_rules is not None and "devices" in directory_of:
            written = [("devices.deny", "a"), ("devices.allow", "\n".join(map(str, device_rules)))]
            files = [
                [[[f"{directory_of['devices']}/{name}", text]], "", True] for name, text in written if text
            ]
    for setting in cgroup_files.settings(limits, version):
        directory = directory_of[setting.controller]
        paths = [[f"{directory}/{name}", text] for name, text in setting.files]
        files.append([paths, setting.device, setting.required])
    return {
        "version": version,
        "directories": list(dict.fromkeys(directory_of.values())),
        "later": later,
        "controllers": sorted(needed) if version == 2 else [],
        "files": files,
        "program": base64.b64encode(program).decode("ascii"),
        "memory": directory_of.get("memory", ""),
        "freezer": directory_of.get("freezer", ""),
    }


def _lacking(controllers: Iterable[str]) -> str:
    return f"this machine has no cgroup controller for this limit: {', '.join(controllers)}"


def online(kind: Literal["cpu", "node"]) -> str:
    """Numbers of the processors or memory nodes that there are, ``0-3,8``; "" where the kernel does not say."""
    try:
        with open(f"/sys/devices/system/{kind}/online", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


class Cgroups:
    """All cgroups of one engine, found by container id; nothing is remembered, the kernel is asked."""

    def __init__(self, tag: str) -> None:
        self.version = version()
        self.base = base_of(tag)
        self._hierarchies = controllers() if self.version == 1 else ()

    def _roots(self) -> Iterator[str]:
        """The engine's own cgroup in each hierarchy."""
        if self.version == 2:
            yield f"{ROOT}/{self.base}"
        else:
            for hierarchy in self._hierarchies:
                yield f"{ROOT}/{hierarchy}/{self.base}"

    def _find(self, container_id: str) -> dict[str, str]:
        """The container's directories by hierarchy's root; empty when it has none."""
        roots = list(self._roots())
        found = _existing(roots, container_id)
        if found or not roots:
            return found
        # cgroup_parent: somewhere below, at the same place in every hierarchy. The last one is also removed last.
        for path in _container_cgroups(roots[-1], is_nested=True):
            if os.path.basename(path) == container_id:
                return _existing(roots, os.path.relpath(path, roots[-1]))
        return {}

    def _directory(self, container_id: str, controller: str) -> str:
        """The container's directory with ``controller``. Raises FileNotFoundError."""
        if self.version == 2:
            found = self._find(container_id)
            if found:
                return next(iter(found.values()))
        elif hierarchy := cgroups_v1.hierarchy_of(controller, self._hierarchies):
            root = f"{ROOT}/{hierarchy}/{self.base}"
            directory = f"{root}/{container_id}"
            if os.path.isdir(directory):
                return directory
            if directory := self._find(container_id).get(root, ""):
                return directory
        raise FileNotFoundError(2, f"no {controller} cgroup", container_id)

    def pids(self, container_id: str) -> list[int]:
        """Processes of the container, execs included; empty when it does not run."""
        for directory in self._find(container_id).values():
            return cgroup_tree.processes(directory)
        return []

    def kill(self, container_id: str) -> None:
        """SIGKILL for every process of the container, paused or not; waits until they are gone."""
        with contextlib.suppress(FileNotFoundError):
            cgroup_tree.kill(self._directory(container_id, "freezer"), set_frozen(self.version))
            return
        for directory in self._find(container_id).values():
            cgroup_tree.kill(directory)

    def remove(self, container_id: str) -> None:
        """Kill what is left in the container's cgroups and remove them, with the engine's own when it was the last.

        Raises OSError when something cannot die."""
        found = self._find(container_id)
        if found:
            self.kill(container_id)
        for root, directory in found.items():
            cgroup_tree.remove(directory)
            while (directory := os.path.dirname(directory)) != root:
                if cgroup_tree.has_children(directory):
                    break
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
        roots = list(self._roots())
        if any(map(cgroup_tree.has_children, roots[:1])):
            return
        for root in roots:
            # Refused when there are others in it after all; a start that comes right now makes it again.
            with contextlib.suppress(OSError):
                os.rmdir(root)

    def sweep(self, ids: Collection[str]) -> list[str]:
        """Remove the cgroups of containers that are not among ``ids``, and parents that have become empty; returns the
        ids of what was removed."""
        orphans = set()
        for root in self._roots():
            for path in _container_cgroups(root):
                if os.path.basename(path) not in ids:
                    orphans.add(os.path.basename(path))
        for container_id in sorted(orphans):
            with contextlib.suppress(OSError):
                self.remove(container_id)
        for root in self._roots():
            for directory in cgroup_tree.walk(root):
                if not _ID.fullmatch(os.path.basename(directory)) and not _is_inside_container(directory):
                    with contextlib.suppress(OSError):
                        os.rmdir(directory)
        return sorted(orphans)

    def read_stats(self, container_id: str) -> Reading | None:
        """The counters, or None when the container has no cgroup (any more)."""
        found = self._find(container_id)
        if not found:
            return None
        if self.version == 2:
            return read_v2(next(iter(found.values())))
        by_controller = {}
        for root, directory in found.items():
            for name in os.path.basename(os.path.dirname(root)).split(","):
                by_controller[name] = directory
        return read_v1(by_controller)

    def update(self, container_id: str, limits: Limits) -> None:
        """Change the limits of a running container; what ``limits`` leaves out stays as it is.

        Raises InvalidArgument, also when the kernel refuses (a memory limit below what is in use)."""
        cgroup_files.check_available(limits, len(os.sched_getaffinity(0)), online("cpu"), online("node"))
        pending = []
        for setting in cgroup_files.settings(limits, self.version, lifts=True):
            try:
                directory = self._directory_to_limit(container_id, setting.controller)
            except FileNotFoundError:
                raise InvalidArgument(
                    f"{setting.controller} limits cannot be changed while this container runs: it was started without",
                    hint="recreate it",
                ) from None
            paths = [[f"{directory}/{name}", text] for name, text in setting.files]
            pending.append((paths, setting))
        # Memory and memory with swap bound each other: which goes first depends on whether they grow or shrink.
        refused: OSError | None = None
        for _ in range(2):
            left = []
            for paths, setting in pending:
                try:
                    cgroup_tree.write_setting(paths, setting.device, setting.required)
                except OSError as error:
                    refused = error
                    left.append((paths, setting))
            pending = left
            if not pending:
                return
        assert refused is not None
        raise InvalidArgument(
            f"the kernel refuses this limit: {refused.filename}: {refused.strerror}"
        ) from None

    def _directory_to_limit(self, container_id: str, controller: str) -> str:
        """As :meth:`_directory`; a cpuset that the container was started without is made (v1)."""
        with contextlib.suppress(FileNotFoundError):
            return self._directory(container_id, controller)
        hierarchy = cgroups_v1.hierarchy_of(controller, self._hierarchies)
        root, existing = next(iter(self._find(container_id).items()), ("", ""))
        if controller != "cpuset" or not hierarchy or not existing:
            raise FileNotFoundError(2, f"no {controller} cgroup", container_id)
        directory = f"{ROOT}/{hierarchy}/{self.base}/{os.path.relpath(existing, root)}"
        cgroups_v1.extend(directory, existing)
        return directory

    def freeze(self, container_id: str) -> None:
        """Stop every process of the container. Raises TimeoutError, FileNotFoundError."""
        set_frozen(self.version)(self._directory(container_id, "freezer"), True)

    def thaw(self, container_id: str) -> None:
        """Let them go on; nothing happens when they do."""
        set_frozen(self.version)(self._directory(container_id, "freezer"), False)

    def is_frozen(self, container_id: str) -> bool:
        """False also when the container does not run."""
        try:
            directory = self._directory(container_id, "freezer")
        except FileNotFoundError:
            return False
        return cgroups_v2.is_frozen(directory) if self.version == 2 else cgroups_v1.is_frozen(directory)


def _existing(roots: Iterable[str], relative: str) -> dict[str, str]:
    """By root: the directory ``relative`` below it, where there is one."""
    return {root: f"{root}/{relative}" for root in roots if os.path.isdir(f"{root}/{relative}")}


def _container_cgroups(root: str, *, is_nested: bool = False) -> Iterator[str]:
    """The containers' cgroups below the engine's own; ``is_nested``: those below a ``cgroup_parent`` only."""
    for name in cgroup_tree.children(root):
        path = f"{root}/{name}"
        if not _ID.fullmatch(name):
            yield from _container_cgroups(path)
        elif not is_nested:
            yield path


def _is_inside_container(directory: str) -> bool:
    return any(_ID.fullmatch(part) for part in directory.split("/"))
