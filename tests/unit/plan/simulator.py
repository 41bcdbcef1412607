"""Applying a plan to observed state, purely: what the engine would leave behind."""

from __future__ import annotations

import itertools
from dataclasses import replace

from composer.plan.observed import Observed, ObservedContainer, ObservedNetwork, ObservedVolume
from composer.plan.references import referenced_services, resolve_references
from composer.plan.steps import Create, Keep, Plan, Recreate, Remove, ReplicaPlan, Restart, Start

_ids = itertools.count(1)


def apply_plan(plan: Plan, observed: Observed, *, run: bool = True) -> Observed:
    """The state after ``plan``; every container that is started stays running."""
    networks, volumes = dict(observed.networks), dict(observed.volumes)
    for network in plan.networks:
        if network.action != "keep":
            networks[network.name] = ObservedNetwork(network.name, f"net{next(_ids)}", network.labels)
    for volume in plan.volumes:
        if volume.action == "create":
            volumes[volume.name] = ObservedVolume(volume.name, volume.labels)
    containers = {c.id: c for c in observed.containers}
    observed = replace(observed, networks=networks, volumes=volumes)
    first: dict[str, str] = {}
    for replica in plan.replicas:
        match replica.action:
            case Remove(id=id):
                del containers[id]
                continue
            case Keep(id=id):
                pass
            case Start(id=id) | Restart(id=id):
                containers[id] = replace(containers[id], state="running")
            case Create():
                id = _make(replica, observed, containers, first, {}, run)
            case Recreate(old_id=old, anonymous_volumes=carried):
                del containers[old]
                id = _make(replica, observed, containers, first, dict(carried), run)
        first.setdefault(replica.service, id)
    return replace(
        observed,
        containers=tuple(containers.values()),
        container_names={c.name: c.id for c in containers.values()},
    )


def _make(
    replica: ReplicaPlan,
    observed: Observed,
    containers: dict[str, ObservedContainer],
    first: dict[str, str],
    carried: dict[str, str],
    run: bool,
) -> str:
    assert replica.config is not None
    for service in referenced_services(replica.config):
        first.setdefault(service, next((c.id for c in containers.values() if c.service == service), ""))
    config = resolve_references(replica.config, first)
    serial = next(_ids)
    anonymous = {
        m.target: carried.get(m.target, f"anon{serial}-{m.target}")
        for m in config.mounts
        if m.type == "volume" and not m.source
    }
    for endpoint in config.endpoints:
        assert endpoint.network in observed.networks
    container = ObservedContainer.from_labels(
        id=f"id{serial}",
        name=replica.name,
        labels_=config.labels,
        image_id=observed.images.get(config.image, ""),
        state="running" if replica.start and run else "created",
        networks={e.network: observed.networks[e.network].id for e in config.endpoints},
        anonymous_volumes=anonymous,
        created=serial,
        config=config,
    )
    containers[container.id] = container
    return container.id
