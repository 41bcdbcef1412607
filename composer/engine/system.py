"""The engine about itself and its machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio

from composer import __version__
from composer.engine.containers import Containers
from composer.engine.images import Images
from composer.engine.networking.networks import Networks
from composer.engine.task_tree import task_tree
from composer.engine.volumes import Volumes
from composer.engine.waiting import Waiting
from runtime.container.client import KeeperClient
from runtime.container.host_facts import HostFacts
from runtime.storage.files import apparent_size, directory_size
from runtime.storage.paths import Paths


@dataclass
class System:
    """Answers in their final form."""

    containers: Containers
    images: Images
    networks: Networks
    volumes: Volumes
    paths: Paths
    host: HostFacts
    started_at: int
    """Nanoseconds since the epoch, as the clock was then."""
    up_since: float
    """The same moment in seconds of CLOCK_BOOTTIME, which nobody sets."""
    end: Callable[[], None]
    """Make the core end on purpose."""
    keeper: KeeperClient
    warnings: Callable[[], tuple[str, ...]]
    waiting: Waiting

    def info(self) -> dict[str, Any]:
        """Docker's ``/info``, as far as it has a meaning here."""
        states = [c.state.status for c in self.containers.list(all=True)]
        return {
            "ID": str(self.paths.lib),
            "Name": platform.node(),
            "ServerVersion": __version__,
            "Containers": len(states),
            "ContainersRunning": states.count("running"),
            "ContainersPaused": states.count("paused"),
            "ContainersStopped": len(states) - states.count("running") - states.count("paused"),
            "Images": len(list(self.images.list())),
            "Driver": "overlay2",
            "DriverStatus": [["Backing", "overlayfs"]],
            "DockerRootDir": str(self.paths.lib),
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "none"],
                "Authorization": None,
                "Log": ["json-file", "local", "none"],
            },
            "MemoryLimit": True,
            "SwapLimit": True,
            "CpuCfsPeriod": True,
            "CpuCfsQuota": True,
            "CPUShares": True,
            "CPUSet": True,
            "PidsLimit": True,
            "OomKillDisable": self.host.cgroup_version == 1,
            "IPv4Forwarding": True,
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": str(self.host.cgroup_version),
            "LoggingDriver": "json-file",
            "DefaultRuntime": "composer",
            "Runtimes": {"composer": {"path": "composer"}},
            "KernelVersion": platform.release(),
            "OperatingSystem": _operating_system(),
            "OSType": "linux",
            "Architecture": platform.machine(),
            "NCPU": os.cpu_count() or 1,
            "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "SecurityOptions": [
                *(["name=apparmor"] if self.host.has_apparmor else []),
                "name=seccomp,profile=builtin",
            ],
            "SystemTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "Warnings": list(self.warnings()),
            "LiveRestoreEnabled": True,
            "Swarm": {"LocalNodeState": "inactive"},
            "HttpProxy": "",
            "HttpsProxy": "",
            "NoProxy": "",
            "Labels": [],
            "ExperimentalBuild": False,
            "InitBinary": "composer",
            "NFd": len(os.listdir("/proc/self/fd")),
        }

    def version(self) -> dict[str, Any]:
        """Docker's ``/version``."""
        return {
            "Platform": {"Name": "composer"},
            "Version": __version__,
            "Os": "linux",
            "Arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "KernelVersion": platform.release(),
            "Components": [
                {"Name": "Engine", "Version": __version__, "Details": {"Python": platform.python_version()}}
            ],
        }

    async def df(self) -> dict[str, Any]:
        """Bytes by id: containers (their writable layer), volumes, what images share with others; all layers and
        what they came as, and what of that no container needs."""

        def measure() -> dict[str, Any]:
            return {
                "containers": {
                    c.id: apparent_size(self.paths.container(c.id) / "upper") for c in self.containers.all()
                },
                "volumes": {
                    v.name: directory_size(self.volumes.mountpoint(v.name)) for v in self.volumes.list()
                },
            }

        used = set(self.images.used())
        store = self.images.store
        total = store.disk_usage({image.id for image in self.images.list()} | used)
        images = {
            "shared": store.shared_sizes(),
            "layers": total,
            "reclaimable": total - store.disk_usage(used),
        }
        return images | await trio.to_thread.run_sync(measure)

    def status(self) -> dict[str, Any]:
        """What ``composer engine status`` shows."""
        states = [c.state.status for c in self.containers.all()]
        return {
            "Version": __version__,
            "Pid": os.getpid(),
            "KeeperPid": self.keeper.pid,
            "StartedAt": self.started_at,
            "Uptime": time.clock_gettime(time.CLOCK_BOOTTIME) - self.up_since,
            "Root": str(self.paths.lib),
            "Run": str(self.paths.run),
            "Socket": str(self.paths.socket),
            "Log": str(self.paths.engine_log),
            "CgroupVersion": self.host.cgroup_version,
            "Containers": {status: states.count(status) for status in sorted(set(states))},
            "Waiting": self.waiting.tell(self.containers.all()),
            "Warnings": list(self.warnings()),
            "Rss": _resident(),
        }

    def dump(self) -> dict[str, Any]:
        """The whole state, for bug reports."""
        from msgspec import to_builtins

        return {
            "status": self.status(),
            "host": to_builtins(
                {
                    "capabilities": f"{self.host.capabilities:#x}",
                    "kernel": self.host.kernel,
                    "machine": self.host.machine,
                }
            ),
            "containers": [
                {
                    "record": to_builtins(c.record),
                    "state": to_builtins(c.state),
                    "shim": None if c.shim is None else {"pid": c.shim.pid, "shim_pid": c.shim.shim_pid},
                    "waiters": c.waiters,
                }
                for c in self.containers.all()
            ],
            "networks": [to_builtins(n) for n in self.networks.list()],
            "volumes": [to_builtins(v) for v in self.volumes.list()],
            "images": [{"id": i.id, "tags": list(i.tags)} for i in self.images.list()],
            "tasks": task_tree(),
        }

    async def stop(self) -> None:
        """End the engine on purpose. Containers go on, watched by nobody but their shims until the next command."""
        self.end()
        await trio.lowlevel.checkpoint()


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
