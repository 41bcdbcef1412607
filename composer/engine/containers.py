"""The containers that exist: creating, finding, renaming and forgetting them. What makes them run is in lifecycle."""

from __future__ import annotations

import builtins
import os
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import trio
from msgspec.structs import replace

from composer.engine.cells import Cell, first_of
from composer.engine.events import Events
from composer.engine.health import merge_healthcheck
from composer.engine.lost_records import OwnCopy
from composer.engine.model import ContainerRecord, Endpoint, MountPoint, PublishedPort, Status
from composer.engine.records import Records
from composer.engine.volumes import Volumes
from runtime.build.worker.labels import is_inner
from runtime.container.config import ContainerConfig, FileContent, Healthcheck, ImageConfig, Mount
from runtime.container.config_rules import check_container_name
from runtime.container.shim_client import AttachStreams, Shim
from runtime.container.spec import effective_command
from runtime.crash_points import crash_point
from runtime.errors import Conflict, InvalidArgument, NotFound
from runtime.storage.paths import Paths
from runtime.storage.state import StateDatabase


@dataclass
class PendingAttach:
    """Streams waiting for a container that is yet to be started, so that nothing it writes first is missed."""

    streams: AttachStreams

    def close(self) -> None:
        """Close our duplicates, once the shim has its own or will never have."""
        for fd in (self.streams.stdin, self.streams.stdout, self.streams.stderr):
            if fd is not None:
                os.close(fd)


class Container:
    """One container: its record, its state as a cell, and the shim while it runs.

    ``busy`` serialises what changes the container; ``status`` may be read and waited for by anyone.
    """

    def __init__(
        self,
        record: ContainerRecord,
        image: ImageConfig,
        store: Records[ContainerRecord],
        copy: OwnCopy,
    ) -> None:
        self._store = store
        self._copy = copy
        self.record = record
        self.image = image
        self.status: Cell[Status] = Cell(record.status)
        self.busy = trio.Lock()
        self.ending: Cell[Literal["", "hooks", "signal"]] = Cell("")
        """What who has ``busy`` gives the container time for, when it is to end."""
        self.shim: Shim | None = None
        self.pause_before_restart: trio.CancelScope | None = None
        self.ends_pause = False
        """Who has ``busy`` waits for the container not to be restarted."""
        self.waiters: int = 0
        """How many wait for this container to become ready; while any does, probes come early."""
        self.wanted_news = trio.Event()
        self.execs: set[str] = set()
        self.pending_attach: list[PendingAttach] = []
        """Streams to be connected before the first byte is written."""
        self.is_removed = trio.Event()
        self.unrecorded: tuple[tuple[str, ...], tuple[FileContent, ...]] = ((), ())
        """Variables and files that its program gets, and no record has: secrets of a build's step."""

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def config(self) -> ContainerConfig:
        return self.record.config

    @property
    def image_id(self) -> str:
        return self.record.image_id

    @property
    def image_ref(self) -> str:
        return self.record.image_ref

    @property
    def created(self) -> int:
        return self.record.created

    @property
    def state(self) -> Status:
        return self.status.value

    @property
    def uptime(self) -> float:
        """Seconds since its last start, also when the clock was set since then; 0 when it does not run."""
        return 0.0 if self.shim is None else self.shim.uptime

    @property
    def is_to_stop(self) -> bool:
        """Whether there is something to stop: it runs, or is about to once the engine has taken up what is there."""
        return not self.state.is_settled or self.record.is_wanted

    @property
    def is_remnant(self) -> bool:
        """Its record was lost; see :mod:`composer.engine.lost_records`."""
        return not self.record.image_id

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        return self.record.endpoints

    @property
    def ports(self) -> tuple[PublishedPort, ...]:
        return self.record.ports

    @property
    def labels(self) -> dict[str, str]:
        return {**self.image.labels, **self.config.labels}

    @property
    def healthcheck(self) -> Healthcheck | None:
        """The check that holds, from the configuration and the image."""
        return merge_healthcheck(self.config.healthcheck, self.image.healthcheck)

    @property
    def command_line(self) -> str:
        """What runs, as one line for people."""
        try:
            first, *rest = effective_command(self.config, self.image)
            return " ".join([first, *(f"'{word}'" if " " in word else word for word in rest)])
        except InvalidArgument:
            return ""

    async def wait(self, condition: str = "not-running") -> int:
        """Wait as Docker's wait does: ``not-running``, ``next-exit`` or ``removed``. Returns the exit code."""
        if condition == "removed":  # or what should have removed it could not
            await first_of(self.is_removed.wait, partial(self.status.wait_for, lambda s: s.status == "dead"))
            return self.state.exit_code
        if condition == "next-exit":
            before = self.state.finished_at
            status = await self.status.wait_for(
                lambda s: s.finished_at != before and s.status in ("exited", "restarting", "removing")
            )
        else:
            status = await self.status.wait_for(lambda s: s.status not in ("running", "paused", "restarting"))
        return status.exit_code

    @property
    def exposed_ports(self) -> list[tuple[int, str]]:
        """Ports that the image or the configuration names without publishing them."""
        found: dict[tuple[int, str], None] = {}
        for text in (*self.image.exposed_ports, *self.config.expose):
            number, _, protocol = text.partition("/")
            first, _, last = number.partition("-")
            if first.isdecimal() and (not last or last.isdecimal()):
                for port in range(int(first), int(last or first) + 1):
                    found[port, protocol or "tcp"] = None
        return list(found)

    @property
    def attributes(self) -> dict[str, str]:
        """What events say about this container."""
        return {**self.labels, "image": self.image_ref, "name": self.name}

    def update(self, **changes: object) -> None:
        """Write changed fields of the record."""
        self.save(_replace(self.record, **changes))

    def save(self, record: ContainerRecord) -> None:
        if record == self.record:
            return  # written already
        before, self.record = self.record, self._store.put(record.id, record, is_fact=True)
        # How a run has ended, the container's directory says by itself.
        is_started = record.status.is_alive > before.status.is_alive
        if is_started or record != _replace(before, status=record.status):
            self._copy.keep(record, is_started=is_started)

    def set_status(self, status: Status, *, is_lasting: bool = True) -> None:
        """Show a new state; ``is_lasting`` also writes it (health changes, for instance, are not)."""
        if is_lasting:
            self.save(_replace(self.record, status=status))
        self.status.set(status)

    def want_readiness(self) -> _Wanted:
        """A context in which somebody waits for this container, so that probes come when there is news."""
        return _Wanted(self)


class _Wanted:
    def __init__(self, container: Container) -> None:
        self._container = container

    def __enter__(self) -> None:
        self._container.waiters += 1
        self._container.wanted_news.set()

    def __exit__(self, *_: object) -> None:
        self._container.waiters -= 1


def _replace(record: ContainerRecord, **changes: object) -> ContainerRecord:
    return replace(record, **changes)


@dataclass
class Containers:
    """All containers, by id and by name."""

    database: StateDatabase
    paths: Paths
    events: Events
    image_config: Callable[[str], ImageConfig | None]
    """Image id -> what containers inherit; None when the image is gone."""
    on_forgotten: Callable[[], None] = lambda: None
    """Called when a container is gone."""
    _by_id: dict[str, Container] = field(default_factory=dict)
    _by_name: dict[str, Container] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._records = Records(self.database, "container", ContainerRecord)

    def follow(self, told: Callable[[ContainerRecord | None, ContainerRecord | None], None]) -> None:
        """Have somebody told of every record there is, and of every change of one: (before, after)."""
        for record in self._records.values():
            told(None, record)
        self._records.on_change = told

    def load(self) -> None:
        """Take up what the database holds."""
        for record in self._records.values():
            self._enter(self._container(record, self.image_config(record.image_id) or ImageConfig()))

    def _container(self, record: ContainerRecord, image: ImageConfig) -> Container:
        return Container(record, image, self._records, OwnCopy(self.database, self.paths))

    def _enter(self, container: Container) -> None:
        self._by_id[container.id] = container
        self._by_name[container.name] = container

    def add(
        self,
        config: ContainerConfig,
        name: str,
        *,
        image_id: str,
        image: ImageConfig,
        volumes: Volumes,
        endpoints: dict[str, Endpoint],
        carried: dict[str, str] | None = None,
        container_id: str = "",
    ) -> Container:
        """Enter a new container. ``carried`` maps mount targets to anonymous volumes to be used again."""
        if name:
            self.check_name(name)
        container_id = container_id or secrets.token_hex(32)
        if container_id in self._by_id:
            raise Conflict(f"there is a container with the id {container_id}")
        name = name or f"container-{container_id[:8]}"
        made: builtins.list[str] = []
        try:
            # All of it or nothing: an anonymous volume without its container would stay for ever.
            with self.database.transaction():
                named, anonymous = self._volumes_of(config, image, volumes, carried or {}, made)
                crash_point("core.create.volumes")
                record = ContainerRecord(
                    id=container_id,
                    name=name,
                    created=time.time_ns(),
                    config=config,
                    image_id=image_id,
                    image_ref=config.image,
                    endpoints=endpoints,
                    volumes=named,
                    anonymous=anonymous,
                )
                self._records.put(container_id, record)
        except BaseException:
            self._records.drop(container_id)
            for volume in made:
                volumes.unmake(volume)
            raise
        crash_point("core.create.recorded")
        container = self._container(record, image)
        self._enter(container)
        self.events.publish("container", "create", container_id, container.attributes)
        return container

    def _volumes_of(
        self,
        config: ContainerConfig,
        image: ImageConfig,
        volumes: Volumes,
        carried: dict[str, str],
        made: builtins.list[str],
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """Make the volumes that the container needs: mount target -> name, and which of them are anonymous. Names of
        those that were not there are added to ``made``."""
        by_target: dict[str, str] = {}
        anonymous: list[str] = []
        asked = {mount.target for mount in config.mounts} | set(self.inherited_mounts(config))
        declared = tuple(
            Mount(type="volume", target=target) for target in image.volumes if target.rstrip("/") not in asked
        )
        for mount in (*config.mounts, *declared):
            if mount.type != "volume":
                continue
            if mount.source:
                is_new = volumes.find(mount.source) is None
                by_target[mount.target] = volumes.create(mount.source).name
                if is_new:
                    made.append(mount.source)
                continue
            again = carried.get(mount.target)
            if again is None or volumes.find(again) is None:
                again = volumes.create(labels={**mount.labels, "com.docker.volume.anonymous": ""}).name
                made.append(again)
            by_target[mount.target] = again
            anonymous.append(again)
        return by_target, tuple(anonymous)

    def inherited_mounts(self, config: ContainerConfig) -> dict[str, Mount]:
        """What ``volumes_from`` brings: target -> mount. A donor hands on what it has from others."""
        found: dict[str, Mount] = {}
        for entry in config.volumes_from:
            ref, _, mode = entry.rpartition(":") if entry.endswith((":ro", ":rw")) else (entry, "", "")
            donor = self.get(ref.removeprefix("container:"))
            for target, mount in self.inherited_mounts(donor.config).items():
                found[target] = replace(mount, read_only=mode == "ro" or mount.read_only)
            for target, name in donor.record.volumes.items():
                read_only = mode == "ro" or any(
                    m.read_only for m in donor.config.mounts if m.target == target
                )
                found[target] = Mount(type="volume", source=name, target=target, read_only=read_only)
            for mount in donor.config.mounts:
                if mount.type == "bind":
                    found[mount.target] = Mount(
                        type="bind",
                        source=mount.source,
                        target=mount.target,
                        read_only=mode == "ro" or mount.read_only,
                        propagation=mount.propagation,
                    )
        return found

    def check_name(self, name: str) -> None:
        check_container_name(name)
        if holder := self._by_name.get(name):
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{holder.id}". You have to '
                "remove (or rename) that container to be able to reuse that name."
            )

    def get(self, ref: str) -> Container:
        """By id, name or an unambiguous beginning of the id."""
        ref = ref.removeprefix("/")
        if found := self._by_id.get(ref) or self._by_name.get(ref):
            return found
        matches = [c for c in self._by_id.values() if ref and c.id.startswith(ref)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise InvalidArgument(f"Multiple IDs found with provided prefix: {ref}")
        raise NotFound(f"No such container: {ref}")

    def find_id(self, container_id: str) -> Container | None:
        """The one with this whole id."""
        return self._by_id.get(container_id)

    def find_name(self, name: str) -> Container | None:
        return self._by_name.get(name)

    def all(self) -> list[Container]:
        return list(self._by_id.values())

    def list(self, all: bool = False) -> Iterable[Container]:
        """Newest first; only those with a process unless ``all``. Those of builds' steps are not told of."""
        chosen = [
            c
            for c in self._by_id.values()
            if (all or c.state.status in ("running", "paused", "restarting"))
            and not is_inner(c.config.labels)
        ]
        return sorted(chosen, key=lambda c: c.created, reverse=True)

    def rename(self, ref: str, name: str) -> None:
        container = self.get(ref)
        if name.removeprefix("/") == container.name:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        self.check_name(name)
        old = container.name
        container.update(name=name)
        del self._by_name[old]
        self._by_name[name] = container
        self.events.publish(
            "container", "rename", container.id, {**container.attributes, "oldName": f"/{old}"}
        )

    def forget(self, container: Container) -> None:
        """Drop the record: the last step of a removal."""
        self._records.delete(container.id)
        crash_point("core.remove.forgotten")
        self._by_id.pop(container.id, None)
        self._by_name.pop(container.name, None)
        container.is_removed.set()
        container.status.set(container.state)
        self.on_forgotten()
        self.events.publish("container", "destroy", container.id, container.attributes)

    def volume_users(self, name: str) -> builtins.list[str]:
        """Names of the containers that use a volume, without those that are being removed."""
        return [
            c.name
            for c in self._by_id.values()
            if name in c.record.volumes.values() and c.state.status != "removing"
        ]

    def mount_points(self, container: Container, volumes: Volumes) -> tuple[MountPoint, ...]:
        """The container's mounts as people see them."""
        points: list[MountPoint] = []
        for mount in (*container.config.mounts, *self.inherited_mounts(container.config).values()):
            if mount.type == "volume":
                continue
            points.append(
                MountPoint(
                    type=mount.type,
                    source=mount.source,
                    target=mount.target,
                    read_only=mount.read_only,
                    propagation=mount.propagation or ("rprivate" if mount.type == "bind" else ""),
                )
            )
        read_only = {m.target for m in container.config.mounts if m.read_only}
        lent = {
            target: mount.source
            for target, mount in self.inherited_mounts(container.config).items()
            if mount.type == "volume"
        }
        read_only |= {m.target for m in self.inherited_mounts(container.config).values() if m.read_only}
        for target, name in {**lent, **container.record.volumes}.items():
            source = volumes.location(name) if volumes.find(name) else ""
            points.append(
                MountPoint(
                    type="volume", source=source, target=target, name=name, read_only=target in read_only
                )
            )
        return tuple(points)
