"""Files in and out of containers, running or not: what ``cp``, ``export`` and ``diff`` ask for."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import trio
from msgspec.structs import replace

from composer.engine.containers import Container, Containers
from composer.engine.health import merge_healthcheck
from composer.engine.volumes import Volumes
from runtime.build.worker.layer_tar import write_changes
from runtime.container.baselayer import make_base_layer
from runtime.container.config import ContainerConfig, ImageConfig
from runtime.container.spec import effective_command
from runtime.errors import Conflict, InvalidArgument, NotFound
from runtime.files.archive import extract, stat_path, write_path, write_root
from runtime.files.difference import differences
from runtime.files.view import Layers, look_at_layers, look_at_process
from runtime.image.changes import apply_changes, triggers
from runtime.image.compression import decompressed
from runtime.image.store import ImageStore
from runtime.storage.paths import Paths

T = TypeVar("T")
Send = Callable[[bytes], Awaitable[None]]
"""Takes what is made, one piece after the other."""
_BLOCK = 1 << 18
_GO_KINDS = {0o040000: 1 << 31, 0o120000: 1 << 27, 0o010000: 1 << 25, 0o140000: 1 << 24}
_GO_DEVICE, _GO_CHARACTER = 1 << 26, 1 << 21
_GO_SPECIAL = ((0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20))


def committed(config: ContainerConfig, image: ImageConfig) -> ImageConfig:
    """The configuration that an image made of a container has: its own over its image's."""
    env = dict(item.partition("=")[::2] for item in (*image.env, *config.env))
    return replace(
        image,
        env=tuple(f"{key}={value}" for key, value in env.items()),
        entrypoint=image.entrypoint if config.entrypoint is None else config.entrypoint,
        cmd=config.command or (image.cmd if config.entrypoint is None else ()),
        working_dir=config.working_dir or image.working_dir,
        user=config.user or image.user,
        exposed_ports=tuple(sorted({*image.exposed_ports, *config.expose})),
        labels=image.labels | config.labels,
        stop_signal=config.stop_signal or image.stop_signal,
        healthcheck=merge_healthcheck(config.healthcheck, image.healthcheck),
    )


def go_mode(mode: int) -> int:
    """A mode of stat(2) as Go's ``os.FileMode``, which Docker's API has."""
    kind = mode & 0o170000
    made = mode & 0o777 | _GO_KINDS.get(kind, 0)
    if kind in (0o020000, 0o060000):
        made |= _GO_DEVICE | (_GO_CHARACTER if kind == 0o020000 else 0)
    return made | sum(go for bit, go in _GO_SPECIAL if mode & bit)


@dataclass(frozen=True, slots=True)
class ContainerFiles:
    """The files of all containers."""

    containers: Containers
    images: ImageStore
    volumes: Volumes
    paths: Paths

    async def changes(self, ref: str) -> list[tuple[int, str]]:
        """Kind (0 changed, 1 added, 2 deleted) and path. Raises NotFound."""
        parts = self._layers(self.containers.get(ref), with_volumes=False)
        layers = [Path(layer) for layer in parts.layers]
        return await trio.to_thread.run_sync(differences, parts.upper, layers)

    async def stat(self, ref: str, path: str) -> dict[str, Any]:
        """Docker's description of a path. Raises NotFound."""
        found = await self._look(self.containers.get(ref), lambda root: stat_path(root, path))
        return {
            "name": found.name,
            "size": found.size,
            "mode": go_mode(found.mode),
            "mtime": datetime.fromtimestamp(found.mtime, UTC).isoformat().replace("+00:00", "Z"),
            "linkTarget": found.link_target,
        }

    async def get(self, ref: str, path: str, send: Send) -> None:
        """Send a tar of ``path``, piece by piece."""
        await self._stream(self.containers.get(ref), lambda root, out: write_path(root, path, out), send)

    async def export(self, ref: str, send: Send) -> None:
        """Send a tar of the root, without volumes and other mounts."""
        await self._stream(self.containers.get(ref), write_root, send, with_volumes=False)

    async def commit(
        self, ref: str, name: str, *, author: str = "", comment: str = "", changes: Sequence[str] = ()
    ) -> str:
        """Make an image of a container's files and configuration, altered by Dockerfile instructions; its id.

        Whoever wants the files to hold still pauses the container first. Raises InvalidArgument, Conflict."""
        container = self.containers.get(ref)
        image = self.images.resolve(container.image_id)
        if image is None:
            raise Conflict(f"image {container.image_ref} of container {container.name} is not here any more")
        if image.is_embedded:
            raise InvalidArgument(
                f"{container.image_ref} is this machine itself: an image of it would lack all files"
            )
        config = apply_changes(changes, committed(container.config, container.image))
        upper = str(self.paths.container(container.id) / "upper")
        entry = {"created_by": " ".join(effective_command(container.config, container.image))}
        entry |= {"author": author} if author else {}
        entry |= {"comment": comment} if comment else {}
        with tempfile.TemporaryFile(dir=self.paths.images) as layer:
            if os.path.isdir(upper):
                await trio.to_thread.run_sync(write_changes, upper, layer)
                layer.seek(0)
            made = await self.images.derive(
                image,
                config,
                layer if os.path.isdir(upper) else None,
                [entry],
                created=int(time.time()),
                tags=[name] if name else (),
                author=author,
                comment=comment,
                on_build=triggers(changes),
            )
        return made.id

    async def put(self, ref: str, path: str, archive: Path, *, keeps_kinds: bool) -> None:
        """Unpack a tar, compressed or not, in the directory ``path``."""
        container = self.containers.get(ref)

        def unpack(root: int) -> None:
            with open(archive, "rb") as file:
                extract(root, path, decompressed(file), keeps_kinds=keeps_kinds)

        async with container.busy:
            try:
                await self._look(container, unpack, is_writable=True)
            except NotFound as error:
                raise NotFound(f"{error.message} {container.name}") from None

    async def _stream(
        self,
        container: Container,
        write: Callable[[int, IO[bytes]], None],
        send: Send,
        *,
        with_volumes: bool = True,
    ) -> None:
        """What ``write`` writes in a thread goes to ``send``. Raises what either does.

        No generator: one whose reader is gone would end somewhere else, with a nursery open in it."""
        receiving, sending = os.pipe2(os.O_CLOEXEC)
        failed: list[Exception] = []

        def produce(root: int) -> None:
            with open(sending, "wb", buffering=_BLOCK, closefd=False) as out:
                write(root, out)

        async def run() -> None:
            try:
                await self._look(container, produce, with_volumes=with_volumes)
            except BrokenPipeError:
                pass  # whoever asked has gone
            except Exception as error:
                failed.append(error)
            finally:
                os.close(sending)

        async with trio.open_nursery() as nursery, trio.lowlevel.FdStream(receiving) as stream:
            nursery.start_soon(run)
            try:
                while piece := await stream.receive_some(_BLOCK):
                    await send(bytes(piece))
            except Exception as error:
                failed.append(error)
        if failed:
            raise failed[0]

    async def _look(
        self,
        container: Container,
        look: Callable[[int], T],
        *,
        is_writable: bool = False,
        with_volumes: bool = True,
    ) -> T:
        if container.state.is_alive and container.state.pid:
            pid = container.state.pid
            return await trio.to_thread.run_sync(lambda: look_at_process(pid, container.id, look))
        parts = self._layers(container, with_volumes=with_volumes)
        return await trio.to_thread.run_sync(lambda: look_at_layers(parts, look, is_writable=is_writable))

    def _layers(self, container: Container, *, with_volumes: bool) -> Layers:
        image = self.images.resolve(container.image_id)
        if image is None:
            raise Conflict(f"image {container.image_ref} of container {container.name} is not here any more")
        state_dir = self.paths.container(container.id)
        base = state_dir.parent.parent / "mount-points"
        make_base_layer(base)
        points = self.containers.mount_points(container, self.volumes) if with_volumes else ()
        return Layers(
            layers=(*(str(layer) for layer in image.layers), str(base)),
            upper=str(state_dir / "upper"),
            work=str(state_dir / "work"),
            volumes=(
                *((str(source), target, False) for source, target in (image.binds if with_volumes else ())),
                *(
                    (point.source, point.target, not point.read_only)
                    for point in sorted(points, key=lambda p: p.target.count("/"))
                    if point.type in ("bind", "volume") and point.source.startswith("/")
                ),
            ),
        )
