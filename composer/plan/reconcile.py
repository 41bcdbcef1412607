"""What to do about each container of one service: observed against desired, without knowing Compose files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from composer.plan.desired import DesiredService, Identity, replica_config
from composer.plan.hash import changed_attributes
from composer.plan.observed import ObservedContainer
from composer.plan.references import PREFIX, SHARED_MODES, references_to
from composer.plan.steps import Action, Create, Keep, Recreate, Remove, ReplicaPlan, Restart, Start
from runtime.container.config import ContainerConfig

RecreatePolicy = Literal["diverged", "force", "never"]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else the decision about one service depends on."""

    policy: RecreatePolicy = "diverged"
    renew_anonymous_volumes: bool = False
    start: bool = True
    network_ids: Mapping[str, str] | None = None
    """Full name -> id of the networks that stay; one that is missing here is about to be made (anew)."""
    changed_networks: frozenset[str] = frozenset()
    """Full names of networks that are recreated."""
    replaced: Mapping[str, str] | None = None
    """Service whose namespaces or volumes may be shared -> why its container will be another one."""
    shared_ids: Mapping[str, str] | None = None
    """Service -> id of its first container, where that stays."""
    restarted: Mapping[str, str] | None = None
    """Service needed with ``restart`` -> what happens to it (a reason to restart)."""


def reconcile_service(
    desired: DesiredService,
    containers: tuple[ObservedContainer, ...],
    identity: Identity,
    given: Circumstances,
) -> tuple[ReplicaPlan, ...]:
    """Decide about all containers of one service: removals first, then replicas by number.

    Scaling down removes those that are out of date first, then the highest numbers; scaling up goes on after
    the highest number, as Docker Compose does.
    """
    live = [c for c in containers if c.state not in ("removing",)]
    reasons = {c.id: _recreate_reason(desired, c, identity, given) for c in live}
    ranked = sorted(live, key=lambda c: (bool(reasons[c.id]), c.number, c.created))
    kept, surplus = ranked[: desired.replicas], ranked[desired.replicas :]
    plans = [_removal(c, desired.replicas) for c in sorted(surplus, key=lambda c: -c.number)]

    replicas: list[ReplicaPlan] = []
    used: set[int] = set()
    highest = max((c.number for c in live), default=0)
    for container in kept:
        number = container.number
        if number < 1 or number in used:
            highest += 1
            number = highest
        used.add(number)
        replicas.append(_existing(desired, container, number, reasons[container.id], identity, given))
    for number in range(highest + 1, highest + 1 + desired.replicas - len(kept)):
        replicas.append(_plan(desired, number, Create(), identity, given.start))
    return (*plans, *sorted(replicas, key=lambda r: r.number))


def _removal(container: ObservedContainer, replicas: int) -> ReplicaPlan:
    reason = f"scaled down to {replicas}"
    return ReplicaPlan(
        container.service, container.number, container.name, Remove(container.id, reason), start=False
    )


def _existing(
    desired: DesiredService,
    container: ObservedContainer,
    number: int,
    reason: str,
    identity: Identity,
    given: Circumstances,
) -> ReplicaPlan:
    action: Action
    if reason:
        action = _recreate(container, reason, given)
        return _plan(desired, number, action, identity, given.start)
    cause = _restart_cause(desired, given)
    if not given.start:
        action = Keep(container.id, "up to date" if container.is_running else "exists")
    elif container.state == "paused":
        action = Keep(container.id, "paused")
    elif container.is_running and cause:
        action = Restart(container.id, cause)
    elif container.is_running:
        action = Keep(container.id)
    else:
        action = Start(container.id, _start_reason(container))
    return _plan(desired, number, action, identity, given.start)


def _recreate(container: ObservedContainer, reason: str, given: Circumstances) -> Recreate:
    carried = {} if given.renew_anonymous_volumes else dict(container.anonymous_volumes)
    return Recreate(container.id, reason, carried)


def _plan(
    desired: DesiredService, number: int, action: Action, identity: Identity, start: bool
) -> ReplicaPlan:
    named = replica_config(desired, identity, number)
    name = identity.container_name(desired.name, number, desired.container_name)
    if isinstance(action, Recreate) and action.anonymous_volumes:
        taken = {mount.target for mount in named.mounts if mount.type != "volume" or mount.source}
        carried = {t: v for t, v in action.anonymous_volumes.items() if t not in taken}
        action = Recreate(action.old_id, action.reason, carried)
    return ReplicaPlan(
        service=desired.name,
        number=number,
        name=name,
        action=action,
        config=named,
        config_hash=desired.config_hash,
        start=start,
    )


def _start_reason(container: ObservedContainer) -> str:
    match container.state:
        case "exited":
            return f"exited with status {container.exit_code}"
        case "dead":
            return "is dead"
        case _:
            return "was never started"


def _restart_cause(desired: DesiredService, given: Circumstances) -> str:
    for need in desired.needs:
        if need.restart and (happened := (given.restarted or {}).get(need.service)):
            return f"{need.service}, which it depends on, is {happened}"
    return ""


def _recreate_reason(
    desired: DesiredService, container: ObservedContainer, identity: Identity, given: Circumstances
) -> str:
    """Why the container has to be replaced, "" when it has not."""
    if given.policy == "never":
        return ""
    if given.policy == "force":
        return "forced"
    if container.config_hash != desired.config_hash:
        return _changed(desired, container, identity)
    if desired.image_id and container.image_id and container.image_id != desired.image_id:
        return f"image changed: {desired.config.image}"
    return _network_changed(desired, container, given) or _shared_changed(desired, container, given)


def _changed(desired: DesiredService, container: ObservedContainer, identity: Identity) -> str:
    number = container.number or 1
    names: tuple[str, ...] = ()
    if container.config is not None:
        new = replica_config(desired, identity, number)
        names = changed_attributes(container.config, new)
        if identity.container_name(desired.name, number, desired.container_name) != container.name:
            names = ("container_name", *(n for n in names if n != "networks"))
    if not names:
        return "configuration changed"
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"configuration changed: {shown}"


def _network_changed(desired: DesiredService, container: ObservedContainer, given: Circumstances) -> str:
    ids = given.network_ids or {}
    for endpoint in desired.config.endpoints:
        name = endpoint.network
        if name in given.changed_networks:
            return f"network changed: {name}"
        if name not in container.networks:
            return f"not connected to network {name}"
        known = container.networks[name]
        if known and known != ids.get(name, ""):
            return f"network was made anew: {name}"
    return ""


def _shared_changed(desired: DesiredService, container: ObservedContainer, given: Circumstances) -> str:
    replaced, ids = given.replaced or {}, given.shared_ids or {}
    present = references_to(container.config) if container.config is not None else None
    for attribute, service in shared_services(desired.config):
        if service in replaced:
            return f"{attribute}: the container of {service} is {replaced[service]}"
        if present is not None and service in ids and ids[service] not in present:
            return f"{attribute}: the container of {service} is another one now"
    return ""


def shared_services(config: ContainerConfig) -> tuple[tuple[str, str], ...]:
    """(attribute, service) for each service whose namespace or volumes a configuration shares."""
    names = {"network_mode": "network_mode", "ipc_mode": "ipc", "pid_mode": "pid"}
    found = [
        (names[attribute], mode[len(PREFIX) :])
        for attribute in SHARED_MODES
        if (mode := str(getattr(config, attribute))).startswith(PREFIX)
    ]
    found += [("volumes_from", v.split(":")[1]) for v in config.volumes_from if v.startswith(PREFIX)]
    return tuple(found)
