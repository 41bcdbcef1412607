"""What a command that is not ``up`` knows of its project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from composer.compose.model import Project
from composer.engine.containers import Container
from composer.engine.projects.parts import service_of
from composer.plan import labels
from composer.plan.graph import CONDITIONS, Condition, Dependencies, Dependency
from composer.plan.plan import dependencies_of


@dataclass(frozen=True)
class Known:
    """What is known about a project: its file when there is one, else what its containers' labels say."""

    name: str
    project: Project | None
    containers: Sequence[Container]

    @property
    def dependencies(self) -> Dependencies:
        """From the file, else from the labels that the containers were made with."""
        if self.project is not None:
            return dependencies_of(self.project)
        found: dict[str, tuple[Dependency, ...]] = {}
        for container in self.containers:
            found[service_of(container)] = dependencies_in_labels(container)
        return found


def dependencies_in_labels(container: Container) -> tuple[Dependency, ...]:
    """Read ``com.docker.compose.depends_on``: ``service:condition:restart`` separated by commas."""
    needs = []
    for item in filter(None, container.config.labels.get(labels.DEPENDS_ON, "").split(",")):
        service, condition, restart = [*item.split(":"), "", ""][:3]
        known: Condition = next((c for c in CONDITIONS if c == condition), "service_started")
        needs.append(Dependency(service, known, restart=restart == "true"))
    return tuple(needs)
