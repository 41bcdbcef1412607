"""Which networks and volumes to make, keep or make anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from composer.plan import labels
from composer.plan.hash import digest_of
from composer.plan.observed import ObservedNetwork, ObservedVolume
from composer.plan.steps import NetworkPlan, NetworkSpec, VolumePlan, VolumeSpec
from runtime.errors import NotFound

PREDEFINED_NETWORKS = ("bridge", "host", "none")


def labelled_network(spec: NetworkSpec, project: str) -> NetworkSpec:
    """``spec`` with Compose's labels, its hash among them."""
    own = {
        labels.PROJECT: project,
        labels.NETWORK: spec.key,
        labels.CONFIG_HASH: digest_of(spec),
        labels.VERSION: labels.COMPOSE_VERSION,
    }
    return spec if spec.external else msgspec.structs.replace(spec, labels=spec.labels | own)


def labelled_volume(spec: VolumeSpec, project: str) -> VolumeSpec:
    """``spec`` with Compose's labels, its hash among them."""
    own = {
        labels.PROJECT: project,
        labels.VOLUME: spec.key,
        labels.CONFIG_HASH: digest_of(spec),
        labels.VERSION: labels.COMPOSE_VERSION,
    }
    return spec if spec.external else msgspec.structs.replace(spec, labels=spec.labels | own)


def plan_networks(
    wanted: Iterable[NetworkSpec], present: Mapping[str, ObservedNetwork], project: str, warnings: list[str]
) -> tuple[NetworkPlan, ...]:
    """Decide about each network; warnings are added to ``warnings``.

    Raises :class:`NotFound` for an external one that does not exist.
    """
    return tuple(
        _plan_network(labelled_network(spec, project), present, project, warnings) for spec in wanted
    )


def _plan_network(
    spec: NetworkSpec, present: Mapping[str, ObservedNetwork], project: str, warnings: list[str]
) -> NetworkPlan:
    found = present.get(spec.name)
    if spec.external:
        if found is None and spec.name not in PREDEFINED_NETWORKS:
            raise NotFound(
                f"network {spec.name} declared as external, but could not be found",
                hint=f"make it: composer network create {spec.name}",
            ).pointing_at(f"networks.{spec.key}")
        return _network(spec, "keep")
    if found is None:
        return _network(spec, "create", "does not exist")
    owner = found.labels.get(labels.PROJECT)
    if owner != project:
        made = "by compose" if owner is None else f'for project "{project}"'
        warnings.append(
            f"a network with name {spec.name} exists but was not created {made}.\n"
            "Set `external: true` to use an existing network"
        )
        return _network(spec, "keep")
    if found.config_hash and found.config_hash != spec.labels[labels.CONFIG_HASH]:
        return _network(spec, "recreate", "configuration changed")
    return _network(spec, "keep")


def plan_volumes(
    wanted: Iterable[VolumeSpec], present: Mapping[str, ObservedVolume], project: str, warnings: list[str]
) -> tuple[VolumePlan, ...]:
    """Decide about each volume; warnings are added to ``warnings``. A volume is never made anew: that loses
    data.

    Raises :class:`NotFound` for an external one that does not exist.
    """
    labelled = (labelled_volume(spec, project) for spec in wanted)
    return tuple(_plan_volume(spec, present, project, warnings) for spec in labelled)


def _plan_volume(
    spec: VolumeSpec, present: Mapping[str, ObservedVolume], project: str, warnings: list[str]
) -> VolumePlan:
    found = present.get(spec.name)
    if spec.external:
        if found is None:
            raise NotFound(
                f'external volume "{spec.name}" not found',
                hint=f"make it: composer volume create {spec.name}",
            ).pointing_at(f"volumes.{spec.key}")
        return _volume(spec, "keep")
    if found is None:
        return _volume(spec, "create", "does not exist")
    owner = found.labels.get(labels.PROJECT)
    use = "Use `external: true` to use an existing volume"
    if owner is None:
        warnings.append(f'volume "{spec.name}" already exists but was not created by Docker Compose. {use}')
    elif owner != project:
        warnings.append(
            f'volume "{spec.name}" already exists but was created for project "{owner}" '
            f'(expected "{project}"). {use}'
        )
    elif found.config_hash and found.config_hash != spec.labels[labels.CONFIG_HASH]:
        warnings.append(
            f'Volume "{spec.name}" exists but doesn\'t match configuration in compose file. It is kept; '
            f"to have it made anew (its data will be lost): composer volume rm {spec.name}"
        )
    return _volume(spec, "keep")


def _network(
    spec: NetworkSpec, action: Literal["keep", "create", "recreate"], reason: str = ""
) -> NetworkPlan:
    return NetworkPlan(**msgspec.structs.asdict(spec), action=action, reason=reason)


def _volume(spec: VolumeSpec, action: Literal["keep", "create"], reason: str = "") -> VolumePlan:
    return VolumePlan(**msgspec.structs.asdict(spec), action=action, reason=reason)
