"""An ``up`` as decisions: what is desired against what is observed, service by service in dependency
order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from composer.plan.desired import DesiredService, Identity
from composer.plan.graph import start_order
from composer.plan.observed import Observed, ObservedContainer
from composer.plan.reconcile import Circumstances, RecreatePolicy, reconcile_service, shared_services
from composer.plan.resources import plan_networks, plan_volumes
from composer.plan.steps import (
    Create,
    ImagePlan,
    Keep,
    NetworkPlan,
    NetworkSpec,
    Orphan,
    Plan,
    Recreate,
    Remove,
    ReplicaPlan,
    Restart,
    Start,
    VolumeSpec,
    WaitFor,
)
from runtime.errors import Conflict


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Flags of ``up`` and ``create`` that decide what is done (see
    ``composer.engine.requests.UpRequest``)."""

    services: tuple[str, ...] = ()
    scale: Mapping[str, int] = field(default_factory=dict)
    start: bool = True
    no_deps: bool = False
    always_recreate_deps: bool = False
    force_recreate: bool = False
    no_recreate: bool = False
    renew_anon_volumes: bool = False
    remove_orphans: bool = False
    pull: str = ""


@dataclass(frozen=True, slots=True)
class Desired:
    """What a project asks for, as far as one command is about it.

    ``services`` are those selected and, unless told otherwise, what they need; ``selected`` those that were
    named (or all); ``known_services`` all that the file has, disabled ones included.
    """

    identity: Identity
    services: Mapping[str, DesiredService]
    selected: frozenset[str] = frozenset()
    known_services: frozenset[str] = frozenset()
    networks: tuple[NetworkSpec, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()
    images: tuple[ImagePlan, ...] = ()


def plan_desired(desired: Desired, observed: Observed, options: UpOptions) -> Plan:
    """Decide everything that an ``up`` does. Raises ``NotFound`` for a missing external network or volume,
    ``Conflict`` for a container name that something else has, ``CycleError``."""
    warnings: list[str] = []
    project = desired.identity.project
    networks = plan_networks(desired.networks, observed.networks, project, warnings)
    volumes = plan_volumes(desired.volumes, observed.volumes, project, warnings)
    needs = {name: service.needs for name, service in desired.services.items()}

    progress = _Progress(desired, observed, options, networks)
    order = start_order(needs)
    for service in order:
        progress.decide(service)
    orphans = find_orphans(observed, desired.known_services)
    removed: tuple[ReplicaPlan, ...] = ()
    if options.remove_orphans:
        removed = tuple(
            ReplicaPlan(o.service, 0, o.name, Remove(o.id, "orphan"), start=False) for o in orphans
        )
    elif orphans:
        warnings.append(orphan_warning(orphans))
    removed += tuple(r for r in progress.replicas if isinstance(r.action, Remove))
    replicas = tuple(r for r in progress.replicas if not isinstance(r.action, Remove))
    _check_names(replicas, removed, observed)
    warnings += _port_warnings(desired)
    return Plan(
        project=project,
        networks=networks,
        volumes=volumes,
        images=desired.images,
        replicas=removed + replicas,
        stop_first=_stop_first(replicas, desired, order, observed),
        orphans=() if options.remove_orphans else orphans,
        warnings=tuple(warnings),
    )


class _Progress:
    """Services decided so far, and what that means for those that need them."""

    def __init__(
        self, desired: Desired, observed: Observed, options: UpOptions, networks: Sequence[NetworkPlan]
    ) -> None:
        self._desired = desired
        self._observed = observed
        self._options = options
        self._network_ids = {
            n.name: observed.networks[n.name].id
            for n in networks
            if n.action == "keep" and n.name in observed.networks
        }
        self._changed_networks = frozenset(n.name for n in networks if n.action == "recreate")
        self._replaced: dict[str, str] = {}
        self._shared_ids = {
            service: containers[0].id
            for service in {c.service for c in observed.containers}
            if (containers := observed.of_service(service))
        }
        self._restarted: dict[str, str] = {}
        self._started: set[str] = set()
        self.replicas: list[ReplicaPlan] = []

    def decide(self, name: str) -> None:
        service = self._desired.services[name]
        shared = {shared for _, shared in shared_services(service.config)}
        restarted = self._restarted | dict.fromkeys(shared & self._started, "started again")
        plans = reconcile_service(
            service,
            self._observed.of_service(name),
            self._desired.identity,
            Circumstances(
                policy=self._policy(name),
                renew_anonymous_volumes=self._options.renew_anon_volumes,
                start=self._options.start,
                network_ids=self._network_ids,
                changed_networks=self._changed_networks,
                replaced=self._replaced,
                shared_ids=self._shared_ids,
                restarted=restarted,
            ),
        )
        self._learn(name, [p for p in plans if not isinstance(p.action, Remove)])
        self.replicas += [self._with_waits(plan, service) for plan in plans]

    def _policy(self, name: str) -> RecreatePolicy:
        if self._options.no_recreate:
            return "never"
        is_selected = name in self._desired.selected
        # A volume is only ever renewed with its container: Docker Compose takes -V as --force-recreate.
        is_forced = self._options.force_recreate or self._options.renew_anon_volumes
        if not is_selected:
            is_forced = self._options.always_recreate_deps
        return "force" if is_forced else "diverged"

    def _learn(self, name: str, plans: Sequence[ReplicaPlan]) -> None:
        if not plans:
            return
        match plans[0].action:
            case Recreate():
                self._replaced[name] = "recreated"
            case Create():
                self._replaced[name] = "a new one"
            case Start():
                self._started.add(name)
                self._shared_ids[name] = plans[0].action.id
            case Keep(id=kept) | Restart(id=kept):
                self._shared_ids[name] = kept
            case _:
                pass
        actions = [p.action for p in plans]
        if any(isinstance(a, Recreate) for a in actions):
            self._restarted[name] = "recreated"
        elif any(isinstance(a, Restart) for a in actions):
            self._restarted[name] = "restarted"

    def _with_waits(self, plan: ReplicaPlan, service: DesiredService) -> ReplicaPlan:
        if not plan.start or isinstance(plan.action, Keep | Remove):
            return plan
        waits = tuple(
            WaitFor(need.service, need.condition, need.required)
            for need in service.needs
            if (needed := self._desired.services.get(need.service)) and needed.replicas > 0
        )
        return replace(plan, waits=waits)


def find_orphans(observed: Observed, known_services: frozenset[str]) -> tuple[Orphan, ...]:
    """Containers of services that the file does not have, and one-off containers that have ended; newest
    first."""
    found = [c for c in observed.containers if _is_orphan(c, known_services)]
    return tuple(Orphan(c.id, c.name, c.service) for c in sorted(found, key=lambda c: (-c.created, c.name)))


def _is_orphan(container: ObservedContainer, known_services: frozenset[str]) -> bool:
    if container.oneoff:
        return container.state in ("exited", "dead")
    return container.service not in known_services


def orphan_warning(orphans: Sequence[Orphan]) -> str:
    """Docker Compose's words."""
    return (
        f"Found orphan containers ([{' '.join(o.name for o in orphans)}]) for this project. "
        "If you removed or renamed this service in your compose file, "
        "you can run this command with the --remove-orphans flag to clean it up."
    )


def _stop_first(
    replicas: Sequence[ReplicaPlan], desired: Desired, order: Sequence[str], observed: Observed
) -> tuple[tuple[ReplicaPlan, ...], ...]:
    running = {c.id for c in observed.containers if c.is_running}
    recreated = {r.service for r in replicas if isinstance(r.action, Recreate)}
    groups: list[tuple[ReplicaPlan, ...]] = []
    for service in reversed(order):
        follows = any(n.restart and n.service in recreated for n in desired.services[service].needs)
        group = tuple(
            r
            for r in replicas
            if r.service == service
            and (
                isinstance(r.action, Restart)
                or (isinstance(r.action, Recreate) and follows and r.action.old_id in running)
            )
        )
        groups += [group] if group else []
    return tuple(groups)


def _check_names(replicas: Sequence[ReplicaPlan], removed: Sequence[ReplicaPlan], observed: Observed) -> None:
    """Raise ``Conflict`` when a new container's name belongs to something that stays."""
    going = {r.action.id for r in removed if isinstance(r.action, Remove)}
    going |= {r.action.old_id for r in replicas if isinstance(r.action, Recreate)}
    taken: dict[str, str] = {}
    for replica in replicas:
        other = taken.setdefault(replica.name, replica.service)
        if other != replica.service:
            raise Conflict(
                f'services.{replica.service}.container_name: "{replica.name}" is the container name '
                f"of service {other} as well",
                hint="give each its own container_name, or none",
            )
        owner = observed.container_names.get(replica.name)
        if isinstance(replica.action, Create | Recreate) and owner and owner not in going:
            raise Conflict(
                f'services.{replica.service}: the container name "{replica.name}" is already in use '
                f"by container {owner[:12]}",
                hint=f"remove it (composer container rm {replica.name}), or use another container_name",
            )


def _port_warnings(desired: Desired) -> list[str]:
    found: list[str] = []
    users: dict[tuple[str, int, str], str] = {}
    for service in desired.services.values():
        found += [f"{service.name}: {text}" for text in service.config.warnings]
        fixed = [p for p in service.config.ports if p.host_port and not p.host_port_end]
        if fixed and service.replicas > 1:
            found.append(
                f'The "{service.name}" service specifies a port on the host. If multiple containers '
                "for this service are created on a single host, the port will clash."
            )
        for port in fixed:
            other = users.setdefault((port.host_ip, port.host_port, port.protocol), service.name)
            if other != service.name:
                found.append(
                    f'The services "{other}" and "{service.name}" both publish port '
                    f"{port.host_port}/{port.protocol} of the host: only one of them can run at a time."
                )
    return found
