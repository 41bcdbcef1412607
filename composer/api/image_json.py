"""Images in Docker's JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from composer.api.container_json import healthcheck_json
from composer.api.times import SECOND, rfc3339
from runtime.container.config import ImageConfig
from runtime.image.model import Image


def summary(image: Image, containers: int = -1) -> dict[str, Any]:
    """One element of ``GET /images/json``; ``containers`` is how many use it, -1 not counted."""
    return {
        "Containers": containers,
        "Created": image.created // SECOND,
        "Id": image.id,
        "Labels": image.config.labels or None,
        "ParentId": "",
        "RepoDigests": list(image.digests),
        "RepoTags": list(image.tags),
        "SharedSize": -1,
        "Size": image.size,
        "VirtualSize": image.size,
    }


def inspect(image: Image) -> dict[str, Any]:
    """``GET /images/{name}/json``."""
    fields: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Parent": "",
        "Comment": image.comment,
        "Created": rfc3339(image.created),
        "DockerVersion": image.docker_version,
        "Author": image.author,
        "Config": config_json(image.config, image.on_build),
        "Architecture": image.architecture,
        "Os": image.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Data": None, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": rfc3339(0)},
    }
    if image.variant:
        fields["Variant"] = image.variant
    return fields


def config_json(config: ImageConfig, on_build: Iterable[str] = ()) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "Hostname": "",
        "Domainname": "",
        "User": config.user,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": list(config.env) or None,
        "Cmd": list(config.cmd) or None,
        "Image": "",
        "Volumes": {path: {} for path in config.volumes} or None,
        "WorkingDir": config.working_dir,
        "Entrypoint": list(config.entrypoint) or None,
        "OnBuild": list(on_build) or None,
        "Labels": config.labels or None,
    }
    if config.exposed_ports:
        fields["ExposedPorts"] = {port: {} for port in config.exposed_ports}
    if config.healthcheck is not None:
        fields["Healthcheck"] = healthcheck_json(config.healthcheck)
    if config.stop_signal:
        fields["StopSignal"] = config.stop_signal
    if config.shell:
        fields["Shell"] = list(config.shell)
    return fields


def history(image: Image) -> list[dict[str, Any]]:
    """``GET /images/{name}/history``: newest step first; only the newest has the image's id."""
    steps: list[dict[str, Any]] = [
        {
            "Comment": step.comment,
            "Created": step.created // SECOND,
            "CreatedBy": step.created_by,
            "Id": "<missing>",
            "Size": step.size,
            "Tags": None,
        }
        for step in reversed(image.history)
    ]
    if steps:
        steps[0] |= {"Id": image.id, "Tags": list(image.tags) or None}
    return steps


def count_users(image_ids: Iterable[str]) -> Mapping[str, int]:
    """How many containers there are of each image."""
    counts: dict[str, int] = {}
    for image_id in image_ids:
        counts[image_id] = counts.get(image_id, 0) + 1
    return counts
