"""Containers as the API asks for them: one object for everything that can be done with one."""

from __future__ import annotations

import builtins
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import trio
from msgspec.structs import replace

from composer.engine.attach import Attaching, Observation
from composer.engine.container_files import ContainerFiles, Send
from composer.engine.containers import Container, Containers
from composer.engine.lifecycle import Lifecycle
from composer.engine.logs import ContainerLogs
from composer.engine.model import ContainerRecord, MountPoint
from composer.engine.networking.networks import Networks
from composer.engine.streams import Streams
from composer.engine.volumes import Volumes
from runtime.container.config import LIFTED, ContainerConfig, Resources, RestartPolicy
from runtime.container.confinement import SecurityOptions, choose_apparmor
from runtime.container.host_facts import HostFacts
from runtime.container.logs import LogEntry
from runtime.container.spec import check_config
from runtime.crash_points import crash_point
from runtime.errors import InvalidArgument, NotFound
from runtime.image.host import REFERENCE
from runtime.image.model import Image
from runtime.image.platform import Platform, parse_platform, preferred
from runtime.image.reference import parse_reference
from runtime.image.store import ImageStore
from runtime.kernel.cgroups import Cgroups
from runtime.kernel.signals import parse_signal
from runtime.storage.paths import Paths

_ID = re.compile("[0-9a-f]{64}")


class ContainerView:
    """A container with what only the engine as a whole knows about it; everything else is the container's."""

    def __init__(self, container: Container, operations: ContainerOperations) -> None:
        self._container = container
        self._operations = operations

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    @property
    def mounts(self) -> Sequence[MountPoint]:
        return self._operations.containers.mount_points(self._container, self._operations.volumes)

    @property
    def apparmor_profile(self) -> str:
        """What its processes are executed under; "" on a machine without AppArmor."""
        host, config = self._operations.host, self._container.config
        if not host.has_apparmor:
            return ""
        asked = SecurityOptions.parse(config.security_opt).apparmor
        return choose_apparmor(asked, host, privileged=config.privileged) or "unconfined"

    @property
    def log_path(self) -> str:
        return str(self._operations.paths.container(self._container.id) / "log")

    @property
    def files_path(self) -> str:
        return str(self._operations.paths.container_run(self._container.id))


@dataclass
class ContainerOperations:
    """What the API calls ``engine.containers``."""

    containers: Containers
    lifecycle: Lifecycle
    networks: Networks
    volumes: Volumes
    images: ImageStore
    container_logs: ContainerLogs
    attaching: Attaching
    observation: Observation
    cgroups: Cgroups
    paths: Paths
    host: HostFacts
    files: ContainerFiles
    named_devices: Callable[[ContainerConfig], Awaitable[object]]
    """What devices that are asked for by name come to; raises InvalidArgument."""

    async def create(
        self, config: ContainerConfig, name: str = "", container_id: str = ""
    ) -> ContainerRecord:
        """Enter a container; nothing runs yet. Raises NotFound when its image or what it links to is not here.

        Who chooses its id may ask again when the engine died before it answered: what is there is not made twice."""
        if container_id:
            if not _ID.fullmatch(container_id):
                raise InvalidArgument(f"invalid container id: {container_id!r}", hint="64 hex digits")
            if (made := self.containers.find_id(container_id)) is not None:
                return made.record
        for link in config.links:
            linked = link.partition(":")[0].removeprefix("/")
            try:
                self.containers.get(linked)
            except NotFound as error:
                raise InvalidArgument(f"could not get container for {linked}: {error.message}") from None
        return (await self.create_container(config, name, {}, container_id)).record

    async def create_container(
        self, config: ContainerConfig, name: str, carried: dict[str, str], container_id: str = ""
    ) -> Container:
        """As :meth:`create`; ``carried`` maps mount targets to anonymous volumes to be used again."""
        image = self.images.resolve(config.image, config.platform) or self.images.resolve(config.image)
        if image is None:
            raise NotFound(f"No such image: {config.image}", hint=f"composer image pull {config.image}")
        check_platform(config, image)
        check_config(config, self.host)
        check_sources(config)
        await self.named_devices(config)
        config = self._with_ids(config)
        if config.stop_signal:
            parse_signal(config.stop_signal)
        if name:
            self.containers.check_name(name)
        container_id = container_id or secrets.token_hex(32)
        final_name = name or self._free_name()
        endpoints = self.networks.plan_endpoints(config, container_id, final_name)
        crash_point("core.create.leased")
        return self.containers.add(
            config,
            final_name,
            image_id=image.id,
            image=image.config,
            volumes=self.volumes,
            endpoints=endpoints,
            carried=carried,
            container_id=container_id,
        )

    def _free_name(self) -> str:
        while self.containers.find_name(name := f"container-{secrets.token_hex(4)}") is not None:
            pass
        return name

    def _with_ids(self, config: ContainerConfig) -> ContainerConfig:
        """``container:<name>`` in the modes becomes ``container:<id>``, so that it survives a rename; the
        cgroup namespace that is the default is written down."""
        changes: dict[str, Any] = {}
        if not config.cgroupns_mode:
            changes["cgroupns_mode"] = "private" if self.host.cgroup_version == 2 else "host"
        for field in ("network_mode", "pid_mode", "ipc_mode", "uts_mode"):
            mode = getattr(config, field)
            if mode.startswith("container:"):
                changes[field] = f"container:{self.containers.get(mode.removeprefix('container:')).id}"
        if config.volumes_from:
            changes["volumes_from"] = tuple(self._volumes_from(entry) for entry in config.volumes_from)
        return replace(config, **changes) if changes else config

    def _volumes_from(self, entry: str) -> str:
        ref, mode = entry, ""
        if entry.endswith((":ro", ":rw")):
            ref, mode = entry[:-3], entry[-3:]
        return self.containers.get(ref.removeprefix("container:")).id + mode

    def get(self, ref: str) -> ContainerView:
        return ContainerView(self.containers.get(ref), self)

    def list(self, all: bool = False) -> Iterable[ContainerView]:
        return [ContainerView(container, self) for container in self.containers.list(all)]

    async def start(self, ref: str) -> None:
        await self.lifecycle.start(ref)

    async def stop(self, ref: str, timeout: float | None = None, signal: str = "") -> None:
        await self.lifecycle.stop(ref, timeout, signal)

    async def restart(self, ref: str, timeout: float | None = None, signal: str = "") -> None:
        await self.lifecycle.restart(ref, timeout, signal)

    async def kill(self, ref: str, signal: str = "SIGKILL") -> None:
        await self.lifecycle.kill(ref, signal)

    async def pause(self, ref: str) -> None:
        await self.lifecycle.pause(ref)

    async def unpause(self, ref: str) -> None:
        await self.lifecycle.unpause(ref)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        await self.lifecycle.remove(ref, force=force, volumes=volumes)

    async def rename(self, ref: str, name: str) -> None:
        self.containers.rename(ref, name)

    async def wait(
        self, ref: str, condition: Literal["not-running", "next-exit", "removed"] = "not-running"
    ) -> int:
        return await self.containers.get(ref).wait(condition)

    def logs(
        self,
        ref: str,
        *,
        follow: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        since: int | None = None,
        until: int | None = None,
        tail: int | None = None,
    ) -> AsyncIterator[Sequence[LogEntry]]:
        return self.container_logs.read(
            self.containers.get(ref),
            follow=follow,
            stdout=stdout,
            stderr=stderr,
            since=since,
            until=until,
            tail=tail,
        )

    async def attach(
        self, ref: str, *, stdin: bool, stdout: bool, stderr: bool, logs: bool = False
    ) -> Streams:
        streams = await self.attaching.attach(ref, stdin=stdin, stdout=stdout, stderr=stderr, logs=logs)
        self._tell(ref, "attach")
        return streams

    async def resize(self, ref: str, rows: int, cols: int) -> None:
        await self.attaching.resize(ref, rows, cols)
        self._tell(ref, "resize", height=str(rows), width=str(cols))

    async def top(self, ref: str, ps_args: str = "") -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        found = await self.observation.top(ref, ps_args)
        self._tell(ref, "top")
        return found

    def _tell(self, ref: str, action: str, **attributes: str) -> None:
        """Publish what was done with a container."""
        container = self.containers.get(ref)
        self.containers.events.publish(
            "container", action, container.id, {**container.attributes, **attributes}
        )

    def stats(self, ref: str, stream: bool = True, one_shot: bool = False) -> AsyncIterator[dict[str, Any]]:
        return self.observation.stats(ref, stream, one_shot)

    async def update(self, ref: str, resources: Resources, restart: RestartPolicy | None) -> None:
        """Change limits and the restart policy of a container; a running one's limits change at once."""
        container = self.containers.get(ref)
        config = replace(container.config, resources=resources)
        if restart is not None:
            if config.auto_remove and restart.name not in ("", "no"):
                raise InvalidArgument(
                    f"Cannot update container {container.id}: "
                    "Restart policy cannot be updated because AutoRemove is enabled for the container"
                )
            config = replace(config, restart=restart)
        if container.shim is not None and container.state.is_alive:
            self.cgroups.update(container.id, resources)
        if resources.pids_limit == LIFTED:
            config = replace(config, resources=replace(resources, pids_limit=0))
        container.update(config=config)
        self._tell(ref, "update")

    async def changes(self, ref: str) -> builtins.list[tuple[int, str]]:
        return await self.files.changes(ref)

    async def commit(
        self,
        ref: str,
        name: str,
        *,
        author: str = "",
        comment: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        """Make an image of a container, which stands still meanwhile unless ``pause`` is off; the image's id."""
        is_running = pause and self.containers.get(ref).state.status == "running"
        if is_running:
            await self.lifecycle.pause(ref)
        try:
            image = await self.files.commit(ref, name, author=author, comment=comment, changes=changes)
            if name:
                name = parse_reference(name).with_default_tag().familiar
                self.containers.events.publish("image", "tag", image, {"name": name})
            self._tell(ref, "commit", comment=comment, imageID=image, imageRef=name)
            return image
        finally:
            if is_running:
                with trio.CancelScope(shield=True):
                    await self.lifecycle.unpause(ref)

    async def archive_stat(self, ref: str, path: str) -> dict[str, Any]:
        return await self.files.stat(ref, path)

    async def archive_get(self, ref: str, path: str, send: Send) -> None:
        self._tell(ref, "archive-path")
        await self.files.get(ref, path, send)

    async def archive_put(
        self, ref: str, path: str, archive: Path, *, no_overwrite_dir_non_dir: bool = False
    ) -> None:
        await self.files.put(ref, path, archive, keeps_kinds=no_overwrite_dir_non_dir)
        self._tell(ref, "extract-to-dir")

    async def export(self, ref: str, send: Send) -> None:
        self._tell(ref, "export")
        await self.files.export(ref, send)


def check_platform(config: ContainerConfig, image: Image) -> None:
    """Raises NotFound where the image that is here is none for the platform that is asked for."""
    if not config.platform:
        return
    wanted = parse_platform(config.platform, Platform.host())
    if image.architecture and image.platform not in preferred(wanted):
        raise NotFound(
            f"No such image: {config.image} for {wanted}: the one that is here is for {image.platform}",
            hint="it is this machine's own userland: leave the platform out, or use another image"
            if REFERENCE in image.tags
            else f"composer image pull --platform {wanted} {config.image}",
        ).pointing_at("platform")


def check_sources(config: ContainerConfig) -> None:
    """Raises InvalidArgument for a bind, a config or a secret whose file is missing and is not to be made: found
    before there is a container that could never start."""
    wanted = [
        (mount.source, mount.target, "volumes")
        for mount in config.mounts
        if mount.type == "bind" and not mount.create_host_path and mount.source.startswith("/")
    ]
    wanted += [(file.source, file.target, "") for file in config.files if file.source]
    for source, target, about in wanted:
        if not os.path.lexists(source):
            raise InvalidArgument(
                f'invalid mount config for type "bind": bind source path does not exist: {source}',
                hint=f"it is wanted at {target}: make it, or correct its path",
            ).pointing_at(about)
