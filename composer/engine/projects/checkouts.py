"""Several checkouts of one project: whose the containers of a name are, and a name for the second of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from composer.compose.model import Project
from composer.engine.containers import Container
from composer.plan import labels


def own_name(project: Project) -> str:
    """What the project of this directory is called when another has its name: always the same."""
    return f"{project.name}-{hashlib.sha256(project.working_dir.encode()).hexdigest()[:6]}"


def directories_of(containers: Iterable[Container]) -> set[str]:
    """Where the projects are whose containers these are; of a container that does not tell, nothing."""
    return {place for c in containers if (place := c.config.labels.get(labels.WORKING_DIR, ""))}


def is_anothers(project: Project, containers: Iterable[Container]) -> bool:
    """Whether ``containers``, which have the project's name, are those of other directories only."""
    places = directories_of(containers)
    return bool(places) and project.working_dir not in places


def taken_over(project: Project, containers: Iterable[Container]) -> str:
    """A warning when ``up`` is about to take another directory's containers for its own; "" when there is no reason.
    One that is not there any more was moved here."""
    containers = list(containers)
    others = sorted(place for place in directories_of(containers) if os.path.isdir(place))
    if not others or not is_anothers(project, containers):
        return ""
    return (
        f"project {project.name} is also that of {others[0]}, whose containers this takes over; "
        "`-p NAME` gives the one here a name of its own"
    )
