"""What a container may have of its host, in Docker's JSON: ``HostConfig`` of ``inspect``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from composer.api.container_network_json import network_mode
from runtime.container.config import (
    ContainerConfig,
    Mount,
    Resources,
)

DEFAULT_SHM_SIZE = 64 << 20
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def _capabilities(names: Sequence[str]) -> list[str] | None:
    """By their full names, as Docker shows them."""
    upper = (name.upper() for name in names)
    return [name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in upper] or None


def host_config(config: ContainerConfig) -> dict[str, Any]:
    """``HostConfig``; with :func:`container_create.container_config` a round trip."""
    systempaths = "systempaths=unconfined" not in config.security_opt and not config.privileged
    fields: dict[str, Any] = {
        "Binds": [_bind_text(mount) for mount in config.mounts if _is_bind(mount)] or None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": config.log.driver, "Config": config.log.options},
        "NetworkMode": network_mode(config),
        "PortBindings": _port_bindings(config),
        "RestartPolicy": {
            "Name": config.restart.name,
            "MaximumRetryCount": config.restart.maximum_retry_count,
        },
        "AutoRemove": config.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": list(config.volumes_from) or None,
        "ConsoleSize": list(config.console_size),
        "CapAdd": _capabilities(config.cap_add),
        "CapDrop": _capabilities(config.cap_drop),
        "CgroupnsMode": config.cgroupns_mode or "private",
        "Dns": list(config.dns),
        "DnsOptions": list(config.dns_opt),
        "DnsSearch": list(config.dns_search),
        "ExtraHosts": [entry.replace("=", ":", 1) for entry in config.extra_hosts] or None,
        "GroupAdd": list(config.group_add) or None,
        "IpcMode": config.ipc_mode or "private",
        "Cgroup": "",
        "Links": list(config.links) or None,
        "OomScoreAdj": config.oom_score_adj,
        "PidMode": config.pid_mode,
        "Privileged": config.privileged,
        "PublishAllPorts": config.publish_all,
        "ReadonlyRootfs": config.read_only,
        "SecurityOpt": [o for o in config.security_opt if o != "systempaths=unconfined"] or None,
        "UTSMode": config.uts_mode,
        "UsernsMode": config.userns_mode,
        "ShmSize": config.shm_size or DEFAULT_SHM_SIZE,
        "Runtime": "composer",
        "Isolation": "",
        "Init": config.init or None,
        "Devices": [
            {"PathOnHost": d.source, "PathInContainer": d.target, "CgroupPermissions": d.permissions}
            for d in config.devices
        ],
        "DeviceCgroupRules": list(config.device_cgroup_rules) or None,
        "DeviceRequests": [
            {
                "Driver": request.driver,
                "Count": request.count,
                "DeviceIDs": list(request.device_ids) or None,
                "Capabilities": [list(request.capabilities)] if request.capabilities else None,
                "Options": request.options,
            }
            for request in config.device_requests
        ]
        or None,
        "Ulimits": [{"Name": u.name, "Hard": u.hard, "Soft": u.soft} for u in config.ulimits],
        "CgroupParent": config.cgroup_parent,
        "MaskedPaths": list(MASKED_PATHS) if systempaths else None,
        "ReadonlyPaths": list(READONLY_PATHS) if systempaths else None,
    }
    optional = {
        "Mounts": [_mount_json(m) for m in config.mounts if not _is_bind(m) and not _is_tmpfs_text(m)],
        "Tmpfs": tmpfs(config),
        "Annotations": config.annotations,
        "StorageOpt": config.storage_opt,
        "Sysctls": config.sysctls,
    }
    return fields | {k: v for k, v in optional.items() if v} | resources_json(config.resources)


def tmpfs(config: ContainerConfig) -> dict[str, str]:
    """Options by target of what ``--tmpfs`` says as well; in Docker these are no ``Mounts``."""
    return {mount.target: ",".join(mount.options) for mount in config.mounts if _is_tmpfs_text(mount)}


def _is_bind(mount: Mount) -> bool:
    """Whether the mount has a short form without loss."""
    if mount.type == "bind":
        return mount.create_host_path and not mount.recursive and not mount.subpath
    return mount.type == "volume" and bool(mount.source) and not mount.subpath and not mount.labels


def _is_tmpfs_text(mount: Mount) -> bool:
    return mount.type == "tmpfs" and not mount.size and mount.mode is None and not mount.read_only


def _bind_text(mount: Mount) -> str:
    options = [
        option
        for option in ("ro" if mount.read_only else "", "nocopy" if mount.nocopy else "", mount.propagation)
        if option
    ]
    return ":".join([mount.source, mount.target, *([",".join(options)] if options else [])])


def _mount_json(mount: Mount) -> dict[str, Any]:
    fields: dict[str, Any] = {"Type": mount.type, "Target": mount.target}
    if mount.source:
        fields["Source"] = mount.source
    if mount.read_only:
        fields["ReadOnly"] = True
    if mount.type == "bind" and (mount.propagation or mount.recursive or mount.create_host_path):
        fields["BindOptions"] = {
            "Propagation": mount.propagation,
            "NonRecursive": mount.recursive == "disabled",
            "CreateMountpoint": mount.create_host_path,
            "ReadOnlyNonRecursive": mount.recursive == "writable",
            "ReadOnlyForceRecursive": mount.recursive == "readonly",
        }
    if mount.type == "volume":
        fields["VolumeOptions"] = {"NoCopy": mount.nocopy, "Labels": mount.labels, "Subpath": mount.subpath}
    if mount.type == "tmpfs":
        options = [option.split("=", 1) for option in mount.options]
        fields["TmpfsOptions"] = {"SizeBytes": mount.size, "Mode": mount.mode or 0, "Options": options}
    return fields


def _port_bindings(config: ContainerConfig) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in config.ports:
        host_port = str(port.host_port) if port.host_port else ""
        if port.host_port_end > port.host_port:
            host_port = f"{port.host_port}-{port.host_port_end}"
        entry = {"HostIp": port.host_ip, "HostPort": host_port}
        found.setdefault(f"{port.container_port}/{port.protocol}", []).append(entry)
    return found


def resources_json(resources: Resources) -> dict[str, Any]:
    return {
        "CpuShares": resources.cpu_shares,
        "Memory": resources.memory,
        "NanoCpus": resources.nano_cpus,
        "BlkioWeight": resources.blkio_weight,
        "BlkioWeightDevice": [{"Path": d.path, "Weight": d.weight} for d in resources.blkio_weight_device],
        "BlkioDeviceReadBps": _throttles(resources.device_read_bps),
        "BlkioDeviceWriteBps": _throttles(resources.device_write_bps),
        "BlkioDeviceReadIOps": _throttles(resources.device_read_iops),
        "BlkioDeviceWriteIOps": _throttles(resources.device_write_iops),
        "CpuPeriod": resources.cpu_period,
        "CpuQuota": resources.cpu_quota,
        "CpuRealtimePeriod": resources.cpu_rt_period,
        "CpuRealtimeRuntime": resources.cpu_rt_runtime,
        "CpusetCpus": resources.cpuset_cpus,
        "CpusetMems": resources.cpuset_mems,
        "MemoryReservation": resources.memory_reservation,
        "MemorySwap": resources.memory_swap or 2 * resources.memory,
        "MemorySwappiness": resources.memory_swappiness,
        "OomKillDisable": resources.oom_kill_disable,
        "PidsLimit": resources.pids_limit or None,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def _throttles(devices: Iterable[Any]) -> list[dict[str, Any]]:
    return [{"Path": device.path, "Rate": device.rate} for device in devices]
