"""A digest of a service that changes when what its containers are made of does: the one that Docker Compose prints."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from composer.compose.rendering import escaped_as_in_go

NOT_CONFIGURATION = frozenset({"build", "depends_on", "profiles", "pull_policy", "scale"})
"""Attributes that do not make a container, as in Docker Compose (with ``deploy.replicas``)."""


def service_config_hash(service: dict[str, Any]) -> str:
    """SHA-256 in hex of a service as ``config --format json`` prints it, without what does not make a container.

    >>> service_config_hash({"command": None, "entrypoint": None, "image": "busybox"})[:12]
    'c6bf2897a7a1'
    """
    kept = {key: value for key, value in service.items() if key not in NOT_CONFIGURATION}
    if isinstance(kept.get("deploy"), dict):
        kept["deploy"] = {key: value for key, value in kept["deploy"].items() if key != "replicas"}
    text = escaped_as_in_go(json.dumps(kept, ensure_ascii=False, separators=(",", ":")))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
