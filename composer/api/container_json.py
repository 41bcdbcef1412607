"""Containers in Docker's JSON: the documents of ``inspect`` and the lines of ``list``. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from composer.api.container_host_json import host_config, tmpfs
from composer.api.container_network_json import (
    exposed_ports,
    network_mode,
    network_settings,
    networks,
    port_list,
)
from composer.api.durations import human_duration
from composer.api.interface import Container
from composer.api.times import SECOND, rfc3339
from composer.engine.model import Health, MountPoint, Status
from runtime.container.config import (
    ContainerConfig,
    Healthcheck,
    ImageConfig,
)


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


def status_text(state: Status, uptime: float, now_ns: int) -> str:
    """``Up 3 seconds (healthy)``, ``Exited (0) 2 minutes ago`` (moby's ``State.String``)."""
    up = human_duration(uptime)
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
        "Status": status_text(container.state, container.uptime, now_ns),
        "HostConfig": {"NetworkMode": network_mode(config), "Annotations": config.annotations},
        "NetworkSettings": {"Networks": networks(container)},
        "Mounts": _mount_points(container),
    }


def _mount_points(container: Container) -> list[dict[str, Any]]:
    apart = tmpfs(container.config)
    return [
        mount_point(point) for point in container.mounts if point.type != "tmpfs" or point.target not in apart
    ]


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
        "Mounts": _mount_points(container),
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
