"""What this machine and this engine are like, as far as containers depend on it. A value: it is read by
``runtime.container.host``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Read once; see the module."""

    capabilities: int
    """The engine's own bounding set: nothing beyond it can be given."""
    kernel: tuple[int, int]
    machine: str
    """``x86_64`` or ``aarch64``."""
    cgroup_version: Literal[1, 2]
    cgroup_controllers: tuple[str, ...] = ()
    """cgroup v1: mount points below /sys/fs/cgroup; v2: controllers that are there."""
    cgroup_parent: str = "composer"
    """Where containers' cgroups are, without the leading slash."""
    devices: tuple[tuple[str, str, int, int, int, int, int], ...] = ()
    """All device nodes of the host, for privileged containers."""
    has_time_namespaces: bool = False
    has_apparmor: bool = False
    has_default_apparmor: bool = False
    """Somebody (Docker, say) has loaded the profile docker-default."""
    thermal_throttles: tuple[str, ...] = ()
    """/sys/devices/system/cpu/cpu*/thermal_throttle."""
    cpus: int = 0
    """Processors that the engine may run on; 0: unknown."""
    online_cpus: str = ""
    """Their numbers, ``0-3``, and those of the memory nodes; "" is unknown."""
    online_nodes: str = ""
