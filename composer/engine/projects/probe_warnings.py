"""Healthchecks that cannot pass, because the image of their service has no such program: told before they fail."""

from __future__ import annotations

import os
from collections.abc import Sequence

from composer.compose.advice import silenced
from composer.compose.model import Project
from composer.compose.probe_programs import PATH, candidates, is_below, probe_programs
from composer.engine.projects.parts import Parts
from composer.plan.steps import Create, Plan, Recreate
from runtime.container.config import ContainerConfig
from runtime.files.tree import Tree
from runtime.image.model import Image

CODE = "missing-program"


def absent_programs(project: Project, plan: Plan, parts: Parts) -> list[str]:
    """A warning for each service that gets new containers and whose image lacks what its healthcheck runs. Blocking.

    Quiet about what mounts may bring, and where ``x-composer: {silence: [missing-program]}`` says so.
    """
    found = []
    if CODE in silenced(project.extensions):
        return []
    made = {r.service: r.config for r in plan.replicas if isinstance(r.action, Create | Recreate)}
    known: dict[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], str] = {}
    for name, config in made.items():
        service = project.services.get(name)
        if config is None or service is None or CODE in silenced(service.extensions):
            continue
        image = parts.images.resolve(config.image)
        programs = _programs(config, image) if image else ()
        if image is None or not programs or config.volumes_from:
            continue
        path = _path(config, image)
        key = image.id, programs, path, _targets(config)
        if key not in known:
            known[key] = _absent(image, programs, path, key[-1])
        if program := known[key]:
            found.append(
                f"services.{name}.healthcheck: image {config.image} has no program {program}: "
                f"the healthcheck will fail [{CODE}]"
            )
    return found


def _programs(config: ContainerConfig, image: Image) -> tuple[str, ...]:
    own, inherited = config.healthcheck, image.config.healthcheck
    test: Sequence[str] = own.test if own and own.test else inherited.test if inherited else ()
    return probe_programs(test, image.config.shell)


def _path(config: ContainerConfig, image: Image) -> tuple[str, ...]:
    for variable in (*reversed(config.env), *reversed(image.config.env)):
        if variable.startswith("PATH="):
            return tuple(variable[len("PATH=") :].split(":"))
    return PATH


def _targets(config: ContainerConfig) -> tuple[str, ...]:
    return (*(mount.target for mount in config.mounts), *(file.target for file in config.files))


def _absent(image: Image, programs: Sequence[str], path: Sequence[str], targets: Sequence[str]) -> str:
    """The first program that is surely not there, or ""."""
    tree = Tree(image.layers) if image.layers else None
    for program in programs:
        places = candidates(program, path)
        if not places or any(is_below(place, targets) for place in places):
            continue
        if not any(_is_there(image, tree, place, targets) for place in places):
            return program
    return ""


def _is_there(image: Image, tree: Tree | None, place: str, targets: Sequence[str]) -> bool:
    if image.is_embedded:
        return os.path.exists(place)
    if tree is None:
        return False
    try:
        real, node = tree.resolve(place)
    except OSError:
        return False
    return node is not None or is_below(f"/{real}", targets)
