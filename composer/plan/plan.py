"""From a project and what exists to a plan: the entrance to this package for the engine."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from composer.compose.model import Project, Service
from composer.plan import networking
from composer.plan.automatic import is_automatic
from composer.plan.container import container_config, image_of
from composer.plan.desired import DesiredService, dependency_list, identity_of
from composer.plan.down import DownOptions, DownScope, observed_scope, plan_down_scope
from composer.plan.graph import Dependencies
from composer.plan.hash import config_hash
from composer.plan.observed import Observed
from composer.plan.oneoff import RunOptions, RunPlan, plan_run
from composer.plan.steps import DownPlan, ImagePlan, Plan, VolumeSpec
from composer.plan.support import demand_support
from composer.plan.up import Desired, UpOptions, plan_desired
from runtime.errors import InvalidArgument, NotFound


def plan_up(project: Project, observed: Observed, options: UpOptions) -> Plan:
    """What an ``up`` (or ``create``) has to do.

    ``observed.images`` should be as it is after pulling: then a changed image recreates its containers. See
    :func:`wanted_images` for what to pull.

    Raises :class:`ComposerError`: an unknown service, something unsupported, a missing external network or
    volume, a container name that is taken, a dependency cycle.
    """
    return plan_desired(desired_state(project, observed, options), observed, options)


def desired_state(project: Project, observed: Observed, options: UpOptions) -> Desired:
    """What the project asks for, as far as ``options`` are about it. See :func:`plan_up`."""
    chosen = _scaled(project, options).select(options.services, include_deps=not options.no_deps)
    demand_support(chosen)
    services = {name: desired_service(chosen, service, observed) for name, service in chosen.services.items()}
    return Desired(
        identity=identity_of(project),
        services=services,
        selected=frozenset(options.services or services),
        known_services=frozenset(project.services) | frozenset(project.disabled_services),
        networks=networking.used_networks(chosen),
        volumes=_used_volumes(chosen),
        images=_images(chosen, options.pull),
    )


def desired_service(project: Project, service: Service, observed: Observed | None = None) -> DesiredService:
    """One service as its containers are to be, of the images that are ``observed``."""
    config = container_config(project, service)
    return DesiredService(
        name=service.name,
        replicas=service.replicas,
        config=config,
        config_hash=config_hash(config, service.container_name),
        needs=dependency_list(service),
        container_name=service.container_name,
        image_id=observed.image_id(config.image, config.platform) if observed is not None else "",
    )


def service_hash(project: Project, service: Service) -> str:
    """The hash that the service's containers carry as label."""
    return config_hash(container_config(project, service), service.container_name)


def dependencies_of(project: Project) -> Dependencies:
    """What each active service needs."""
    return {name: dependency_list(service) for name, service in project.services.items()}


def images_of(project: Project) -> tuple[tuple[str, str], ...]:
    """References and platforms ("": this machine's) of the images of all services, active or not."""
    services = (*project.services.values(), *project.disabled_services.values())
    return tuple(dict.fromkeys((image_of(project, service), service.platform) for service in services))


def wanted_images(project: Project, options: UpOptions) -> tuple[ImagePlan, ...]:
    """The images that an ``up`` with ``options`` needs, with their pull policies: what to see to before
    planning.

    Raises for an unknown service.
    """
    chosen = project.select(options.services, include_deps=not options.no_deps)
    return _images(chosen, options.pull)


def _images(project: Project, pull: str) -> tuple[ImagePlan, ...]:
    """One for each reference and platform; the most demanding policy of its services counts."""
    found: dict[tuple[str, str], ImagePlan] = {}
    wanted = [
        (image_of(project, service), service.platform, service, service.name)
        for service in project.services.values()
        if service.provider is None
    ]
    for reference, platform, service, name in wanted:
        policy = pull if pull not in ("", "policy") else service.pull_policy or "missing"
        policy = "missing" if policy == "if_not_present" else policy
        other = found.get((reference, platform))
        found[reference, platform] = ImagePlan(
            reference=reference,
            policy=policy if other is None else _stricter(policy, other.policy),
            services=(*(other.services if other else ()), name),
            platform=platform,
            build=service.build is not None or bool(other and other.build),
            is_automatic=is_automatic(project, service) or bool(other and other.is_automatic),
        )
    mounted = {
        (volume.source, ""): service.name
        for service in project.services.values()
        for volume in service.volumes
        if volume.type == "image"
    }
    for (reference, platform), name in mounted.items():
        if (reference, platform) not in found:
            found[reference, platform] = ImagePlan(reference, "missing", (name,))
    return tuple(found.values())


_DEMANDS = ("never", "missing", "build", "weekly", "daily", "always")


def _stricter(one: str, other: str) -> str:
    """``every_<duration>`` ranks with daily."""

    def rank(policy: str) -> int:
        return _DEMANDS.index("daily" if policy.startswith("every_") else policy)

    return max(one, other, key=rank)


def _scaled(project: Project, options: UpOptions) -> Project:
    """The project with ``--scale`` put into its services. Raises for an unknown service or a negative
    number."""
    if not options.scale:
        return project
    services, disabled = dict(project.services), dict(project.disabled_services)
    for name, replicas in options.scale.items():
        if replicas < 0:
            raise InvalidArgument(f"scale of {name}: {replicas} is negative")
        part = services if name in services else disabled
        if name not in part:
            raise NotFound(f"no such service: {name}", hint=f"services: {', '.join(sorted(services))}")
        part[name] = msgspec.structs.replace(part[name], scale=replicas)
    return msgspec.structs.replace(project, services=services, disabled_services=disabled)


def _used_volumes(project: Project) -> tuple[VolumeSpec, ...]:
    keys = {
        volume.source
        for service in project.services.values()
        for volume in service.volumes
        if volume.type == "volume" and volume.source
    }
    return _volume_specs(project, sorted(keys & project.volumes.keys()))


def _volume_specs(project: Project, keys: Iterable[str]) -> tuple[VolumeSpec, ...]:
    return tuple(
        VolumeSpec(
            key=key,
            name=volume.name,
            external=volume.external,
            driver=volume.driver,
            driver_opts=dict(volume.driver_opts),
            labels=dict(volume.labels),
        )
        for key in keys
        if (volume := project.volumes[key])
    )


def plan_down(project: Project | None, observed: Observed, options: DownOptions) -> DownPlan:
    """What a ``down`` has to do; without a project the labels of what exists tell what belongs to it.

    Raises :class:`NotFound` for a service that is unknown.
    """
    scope = observed_scope(options.project_name, observed) if project is None else _scope(project)
    if project is not None:
        for name in options.services:
            project.service(name)
    return plan_down_scope(scope, observed, options)


def _scope(project: Project) -> DownScope:
    return DownScope(
        project=project.name,
        dependencies=dependencies_of(project),
        networks=networking.defined_networks(project),
        volumes=_volume_specs(project, project.volumes),
        images=tuple((s.name, image_of(project, s), not s.image) for s in project.services.values()),
    )


__all__ = [
    "DownOptions",
    "RunOptions",
    "RunPlan",
    "UpOptions",
    "dependencies_of",
    "desired_service",
    "desired_state",
    "identity_of",
    "images_of",
    "plan_down",
    "plan_run",
    "plan_up",
    "service_hash",
    "wanted_images",
]
