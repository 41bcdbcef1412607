"""What this machine offers to containers, read once when the engine starts; and the devices that a container names."""

from __future__ import annotations

import glob
import os
import posixpath
from collections.abc import Sequence

from runtime.container.config import ContainerConfig
from runtime.container.spec import HostFacts
from runtime.errors import InvalidArgument
from runtime.kernel import capabilities, cgroups, devices
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
        thermal_throttles=tuple(sorted(glob.glob("/sys/devices/system/cpu/cpu*/thermal_throttle"))),
    )


def device_nodes(config: ContainerConfig) -> tuple[Sequence[DeviceNode], Sequence[str]]:
    """The nodes to be made for ``config.devices``, and the rules that let them be used. Raises InvalidArgument."""
    nodes: list[DeviceNode] = []
    rules: list[str] = []
    for device in config.devices:
        if not device.permissions or set(device.permissions) - set("rwm"):
            raise InvalidArgument(
                f"invalid device permissions {device.permissions!r}", hint="write some of r, w and m"
            )
        found = devices.nodes_at(device.source, place_of(device.target or device.source))
        nodes += found
        rules += [f"{kind} {major}:{minor} {device.permissions}" for _, kind, major, minor, *_ in found]
    return nodes, rules


def place_of(target: str) -> str:
    """The part of ``target`` behind /dev/, which the engine makes; all of it for a place elsewhere.

    Raises InvalidArgument for a path that is not absolute, or no place of a node."""
    normal = posixpath.normpath(target)
    if not normal.startswith("/") or normal in ("/", "//", "/dev"):
        raise InvalidArgument(f"invalid device target {target!r}", hint="write an absolute path")
    return normal.removeprefix("/dev/")
