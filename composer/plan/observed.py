"""What exists: the containers, networks, volumes and images that a plan starts from, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from composer.plan import labels
from composer.plan.graph import CONDITIONS, Condition
from runtime.container.config import ContainerConfig

State = Literal["created", "running", "paused", "restarting", "exited", "dead", "removing"]
HealthState = Literal["", "starting", "healthy", "unhealthy"]


@dataclass(frozen=True, slots=True)
class ObservedContainer:
    """A container that carries the project's label. ``created`` is nanoseconds since the epoch."""

    id: str
    name: str
    service: str
    number: int = 1
    oneoff: bool = False
    config_hash: str = ""
    image_id: str = ""
    state: State = "created"
    exit_code: int = 0
    health: HealthState = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    """Full name of each network it is connected to -> the network's id ("" when not known)."""
    anonymous_volumes: Mapping[str, str] = field(default_factory=dict)
    """Mount target -> name of the anonymous volume there."""
    created: int = 0
    config: ContainerConfig | None = None
    """What the container was made from, with references resolved; lets a plan say what changed."""

    @classmethod
    def from_labels(
        cls,
        *,
        id: str,
        name: str,
        labels_: Mapping[str, str],
        image_id: str = "",
        state: State = "created",
        exit_code: int = 0,
        health: HealthState = "",
        networks: Mapping[str, str] | None = None,
        anonymous_volumes: Mapping[str, str] | None = None,
        created: int = 0,
        config: ContainerConfig | None = None,
    ) -> ObservedContainer:
        """Read service, number, one-off mark and configuration hash from Compose's labels."""
        number = labels_.get(labels.NUMBER, "")
        return cls(
            id=id,
            name=name,
            service=labels_.get(labels.SERVICE, ""),
            number=int(number) if number.isdecimal() else 0,
            oneoff=labels_.get(labels.ONEOFF, "").lower() == "true",
            config_hash=labels_.get(labels.CONFIG_HASH, ""),
            image_id=image_id,
            state=state,
            exit_code=exit_code,
            health=health,
            labels=labels_,
            networks=networks or {},
            anonymous_volumes=anonymous_volumes or {},
            created=created,
            config=config,
        )

    @property
    def is_running(self) -> bool:
        """There is a process, or there will be one without anybody's doing."""
        return self.state in ("running", "paused", "restarting")

    @property
    def depends_on(self) -> dict[str, tuple[Condition, bool]]:
        """Service -> (condition, restart), as recorded in the label when the container was made."""
        found: dict[str, tuple[Condition, bool]] = {}
        for item in filter(None, self.labels.get(labels.DEPENDS_ON, "").split(",")):
            name, condition, restart = [*item.split(":"), "", ""][:3]
            known: Condition = next((c for c in CONDITIONS if c == condition), "service_started")
            found[name] = (known, restart == "true")
        return found


@dataclass(frozen=True, slots=True)
class ObservedNetwork:
    """``name`` is the full name (``shop_default``)."""

    name: str
    id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def config_hash(self) -> str:
        return self.labels.get(labels.CONFIG_HASH, "")


@dataclass(frozen=True, slots=True)
class ObservedVolume:
    """``name`` is the full name (``shop_data``)."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def config_hash(self) -> str:
        return self.labels.get(labels.CONFIG_HASH, "")


@dataclass(frozen=True, slots=True)
class Observed:
    """The state that a plan starts from.

    ``containers`` are those with the project's label, one-off ones included; ``networks`` and ``volumes`` are
    all that exist, by full name, since external ones belong to nobody; ``images`` maps the references that
    the project names to the ids of the images that are here, and ``images_of_platforms`` those that it names with a
    platform; ``container_names`` maps the names of all containers to their ids, other projects' included.
    """

    containers: tuple[ObservedContainer, ...] = ()
    networks: Mapping[str, ObservedNetwork] = field(default_factory=dict)
    volumes: Mapping[str, ObservedVolume] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    images_of_platforms: Mapping[tuple[str, str], str] = field(default_factory=dict)
    container_names: Mapping[str, str] = field(default_factory=dict)

    def image_id(self, reference: str, platform: str = "") -> str:
        """What a reference means (for a platform); "" when that is not here."""
        if platform and (found := self.images_of_platforms.get((reference, platform))):
            return found
        return self.images.get(reference, "")

    def of_service(self, service: str) -> tuple[ObservedContainer, ...]:
        """The service's replicas (no one-off containers), by number."""
        found = [c for c in self.containers if c.service == service and not c.oneoff]
        return tuple(sorted(found, key=lambda c: (c.number, c.created)))
