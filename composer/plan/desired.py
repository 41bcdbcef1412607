"""A service as its containers are to be, and what makes one of them that one: name, number, labels,
aliases."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from composer.compose.model import Project, Service
from composer.plan import labels
from composer.plan.graph import Dependency
from runtime.container.config import ContainerConfig


@dataclass(frozen=True, slots=True)
class DesiredService:
    """``config`` is common to all replicas: no name, number or labels of Compose in it."""

    name: str
    replicas: int
    config: ContainerConfig
    config_hash: str
    needs: tuple[Dependency, ...] = ()
    container_name: str = ""
    """The fixed name from the file, "" for ``<project>-<service>-<number>``."""
    image_id: str = ""
    """Id that the image's reference stands for at present; "" when not known: then it is not compared."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The project that containers belong to. ``working_dir`` and ``config_files`` are absolute paths."""

    project: str
    working_dir: str = ""
    config_files: tuple[str, ...] = ()
    separator: str = "-"

    def container_name(self, service: str, number: int, fixed: str = "") -> str:
        return fixed or self.separator.join((self.project, service, str(number)))

    def run_name(self, service: str, slug: str) -> str:
        """Name of a one-off container; 12 characters of ``slug`` are used, as Docker Compose does."""
        return self.separator.join((self.project, service, "run", slug[:12]))


def identity_of(project: Project) -> Identity:
    return Identity(project.name, project.working_dir, project.compose_files)


def dependency_list(service: Service) -> tuple[Dependency, ...]:
    """What the service needs directly."""
    return tuple(
        Dependency(name, need.condition, need.required, need.restart)
        for name, need in service.depends_on.items()
    )


def replica_config(desired: DesiredService, identity: Identity, number: int) -> ContainerConfig:
    """The configuration of replica ``number``, with Compose's labels and the container's name as an alias."""
    name = identity.container_name(desired.name, number, desired.container_name)
    own = service_labels(desired, identity, oneoff=False) | {labels.NUMBER: str(number)}
    return named_config(desired.config, name, own)


def named_config(config: ContainerConfig, name: str, own_labels: dict[str, str]) -> ContainerConfig:
    """``config`` with labels added and, as Docker Compose does, the container's name as first alias."""
    endpoints = tuple(
        msgspec.structs.replace(endpoint, aliases=tuple(dict.fromkeys((name, *endpoint.aliases))))
        for endpoint in config.endpoints
    )
    return msgspec.structs.replace(config, labels=config.labels | own_labels, endpoints=endpoints)


def service_labels(desired: DesiredService, identity: Identity, *, oneoff: bool) -> dict[str, str]:
    """Compose's labels of a container of the service, without its number."""
    depends_on = ",".join(f"{n.service}:{n.condition}:{str(n.restart).lower()}" for n in desired.needs)
    found = {
        labels.PROJECT: identity.project,
        labels.SERVICE: desired.name,
        labels.ONEOFF: str(oneoff),
        labels.CONFIG_HASH: desired.config_hash,
        labels.DEPENDS_ON: depends_on,
        labels.WORKING_DIR: identity.working_dir,
        labels.CONFIG_FILES: ",".join(identity.config_files),
        labels.VERSION: labels.COMPOSE_VERSION,
    }
    if desired.image_id:
        found[labels.IMAGE] = desired.image_id
    return found
