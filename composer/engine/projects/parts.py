"""What operations on projects work with: the engine's parts, without the engine."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgspec.structs import replace

from composer.engine.containers import Container, Containers
from composer.engine.events import Events
from composer.engine.lifecycle import Lifecycle
from composer.engine.logs import ContainerLogs
from composer.engine.networking.networks import Networks
from composer.engine.volumes import Volumes
from composer.engine.waiting import Waiting
from composer.plan import labels
from runtime.container.config import ContainerConfig
from runtime.errors import ComposerError
from runtime.image.model import Progress
from runtime.image.registry.authentication import CredentialSource
from runtime.image.store import ImageStore
from runtime.storage.files import read_regular

CreateContainer = Callable[[ContainerConfig, str, dict[str, str]], Awaitable[Container]]


@dataclass
class Parts:
    """The engine as seen by a project."""

    containers: Containers
    lifecycle: Lifecycle
    networks: Networks
    volumes: Volumes
    images: ImageStore
    logs: ContainerLogs
    events: Events
    create_container: CreateContainer
    pull_image: Callable[[str, str, Progress, CredentialSource | None], Awaitable[object]]
    """Reference, platform ("" for this machine's), progress, who one is (None: who the engine is)."""
    remove_image: Callable[[str], Awaitable[object]]
    waiting: Waiting
    pulled_at: Callable[[str], int]
    """When (ns) the reference was last pulled; 0 if never."""

    async def create(
        self, config: ContainerConfig, name: str, carried: dict[str, str] | None = None
    ) -> Container:
        """Create (not start) a container; ``carried``: mount target -> anonymous volume to use again."""
        return await self.create_container(with_seccomp_profile(config), name, carried or {})

    def of_project(self, project: str) -> list[Container]:
        """Every container with the project's label, oldest first, one-off ones too."""
        found = [c for c in self.containers.all() if c.config.labels.get(labels.PROJECT) == project]
        return sorted(found, key=lambda c: c.created)

    def has(self, project: str) -> bool:
        """Whether there is a container or a volume of the project."""
        of_containers = (c.config.labels for c in self.containers.all())
        of_volumes = (volume.labels for volume in self.volumes.list())
        return any(found.get(labels.PROJECT) == project for found in (*of_containers, *of_volumes))

    def replicas_of(self, project: str, service: str) -> list[Container]:
        """The service's containers by number, without one-off ones."""
        found = [
            c
            for c in self.of_project(project)
            if c.config.labels.get(labels.SERVICE) == service
            and c.config.labels.get(labels.ONEOFF, "").lower() != "true"
        ]
        return sorted(found, key=number_of)


PROFILE_LIMIT = 1 << 20
"""Bytes of a seccomp profile."""


def with_seccomp_profile(config: ContainerConfig) -> ContainerConfig:
    """``config`` with the text of a seccomp profile in the place of its path: what the file says when the container is
    made holds for as long as there is the container. Raises ComposerError."""
    options = []
    for option in config.security_opt:
        key, _, value = option.partition("=")
        if key == "seccomp" and value.startswith("/"):
            try:
                text = read_regular(os.path.realpath(value), limit=PROFILE_LIMIT).decode(errors="replace")
            except OSError as error:
                raise ComposerError(f"opening seccomp profile ({value}) failed: {error.strerror}") from None
            option = f"seccomp={text}"
        options.append(option)
    return replace(config, security_opt=tuple(options)) if config.security_opt else config


def number_of(container: Container) -> int:
    text = container.config.labels.get(labels.NUMBER, "")
    return int(text) if text.isdecimal() else 0


def service_of(container: Container) -> str:
    return container.config.labels.get(labels.SERVICE, "")
