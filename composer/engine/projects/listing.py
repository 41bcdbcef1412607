"""Services, containers and projects as commands show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from composer.compose.model import Service
from composer.engine.containers import Container
from composer.engine.projects.parts import number_of, service_of
from composer.plan import labels


def service_summary(name: str, service: Service) -> dict[str, Any]:
    """What commands that are about images need to know of a service."""
    return {
        "Name": name,
        "Image": service.image,
        "Profiles": list(service.profiles),
        "HasBuild": service.build is not None,
        "DependsOn": list(service.depends_on),
    }


def container_summary(container: Container) -> dict[str, Any]:
    """One container; times in ns since the epoch. The CLI renders what people see."""
    state = container.state
    return {
        "Id": container.id,
        "Name": container.name,
        "Service": service_of(container),
        "Number": number_of(container),
        "OneOff": container.config.labels.get(labels.ONEOFF, "").lower() == "true",
        "Project": container.config.labels.get(labels.PROJECT, ""),
        "Image": container.image_ref,
        "ImageID": container.image_id,
        "Command": container.command_line,
        "Created": container.created,
        "State": state.status,
        "Health": state.health.status if state.health else "",
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": state.started_at,
        "Uptime": container.uptime,
        "FinishedAt": state.finished_at,
        "RestartCount": state.restart_count,
        "Tty": container.config.tty,
        "Labels": container.labels,
        "Networks": {name: endpoint.ipv4 for name, endpoint in container.endpoints.items()},
        "Mounts": list(container.record.volumes.values())
        + [m.source for m in container.config.mounts if m.type == "bind"],
        "Publishers": [
            {
                "URL": port.host_ip,
                "TargetPort": port.container_port,
                "PublishedPort": port.host_port,
                "Protocol": port.protocol,
            }
            for port in container.ports
        ]
        + [
            {"URL": "", "TargetPort": number, "PublishedPort": 0, "Protocol": protocol}
            for number, protocol in container.exposed_ports
            if (number, protocol) not in {(p.container_port, p.protocol) for p in container.ports}
        ],
    }


def project_summaries(containers: Sequence[Container], *, everything: bool) -> list[dict[str, Any]]:
    """``ls``: name, status (``exited(1), running(2)``) and files of each project; unless
    ``everything``, of what runs."""
    projects: dict[str, list[Container]] = {}
    for container in containers:
        name = container.config.labels.get(labels.PROJECT)
        if name:
            projects.setdefault(name, []).append(container)
    found = []
    for name, members in sorted(projects.items()):
        if not everything:
            members = [c for c in members if c.state.status in ("running", "paused", "restarting")]
        if not members:
            continue
        counts = Counter(c.state.status for c in members)
        files = dict.fromkeys(
            f for c in members for f in c.config.labels.get(labels.CONFIG_FILES, "").split(",") if f
        )
        found.append(
            {
                "Name": name,
                "Status": ", ".join(f"{status}({count})" for status, count in sorted(counts.items())),
                "ConfigFiles": ",".join(files),
            }
        )
    return found
