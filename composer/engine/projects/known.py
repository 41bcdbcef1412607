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
from runtime.errors import NotFound
from runtime.nearest import nearest


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

    def chosen(self, services: Sequence[str], *, with_oneoffs: bool = False) -> list[Container]:
        """The project's containers, of ``services`` if any are named. Raises NotFound."""
        present = {service_of(c) for c in self.containers}
        project = self.project
        defined = set(project.services) | set(project.disabled_services) if project else set()
        for service in services if present | defined else ():
            if service not in present | defined:
                raise NotFound(
                    f"no such service: {service}", hint=hint_for(service, sorted(present | defined))
                )
        wanted = set(services) or (present & defined if project else present)
        return [
            c
            for c in self.containers
            if service_of(c) in wanted
            and (with_oneoffs or c.config.labels.get(labels.ONEOFF, "").lower() != "true")
        ]


def hint_for(name: str, known: Sequence[str]) -> str:
    """What a service that there is not may have been meant to be."""
    close = nearest(name, known)
    return f"did you mean {close}?" if close else f"services: {', '.join(known)}" if known else ""


def dependencies_in_labels(container: Container) -> tuple[Dependency, ...]:
    """Read ``com.docker.compose.depends_on``: ``service:condition:restart`` separated by commas."""
    needs = []
    for item in filter(None, container.config.labels.get(labels.DEPENDS_ON, "").split(",")):
        service, condition, restart = [*item.split(":"), "", ""][:3]
        known: Condition = next((c for c in CONDITIONS if c == condition), "service_started")
        needs.append(Dependency(service, known, restart=restart == "true"))
    return tuple(needs)
