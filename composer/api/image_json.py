"""Images in Docker's JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from composer.api.container_json import healthcheck_json
from composer.api.interface import Container
from composer.api.times import SECOND, rfc3339
from runtime.container.config import ImageConfig
from runtime.image.index import Entry, entries_of
from runtime.image.manifest import ATTESTATION, Descriptor
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
        # Nobody remembers when; Docker Compose shows it as the image's age.
        "Metadata": {"LastTagTime": rfc3339(image.created if image.tags else 0)},
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


def users_of(containers: Iterable[Container]) -> Mapping[str, Sequence[str]]:
    """Image id -> ids of the containers that were made from it."""
    users: dict[str, list[str]] = {}
    for container in containers:
        users.setdefault(container.image_id, []).append(container.id)
    return users


def manifests(
    described: Sequence[tuple[Image, Descriptor | None]], index: bytes, users: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """``Manifests`` of a summary: the images that are here for one platform each, in the order of the ``index`` that
    they came with (b"": none), and what else that lists."""
    here = {str(one.digest): _manifest(image, one, users) for image, one in described if one is not None}
    listed = entries_of(index) if index else []
    if here.keys().isdisjoint(entry["digest"] for entry in listed):
        return list(here.values())
    found = [here.pop(entry["digest"]) if entry["digest"] in here else _absent(entry) for entry in listed]
    return [*found, *here.values()]


def _manifest(image: Image, described: Descriptor, users: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    platform = {"architecture": image.architecture, "os": image.os}
    platform |= {"variant": image.variant} if image.variant else {}
    return {
        "ID": str(described.digest),
        "Descriptor": {
            "mediaType": described.media_type,
            "digest": str(described.digest),
            "size": described.size,
        },
        "Available": True,
        "Size": {"Content": image.content_size, "Total": image.content_size + image.size},
        "Kind": "image",
        "ImageData": {
            "Platform": platform,
            "Containers": list(users.get(image.id, ())),
            "Size": {"Unpacked": image.size},
        },
    }


def _absent(entry: Entry) -> dict[str, Any]:
    """Of what an index lists and is not here."""
    fields: dict[str, Any] = {
        "ID": entry["digest"],
        "Descriptor": {key: entry.get(key, "") for key in ("mediaType", "digest", "size")},
        "Available": False,
        "Size": {"Content": 0, "Total": 0},
    }
    notes = entry.get("annotations") or {}
    if ATTESTATION in notes:
        subject = notes.get("vnd.docker.reference.digest", "")
        return fields | {"Kind": "attestation", "AttestationData": {"For": subject}}
    told = entry.get("platform") or {}
    platform = {key: told[key] for key in ("architecture", "os", "variant") if told.get(key)}
    platform = {"architecture": "", "os": ""} | platform
    return fields | {
        "Kind": "image",
        "ImageData": {"Platform": platform, "Containers": [], "Size": {"Unpacked": 0}},
    }
