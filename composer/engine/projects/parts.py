"""What operations on projects work with: the engine's parts, without the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from composer.engine.containers import Container, Containers
from composer.engine.events import Events
from composer.engine.lifecycle import Lifecycle
from composer.engine.logs import ContainerLogs
from composer.engine.networks import Networks
from composer.engine.volumes import Volumes
from composer.plan import labels
from runtime.container.config import ContainerConfig
from runtime.image.authentication import CredentialSource
from runtime.image.store import ImageStore

PullProgress = Callable[[str, str, int, int], None]
"""Layer, status, bytes so far, bytes in all."""
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
    pull_image: Callable[[str, str, PullProgress, CredentialSource | None], Awaitable[object]]
    """Reference, platform ("" for this machine's), progress, who one is (None: who the engine is)."""
    remove_image: Callable[[str], Awaitable[object]]
    pulled_at: Callable[[str], int]
    """When (ns) the reference was last pulled; 0 if never."""

    async def create(
        self, config: ContainerConfig, name: str, carried: dict[str, str] | None = None
    ) -> Container:
        """Create (not start) a container; ``carried``: mount target -> anonymous volume to use again."""
        return await self.create_container(config, name, carried or {})

    def of_project(self, project: str) -> list[Container]:
        """Every container with the project's label, oldest first, one-off ones too."""
        found = [c for c in self.containers.all() if c.config.labels.get(labels.PROJECT) == project]
        return sorted(found, key=lambda c: c.created)

    def replicas_of(self, project: str, service: str) -> list[Container]:
        """The service's containers by number, without one-off ones."""
        found = [
            c
            for c in self.of_project(project)
            if c.config.labels.get(labels.SERVICE) == service
            and c.config.labels.get(labels.ONEOFF, "").lower() != "true"
        ]
        return sorted(found, key=number_of)


def number_of(container: Container) -> int:
    text = container.config.labels.get(labels.NUMBER, "")
    return int(text) if text.isdecimal() else 0


def service_of(container: Container) -> str:
    return container.config.labels.get(labels.SERVICE, "")
