"""Containers in Docker's JSON: the documents of ``inspect`` and the lines of ``list``. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from composer.api.interface import Container
from composer.api.times import SECOND, human_duration, rfc3339
from composer.engine.model import Endpoint, Health, MountPoint, PublishedPort, Status
from runtime.container.config import (
    ContainerConfig,
    EndpointConfig,
    Healthcheck,
    ImageConfig,
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


def container_command(config: ContainerConfig, image: ImageConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Entrypoint and arguments that hold: an entrypoint of its own drops the image's command."""
    if config.entrypoint is not None:
        return config.entrypoint, config.command or ()
    return image.entrypoint, image.cmd if config.command is None else config.command


def container_environment(config: ContainerConfig, image: ImageConfig) -> list[str]:
    """The container's own variables, then those of the image that it does not set or remove."""
    own = {entry.partition("=")[0] for entry in config.env}
    return [entry for entry in config.env if "=" in entry] + [
        entry for entry in image.env if entry.partition("=")[0] not in own
    ]


def status_text(state: Status, now_ns: int) -> str:
    """``Up 3 seconds (healthy)``, ``Exited (0) 2 minutes ago`` (moby's ``State.String``)."""
    up = human_duration((now_ns - state.started_at) / SECOND)
    ago = f"{human_duration((now_ns - state.finished_at) / SECOND)} ago"
    match state.status:
        case "running":
            return f"Up {up}{_health_text(state.health)}"
        case "paused":
            return f"Up {up} (Paused)"
        case "restarting":
            return f"Restarting ({state.exit_code}) {ago}"
        case "removing":
            return "Removal In Progress"
        case "dead":
            return "Dead"
        case "created":
            return "Created"
        case _:
            return f"Exited ({state.exit_code}) {ago}"


def _health_text(health: Health | None) -> str:
    if health is None:
        return ""
    return " (health: starting)" if health.status == "starting" else f" ({health.status})"


def summary(container: Container, now_ns: int) -> dict[str, Any]:
    """One element of ``GET /containers/json``."""
    config = container.config
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.image_ref,
        "ImageID": container.image_id,
        "Command": container.command_line,
        "Created": container.created // SECOND,
        "Ports": port_list(container),
        "Labels": container.labels,
        "State": container.state.status,
        "Status": status_text(container.state, now_ns),
        "HostConfig": {"NetworkMode": network_mode(config), "Annotations": config.annotations},
        "NetworkSettings": {"Networks": networks(container)},
        "Mounts": [mount_point(point) for point in container.mounts],
    }


def port_list(container: Container) -> list[dict[str, Any]]:
    """Published ports, and exposed ones that are not; nothing for a container without a process."""
    if not container.state.is_alive:
        return []
    found: list[dict[str, Any]] = []
    published = set()
    for port in container.ports:
        published.add(f"{port.container_port}/{port.protocol}")
        found += [
            {
                "IP": address,
                "PrivatePort": port.container_port,
                "PublicPort": port.host_port,
                "Type": port.protocol,
            }
            for address in host_addresses(port)
        ]
    for entry in exposed_ports(container) if _has_ports(container.config) else ():
        if entry not in published:
            number, _, protocol = entry.partition("/")
            found.append({"PrivatePort": int(number), "Type": protocol})
    return found


def _has_ports(config: ContainerConfig) -> bool:
    """Nobody reaches a port where there is no network, and on somebody else's it is theirs."""
    return config.network_mode not in ("none", "host") and not config.network_mode.startswith("container:")


def host_addresses(port: PublishedPort) -> tuple[str, ...]:
    return (port.host_ip,) if port.host_ip else ("0.0.0.0", "::")


def exposed_ports(container: Container) -> list[str]:
    """``80/tcp``: of the image, asked for, and published, each once."""
    entries = [*container.image.exposed_ports, *container.config.expose]
    entries += [f"{port.container_port}/{port.protocol}" for port in container.config.ports]
    return list(dict.fromkeys(entry if "/" in entry else f"{entry}/tcp" for entry in entries))


def network_mode(config: ContainerConfig) -> str:
    """Docker's mode: the name of the first network where there are any."""
    return config.endpoints[0].network if config.endpoints else config.network_mode


def networks(container: Container) -> dict[str, Any]:
    if not container.endpoints and container.config.network_mode in ("host", "none"):
        return {
            container.config.network_mode: endpoint_json(container.id, Endpoint(network_id=""), None, False)
        }
    asked = {endpoint.network: endpoint for endpoint in container.config.endpoints}
    is_alive = container.state.is_alive
    return {
        name: endpoint_json(container.id, endpoint, asked.get(name), is_alive)
        for name, endpoint in container.endpoints.items()
    }


def endpoint_id(container_id: str, network_id: str) -> str:
    """A stable id for a container's endpoint; the engine needs none of its own."""
    return hashlib.sha256(f"{container_id}/{network_id}".encode()).hexdigest()


def endpoint_json(
    container_id: str, endpoint: Endpoint, asked: EndpointConfig | None, is_alive: bool
) -> dict[str, Any]:
    """An element of ``NetworkSettings.Networks``; addresses are shown while the container runs."""
    asked = asked or endpoint.asked
    return {
        "IPAMConfig": _ipam_config(asked),
        "Links": (list(asked.links) or None) if asked else None,
        "Aliases": [alias for alias in endpoint.aliases if alias != container_id[:12]] or None,
        "MacAddress": endpoint.mac if is_alive else "",
        "DriverOpts": (asked.driver_opts or None) if asked else None,
        "GwPriority": endpoint.gw_priority,
        "NetworkID": endpoint.network_id,
        "EndpointID": endpoint_id(container_id, endpoint.network_id) if is_alive else "",
        "Gateway": endpoint.gateway if is_alive else "",
        "IPAddress": endpoint.ipv4 if is_alive else "",
        "IPPrefixLen": endpoint.prefix if is_alive else 0,
        "IPv6Gateway": endpoint.gateway6 if is_alive else "",
        "GlobalIPv6Address": endpoint.ipv6 if is_alive else "",
        "GlobalIPv6PrefixLen": endpoint.prefix6 if is_alive else 0,
        "DNSNames": list(endpoint.dns_names) or None,
    }


def _ipam_config(asked: EndpointConfig | None) -> dict[str, Any] | None:
    if asked is None or not (asked.ipv4_address or asked.ipv6_address or asked.link_local_ips):
        return None
    fields: dict[str, Any] = {}
    if asked.ipv4_address:
        fields["IPv4Address"] = asked.ipv4_address
    if asked.ipv6_address:
        fields["IPv6Address"] = asked.ipv6_address
    if asked.link_local_ips:
        fields["LinkLocalIPs"] = list(asked.link_local_ips)
    return fields


def _capabilities(names: Sequence[str]) -> list[str] | None:
    """By their full names, as Docker shows them."""
    upper = (name.upper() for name in names)
    return [name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in upper] or None


def mount_point(point: MountPoint) -> dict[str, Any]:
    """An element of ``Mounts``."""
    fields: dict[str, Any] = {"Type": point.type}
    if point.name:
        fields["Name"] = point.name
    fields |= {"Source": point.source, "Destination": point.target}
    if point.type == "volume":
        fields["Driver"] = "local"
    mode = "z" if point.type == "volume" else "ro" if point.type == "bind" and point.read_only else ""
    return fields | {"Mode": mode, "RW": not point.read_only, "Propagation": point.propagation}


def inspect(container: Container, *, exec_ids: Sequence[str] = ()) -> dict[str, Any]:
    """``GET /containers/{id}/json``."""
    entrypoint, arguments = container_command(container.config, container.image)
    words = [*entrypoint, *arguments]
    return {
        "Id": container.id,
        "Created": rfc3339(container.created),
        "Path": words[0] if words else "",
        "Args": words[1:],
        "State": state_json(container.state),
        "Image": container.image_id,
        "ResolvConfPath": f"{container.files_path}/resolv.conf",
        "HostnamePath": f"{container.files_path}/hostname",
        "HostsPath": f"{container.files_path}/hosts",
        "LogPath": container.log_path,
        "Name": f"/{container.name}",
        "RestartCount": container.state.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": container.apparmor_profile,
        "ExecIDs": list(exec_ids) or None,
        "HostConfig": host_config(container.config),
        "GraphDriver": {"Data": None, "Name": "overlay2"},
        "Mounts": [mount_point(point) for point in container.mounts],
        "Config": config_json(container),
        "NetworkSettings": network_settings(container),
    }


def state_json(state: Status) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "Status": state.status,
        "Running": state.status in ("running", "paused", "restarting"),
        "Paused": state.status == "paused",
        "Restarting": state.status == "restarting",
        "OOMKilled": state.oom_killed,
        "Dead": state.status == "dead",
        "Pid": state.pid if state.is_alive else 0,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": rfc3339(state.started_at),
        "FinishedAt": rfc3339(state.finished_at),
    }
    if state.health is not None:
        fields["Health"] = {
            "Status": state.health.status,
            "FailingStreak": state.health.failing_streak,
            "Log": [
                {
                    "Start": rfc3339(probe.start),
                    "End": rfc3339(probe.end),
                    "ExitCode": probe.exit_code,
                    "Output": probe.output,
                }
                for probe in state.health.log
            ],
        }
    return fields


def config_json(container: Container) -> dict[str, Any]:
    """``Config``: what was asked for, with what the image gives where it was silent."""
    config, image = container.config, container.image
    entrypoint, arguments = container_command(config, image)
    fields: dict[str, Any] = {
        "Hostname": config.hostname or container.id[:12],
        "Domainname": config.domainname,
        "User": config.user or image.user,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": config.tty,
        "OpenStdin": config.stdin_open,
        "StdinOnce": config.stdin_once,
        "Env": container_environment(config, image),
        "Cmd": list(arguments) or None,
        "Image": container.image_ref,
        "Volumes": _volume_set(config, image),
        "WorkingDir": config.working_dir or image.working_dir,
        "Entrypoint": list(entrypoint) or None,
        "OnBuild": None,
        "Labels": container.labels,
    }
    if ports := exposed_ports(container):
        fields["ExposedPorts"] = {port: {} for port in ports}
    if (check := container.healthcheck) is not None:
        fields["Healthcheck"] = healthcheck_json(check)
    elif config.healthcheck is not None and config.healthcheck.test == ("NONE",):
        fields["Healthcheck"] = {"Test": ["NONE"]}
    if stop_signal := config.stop_signal or image.stop_signal:
        fields["StopSignal"] = stop_signal
    if config.stop_timeout is not None:
        fields["StopTimeout"] = config.stop_timeout
    if image.shell:
        fields["Shell"] = list(image.shell)
    return fields


def _volume_set(config: ContainerConfig, image: ImageConfig) -> dict[str, Any] | None:
    anonymous = [mount.target for mount in config.mounts if mount.type == "volume" and not mount.source]
    return {path: {} for path in (*image.volumes, *anonymous)} or None


def healthcheck_json(check: Healthcheck) -> dict[str, Any]:
    fields: dict[str, Any] = {"Test": list(check.test)}
    times = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return fields | {name: value for name, value in times.items() if value}


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
        "ConsoleSize": [0, 0],
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
        "Tmpfs": {m.target: ",".join(m.options) for m in config.mounts if _is_tmpfs_text(m)},
        "Annotations": config.annotations,
        "StorageOpt": config.storage_opt,
        "Sysctls": config.sysctls,
    }
    return fields | {k: v for k, v in optional.items() if v} | resources_json(config.resources)


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


def network_settings(container: Container) -> dict[str, Any]:
    is_alive = container.state.is_alive
    found = networks(container)
    default = found.get("bridge", {})
    top = ("Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway")
    shown: Mapping[str, Any] = {
        name: default.get(name, 0 if name.endswith("Len") else "")
        for name in (*top, "MacAddress", "EndpointID")
    }
    return {
        "Bridge": "",
        "SandboxID": container.id if is_alive else "",
        "SandboxKey": f"/proc/{container.state.pid}/ns/net" if is_alive else "",
        "Ports": published_ports(container),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **shown,
        "Networks": found,
    }


def published_ports(container: Container) -> dict[str, list[dict[str, str]] | None]:
    """``NetworkSettings.Ports``: exposed ports with the host's addresses, None where unpublished."""
    if not container.state.is_alive:
        return {}
    exposed = exposed_ports(container) if _has_ports(container.config) else ()
    found: dict[str, list[dict[str, str]] | None] = dict.fromkeys(exposed)
    for port in container.ports:
        entries = found.get(key := f"{port.container_port}/{port.protocol}") or []
        entries += [{"HostIp": address, "HostPort": str(port.host_port)} for address in host_addresses(port)]
        found[key] = entries
    return found
