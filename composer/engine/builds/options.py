"""What is asked for in one build of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from composer.engine.builds.attestation_options import AttestationOptions
from runtime.build.ignore import Ignore
from runtime.build.worker.mounting import Secret
from runtime.container.config import Ulimit
from runtime.image.registry.authentication import CredentialSource


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """One build. Paths are absolute."""

    context: Path
    dockerfile: str
    """Its text."""
    file: str
    """What the Dockerfile is called in messages."""
    ignore: Ignore
    context_name: str = ""
    """What people call the context: its path or URL; "": what was sent."""
    tags: tuple[str, ...] = ()
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    """Named contexts: a directory or ``docker-image://reference``."""
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    no_cache: bool = False
    no_cache_stages: tuple[str, ...] = ()
    pull: bool = False
    network: str = "bridge"
    extra_hosts: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    ssh: Mapping[str, str] = field(default_factory=dict)
    """The socket of an agent for each id."""
    platform: str = ""
    """What is built for; "": this machine's."""
    epoch: int | None = None
    """SOURCE_DATE_EPOCH."""
    allow: tuple[str, ...] = ()
    """Entitlements: what is dangerous and granted."""
    keeps_failed: bool = False
    """The container of a step that fails is not removed."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Of whoever gave the command."""
    explain: bool = False
    """Say of each step why it was done or not."""
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    credentials: CredentialSource | None = None
    attestations: AttestationOptions = field(default_factory=AttestationOptions)
    origin: str = ""
    """The URL that the context came from; "": a directory."""
    commit: str = ""
    """Of the repository that the context is."""
    named_ignores: Mapping[str, Ignore] = field(default_factory=dict)
    """What is left out of named contexts that are directories."""
