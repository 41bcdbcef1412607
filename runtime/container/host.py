"""What this machine offers to containers, read once when the engine starts; and the devices that a container names."""

from __future__ import annotations

import glob
import os
import posixpath
from collections.abc import Sequence

from runtime.container.checks import check_device
from runtime.container.config import ContainerConfig
from runtime.container.confinement import DEFAULT_APPARMOR
from runtime.container.host_facts import HostFacts
from runtime.container.toolbox import LINKED
from runtime.container.wire import Tools
from runtime.errors import InvalidArgument
from runtime.kernel import apparmor, capabilities, cgroups, devices
from runtime.kernel.devices import DeviceNode


def host_facts(tag: str) -> HostFacts:
    """The facts for an engine whose kernel objects carry ``tag``."""
    name = os.uname()
    major, minor = (int("".join(c for c in part if c.isdigit()) or 0) for part in name.release.split(".")[:2])
    return HostFacts(
        capabilities=capabilities.read_bounding(),
        kernel=(major, minor),
        machine=name.machine,
        cgroup_version=2 if cgroups.version() == 2 else 1,
        cgroup_controllers=cgroups.controllers(),
        cgroup_parent=cgroups.base_of(tag),
        devices=devices.all_nodes(),
        cpus=len(os.sched_getaffinity(0)),
        online_cpus=cgroups.online("cpu"),
        online_nodes=cgroups.online("node"),
        has_time_namespaces=os.path.exists("/proc/self/ns/time_for_children"),
        has_apparmor=apparmor.is_enabled(),
        has_default_apparmor=apparmor.is_enabled() and apparmor.is_loaded(DEFAULT_APPARMOR),
        thermal_throttles=tuple(sorted(glob.glob("/sys/devices/system/cpu/cpu*/thermal_throttle"))),
    )


def device_nodes(config: ContainerConfig) -> tuple[Sequence[DeviceNode], Sequence[str]]:
    """The nodes to be made for ``config.devices``, and the rules that let them be used. Raises InvalidArgument."""
    nodes: list[DeviceNode] = []
    rules: list[str] = []
    for device in config.devices:
        check_device(device)
        found = devices.nodes_at(device.source, _place_of_all(device.source, device.target))
        nodes += found
        rules += [f"{kind} {major}:{minor} {device.permissions}" for _, kind, major, minor, *_ in found]
    return nodes, rules


def _place_of_all(source: str, target: str) -> str:
    """As :func:`place_of`; a directory of devices may have all of /dev for its place (``/dev:/dev``)."""
    if posixpath.normpath(target or source) == "/dev" and os.path.isdir(source):
        return ""
    return place_of(target or source)


def place_of(target: str) -> str:
    """The part of ``target`` behind /dev/, which the engine makes; all of it for a place elsewhere.

    Raises InvalidArgument for a path that is not absolute, or no place of a node."""
    normal = posixpath.normpath(target)
    if not normal.startswith("/") or normal in ("/", "//", "/dev"):
        raise InvalidArgument(f"invalid device target {target!r}", hint="write an absolute path")
    return normal.removeprefix("/dev/")


_USERLAND = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32")
_LOADER_FILES = (("/etc/ld.so.cache", "/etc/ld.so.cache"), ("/etc/ld.so.preload", "/dev/null"))
"""(of a container, what covers it for programs of this machine)"""


def find_tools() -> Tools:
    """This machine's programs, for processes that look into containers. Blocking: some milliseconds."""
    trees, links = ["/usr"], []
    for name in _USERLAND:
        if os.path.islink(f"/{name}"):
            links.append((f"/{name}", os.readlink(f"/{name}")))
        elif os.path.isdir(f"/{name}"):
            trees.append(f"/{name}")
    placed = {f"{tree}/" for tree in trees}
    programs: dict[str, str] = {}
    for directory in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"):
        for entry in os.scandir(directory) if os.path.isdir(directory) else ():
            if entry.name not in programs and entry.is_symlink() and os.readlink(entry).startswith("/etc/"):
                real = os.path.realpath(entry)
                if os.path.isfile(real) and any(real.startswith(tree) for tree in placed):
                    programs[entry.name] = real
    links += [(f"{LINKED}/{name}", real) for name, real in programs.items()]
    covers = [pair for pair in _LOADER_FILES if os.path.exists(pair[1])]
    return Tools(trees=tuple(trees), links=tuple(links), covers=tuple(covers))


def debugging_shell() -> tuple[str, ...]:
    """The best shell of this machine's that is not told how to behave by the container's files."""
    return ("bash", "--norc") if os.path.exists("/usr/bin/bash") or os.path.exists("/bin/bash") else ("sh",)
