"""What a plan is made of: decisions about networks, volumes, images and replicas, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import msgspec

from composer.plan.graph import Condition
from runtime.container.config import ContainerConfig

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, slots=True)
class Keep:
    """The container is as it should be: leave it alone."""

    id: str
    reason: str = "up to date"


@dataclass(frozen=True, slots=True)
class Start:
    """The container exists and is up to date, but does not run."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Create:
    """There is no such container."""

    reason: str = "does not exist"


@dataclass(frozen=True, slots=True)
class Recreate:
    """The container is to be replaced by one made from the present configuration."""

    old_id: str
    reason: str
    anonymous_volumes: Mapping[str, str] = field(default_factory=dict)
    """Mount target -> name of the old container's anonymous volume, to be mounted in the new one."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Stop before the dependency that is recreated, start again after it (``depends_on.restart``)."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Stop and remove, with its anonymous volumes."""

    id: str
    reason: str


Action = Keep | Start | Create | Recreate | Restart | Remove


@dataclass(frozen=True, slots=True)
class WaitFor:
    """What has to be so of another service's replicas before this one starts."""

    service: str
    condition: Condition = "service_started"
    required: bool = True


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """What to do about one container of a service.

    ``config`` is None for ``Remove`` and for kept containers of services that the file no longer has;
    references to containers of other services are symbolic in it (see ``composer.plan.references``).
    ``start``: it is to run afterwards. ``waits`` are empty when nothing is started.
    """

    service: str
    number: int
    name: str
    action: Action
    config: ContainerConfig | None = None
    config_hash: str = ""
    waits: tuple[WaitFor, ...] = ()
    start: bool = True

    @property
    def reason(self) -> str:
        return self.action.reason

    @property
    def is_change(self) -> bool:
        return not isinstance(self.action, Keep)


class NetworkPool(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One address pool of a network (``ipam.config``)."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    aux_addresses: dict[str, str] = {}


class NetworkSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A network as it is to be. ``key`` is its name in the file, ``name`` the full one (``shop_default``)."""

    key: str
    name: str
    external: bool = False
    driver: str = ""
    driver_opts: dict[str, str] = {}
    internal: bool = False
    attachable: bool = False
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    ipam_driver: str = ""
    ipam_options: dict[str, str] = {}
    pools: tuple[NetworkPool, ...] = ()
    labels: dict[str, str] = {}
    """Compose's own included."""


class NetworkPlan(NetworkSpec, frozen=True, kw_only=True):
    """``recreate``: it exists with another configuration; the containers on it are recreated as well."""

    action: Literal["keep", "create", "recreate"]
    reason: str = ""


class VolumeSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A volume as it is to be. ``key`` is its name in the file, ``name`` the full one (``shop_data``)."""

    key: str
    name: str
    external: bool = False
    driver: str = ""
    driver_opts: dict[str, str] = {}
    labels: dict[str, str] = {}
    """Compose's own included."""


class VolumePlan(VolumeSpec, frozen=True, kw_only=True):
    """What to do about a volume. None is ever made anew: that would lose its data."""

    action: Literal["keep", "create"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """An image that services need. ``policy`` is always, missing, never, build, daily, weekly or
    every_<duration>; ``build``: at least one of the services has a ``build`` section."""

    reference: str
    policy: str
    services: tuple[str, ...]
    platform: str = ""
    build: bool = False
    is_automatic: bool = False
    """``x-composer: {build: auto}``: built where an input has changed."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A container of the project whose service the file does not have (any more)."""

    id: str
    name: str
    service: str


@dataclass(frozen=True)
class Plan:
    """Everything that an ``up`` will do. ``replicas`` come in dependency order; removals come first."""

    project: str
    networks: tuple[NetworkPlan, ...] = ()
    volumes: tuple[VolumePlan, ...] = ()
    images: tuple[ImagePlan, ...] = ()
    replicas: tuple[ReplicaPlan, ...] = ()
    stop_first: tuple[tuple[ReplicaPlan, ...], ...] = ()
    """Replicas to be stopped before anything is recreated, since they restart with what they depend on:
    groups one after another, dependents first, the members of a group side by side."""
    orphans: tuple[Orphan, ...] = ()
    """Orphans that stay; those to be removed are in ``replicas``."""
    warnings: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing is to be done: every thing is as it should be."""
        return not (
            any(replica.is_change for replica in self.replicas)
            or any(network.action != "keep" for network in self.networks)
            or any(volume.action != "keep" for volume in self.volumes)
        )

    @cached_property
    def services(self) -> tuple[str, ...]:
        """Services that have a replica here that is not removed, in dependency order."""
        kept = (r.service for r in self.replicas if not isinstance(r.action, Remove))
        return tuple(dict.fromkeys(kept))

    def of_service(self, service: str) -> tuple[ReplicaPlan, ...]:
        """The service's replicas that are not removed, by number."""
        return tuple(r for r in self.replicas if r.service == service and not isinstance(r.action, Remove))

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        """The steps for display: a node is ``network:<name>``, ``volume:<name>``, ``image:<ref>`` or
        ``container:<name>`` with attributes ``action`` and ``reason``; an edge goes from a step to one that
        needs it, with attribute ``condition``. Only steps that change something, and what they wait for."""
        from composer.plan.display import graph_of

        return graph_of(self)


@dataclass(frozen=True, slots=True)
class DownPlan:
    """Everything that a ``down`` removes: ``containers`` in groups to be stopped and removed one after
    another, the members of one side by side. Ids and names."""

    containers: tuple[tuple[Orphan, ...], ...] = ()
    networks: tuple[str, ...] = ()
    busy_networks: tuple[str, ...] = ()
    """Networks that stay because containers that stay are on them."""
    volumes: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    """Orphans that stay."""
    warnings: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.containers or self.networks or self.volumes or self.images)
