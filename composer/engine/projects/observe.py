"""From the engine's state to the values that planning starts from."""

from __future__ import annotations

from collections.abc import Iterable

from composer.engine.containers import Container
from composer.engine.projects.parts import Parts
from composer.plan.observed import Observed, ObservedContainer, ObservedNetwork, ObservedVolume
from runtime.errors import InvalidArgument


def observe_container(container: Container) -> ObservedContainer:
    record = container.record
    state = container.state
    return ObservedContainer.from_labels(
        id=container.id,
        name=container.name,
        labels_=container.config.labels,
        image_id=record.image_id,
        state=state.status,
        exit_code=state.exit_code,
        health=state.health.status if state.health else "",
        networks={name: endpoint.network_id for name, endpoint in record.endpoints.items()},
        anonymous_volumes={
            target: name for target, name in record.volumes.items() if name in record.anonymous
        },
        created=record.created,
    )


def observe(project: str, references: Iterable[tuple[str, str]], parts: Parts) -> Observed:
    """What exists of ``project``, and all that it may refer to: ``references`` with a platform or ""."""
    images: dict[str, str] = {}
    of_platforms: dict[tuple[str, str], str] = {}
    for reference, platform in references:
        try:
            image = parts.images.resolve(reference)
            own = parts.images.resolve(reference, platform) if platform else None
        except InvalidArgument:
            continue  # no image has such a name; what exists can be taken down all the same
        if image is not None:
            images[reference] = image.id
        if own is not None:
            of_platforms[reference, platform] = own.id
    return Observed(
        containers=tuple(observe_container(c) for c in parts.of_project(project)),
        networks={
            n.name: ObservedNetwork(name=n.name, id=n.id, labels=n.labels) for n in parts.networks.list()
        },
        volumes={v.name: ObservedVolume(name=v.name, labels=v.labels) for v in parts.volumes.list()},
        images=images,
        images_of_platforms=of_platforms,
        container_names={c.name: c.id for c in parts.containers.all()},
    )
