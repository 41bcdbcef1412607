"""One-off containers of ``run``."""

from __future__ import annotations

import secrets

from composer.compose.model import Project
from composer.engine.builds.builds import Builds
from composer.engine.containers import Container
from composer.engine.projects.building import ensure_built
from composer.engine.projects.observe import observe
from composer.engine.projects.parts import Parts
from composer.engine.projects.pulling import ensure_images
from composer.engine.projects.steps import Emit
from composer.engine.projects.up import Up
from composer.engine.requests import RunRequest, UpRequest
from composer.plan.plan import UpOptions, images_of, plan_run, plan_up
from composer.plan.references import referenced_services, resolve_references
from runtime.errors import ComposerError


async def make_oneoff(
    parts: Parts, builds: Builds, project: Project, request: RunRequest, emit: Emit
) -> Container:
    """Create (not start) a container for one command, with the project's networks and volumes."""
    observed = observe(project.name, images_of(project), parts)
    up = UpRequest(
        project=request.project,
        services=(request.service,),
        pull=request.pull,
        quiet_pull=request.quiet_pull,
        build=request.build,
        quiet_build=request.quiet_build,
    )
    plan = plan_up(project, observed, UpOptions(services=(request.service,), no_deps=True))
    await ensure_built(builds, project, plan.images, up, emit)
    await ensure_images(parts, plan.images, up, emit)
    await Up(parts, plan, up, emit).ensure_surroundings()
    run = plan_run(project, observe(project.name, images_of(project), parts), request, secrets.token_hex(6))
    config = run.config
    ids: dict[str, str] = {}
    for service in referenced_services(config):
        replicas = parts.replicas_of(project.name, service)
        if not replicas:
            raise ComposerError(
                f"service {service}, which {request.service} shares something with, has no container",
                hint=f"composer up -d {service}",
            )
        ids[service] = replicas[0].id
    return await parts.create(resolve_references(config, ids), run.name)
