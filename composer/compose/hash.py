"""A digest of a service that changes when, and only when, its containers have to."""

from __future__ import annotations

import hashlib

import msgspec

from composer.compose.model import Service

NOT_CONFIGURATION = ("build", "depends_on", "develop", "profiles", "pull_policy", "scale")
"""Attributes that do not make a container, as in Docker Compose (with ``deploy.replicas``)."""


def service_config_hash(service: Service) -> str:
    """SHA-256 in hex of the service's canonical JSON, without what does not make a container."""
    plain = msgspec.to_builtins(service, str_keys=True, enc_hook=int)
    for attribute in NOT_CONFIGURATION:
        plain.pop(attribute, None)
    if "deploy" in plain:
        plain["deploy"].pop("replicas", None)
    return hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).hexdigest()
