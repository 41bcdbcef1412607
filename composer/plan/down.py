"""What ``down`` removes, and the order in which containers are stopped and started."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from composer.plan import labels
from composer.plan.graph import Dependencies, Dependency, layers, stop_layers
from composer.plan.observed import Observed, ObservedContainer
from composer.plan.steps import DownPlan, NetworkSpec, Orphan, VolumeSpec


@dataclass(frozen=True, slots=True)
class DownOptions:
    """Flags of ``down`` (see ``composer.engine.requests.DownRequest``). ``project_name`` counts when there is
    no project (file)."""

    project_name: str = ""
    services: tuple[str, ...] = ()
    volumes: bool = False
    remove_orphans: bool = False
    rmi: Literal["", "local", "all"] = ""


@dataclass(frozen=True, slots=True)
class DownScope:
    """What a project has that ``down`` may remove: its enabled services, networks, volumes and images."""

    project: str
    dependencies: Dependencies
    networks: tuple[NetworkSpec, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()
    images: tuple[tuple[str, str, bool], ...] = ()
    """(service, reference, whether the reference is composer's own because the service has no ``image``)."""


def plan_down_scope(scope: DownScope, observed: Observed, options: DownOptions) -> DownPlan:
    """Decide what a ``down`` removes. As in Docker Compose, containers of services that the file does not
    enable, and one-off containers, stay unless ``remove_orphans``; external networks and volumes always
    stay."""
    chosen = frozenset(options.services or scope.dependencies)
    going = [c for c in observed.containers if not c.oneoff and c.service in chosen]
    ids = {c.id for c in going}
    orphans = [
        c
        for c in observed.containers
        if c.id not in ids and (c.oneoff or c.service not in scope.dependencies)
    ]
    groups = stop_groups(scope.dependencies, going)
    if options.remove_orphans and orphans:
        groups = (tuple(orphans), *groups)
        ids |= {c.id for c in orphans}
    # One that does not run has no endpoint: as in Docker it does not keep its network.
    staying = [c for c in observed.containers if c.id not in ids and c.is_running]
    networks = [n for n in _networks(scope, observed) if not options.services or _is_used_by(n, going)]
    busy = [n for n in networks if _is_used_by(n, staying)]
    return DownPlan(
        containers=tuple(tuple(_named(c) for c in group) for group in groups),
        networks=tuple(n for n in networks if n not in busy),
        busy_networks=tuple(busy),
        volumes=_volumes(scope, observed) if options.volumes else (),
        images=_images(scope, observed, chosen, options),
        orphans=() if options.remove_orphans else tuple(_named(c) for c in orphans),
    )


def _named(container: ObservedContainer) -> Orphan:
    return Orphan(container.id, container.name, container.service)


def _is_used_by(network: str, containers: Iterable[ObservedContainer]) -> bool:
    return any(network in c.networks for c in containers)


def _networks(scope: DownScope, observed: Observed) -> list[str]:
    declared = {n.name for n in scope.networks if not n.external}
    own = {n.name for n in observed.networks.values() if n.labels.get(labels.PROJECT) == scope.project}
    return sorted(
        (declared | own) & observed.networks.keys() - {n.name for n in scope.networks if n.external}
    )


def _volumes(scope: DownScope, observed: Observed) -> tuple[str, ...]:
    """Declared volumes that are this project's: one that something else made is nobody's to remove."""
    return tuple(
        v.name
        for v in scope.volumes
        if not v.external
        and v.name in observed.volumes
        and observed.volumes[v.name].labels.get(labels.PROJECT) == scope.project
    )


def _images(
    scope: DownScope, observed: Observed, chosen: frozenset[str], options: DownOptions
) -> tuple[str, ...]:
    found = (
        reference
        for service, reference, is_local in scope.images
        if options.rmi and service in chosen and reference in observed.images
        if is_local or options.rmi == "all"
    )
    return tuple(dict.fromkeys(found))


def stop_groups(
    dependencies: Dependencies, containers: Iterable[ObservedContainer]
) -> tuple[tuple[ObservedContainer, ...], ...]:
    """Containers in the order of stopping: dependents first, the members of a group side by side. Those of
    services that ``dependencies`` does not have come first."""
    return _in_groups((), stop_layers(dependencies), containers)


def start_groups(
    dependencies: Dependencies, containers: Iterable[ObservedContainer]
) -> tuple[tuple[ObservedContainer, ...], ...]:
    """Containers in the order of starting: what is needed first, the members of a group side by side. Those
    of services that ``dependencies`` does not have come last."""
    return _in_groups(layers(dependencies), (), containers)


def _in_groups(
    before: tuple[tuple[str, ...], ...],
    after: tuple[tuple[str, ...], ...],
    containers: Iterable[ObservedContainer],
) -> tuple[tuple[ObservedContainer, ...], ...]:
    """Group by layer, with services that are in none between ``before`` and ``after``."""
    rank = {service: n for n, layer in enumerate(before) for service in layer}
    rank |= {service: len(before) + 1 + n for n, layer in enumerate(after) for service in layer}
    groups: dict[int, list[ObservedContainer]] = {}
    for container in containers:
        groups.setdefault(rank.get(container.service, len(before)), []).append(container)
    return tuple(tuple(sorted(groups[n], key=lambda c: c.name)) for n in sorted(groups))


def observed_dependencies(observed: Observed) -> Dependencies:
    """The dependencies as the containers' labels tell them: for projects whose file is not at hand (``-p
    name``)."""
    found: dict[str, tuple[Dependency, ...]] = {}
    for container in observed.containers:
        if container.service and not container.oneoff:
            needs = (
                Dependency(service, condition, True, restart)
                for service, (condition, restart) in container.depends_on.items()
            )
            found[container.service] = tuple(needs)
    return found


def observed_scope(project: str, observed: Observed) -> DownScope:
    """What belongs to ``project`` by its labels alone."""
    return DownScope(
        project=project,
        dependencies=observed_dependencies(observed),
        volumes=tuple(
            VolumeSpec(key=v.labels.get(labels.VOLUME, v.name), name=v.name)
            for v in observed.volumes.values()
            if v.labels.get(labels.PROJECT) == project
        ),
    )
