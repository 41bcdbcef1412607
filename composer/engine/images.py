"""Images as the API sees them: the runtime's store, guarded by what containers use."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import trio

from composer.engine.containers import Containers
from composer.engine.events import Events
from runtime.errors import Conflict, NotFound
from runtime.image import archive
from runtime.image.model import HistoryEntry, Image
from runtime.image.reference import parse_reference
from runtime.image.store import ImageStore, PullEvent
from runtime.storage.paths import Paths

Progress = Callable[[dict[str, Any]], Awaitable[None]]
LayerProgress = Callable[[str, str, int, int], None]
CHUNK = 1 << 20


@dataclass
class Images:
    """The engine's images."""

    store: ImageStore
    containers: Containers
    events: Events
    paths: Paths
    _pulled: dict[str, int] = field(default_factory=dict)

    def get(self, ref: str) -> Image:
        """By reference, id or an unambiguous beginning of the id."""
        image = self.store.resolve(ref)
        if image is None:
            raise NotFound(f"No such image: {ref}")
        return image

    def list(self) -> Iterable[Image]:
        return self.store.list()

    def used(self) -> dict[str, list[str]]:
        """Image id -> names of the containers made from it."""
        users: dict[str, list[str]] = {}
        for container in self.containers.all():
            users.setdefault(container.image_id, []).append(container.name)
        return users

    async def fetch(self, reference: str, platform: str, progress: LayerProgress) -> Image:
        """Pull, telling the progress of each layer."""

        def forward(event: PullEvent) -> None:
            progress(event.layer, event.status, event.current, event.total)

        image = await self.store.pull(reference, platform, forward)
        self._pulled[reference] = time.time_ns()
        self.events.publish("image", "pull", reference, {"name": reference})
        return image

    def pulled_at(self, reference: str) -> int:
        """When (ns) the reference was pulled by this engine; 0 if it was not."""
        return self._pulled.get(reference, 0)

    async def pull(self, reference: str, platform: str, emit: Progress) -> Image:
        """Pull with Docker's progress messages."""
        send, receive = trio.open_memory_channel[dict[str, Any]](512)

        def progress(layer: str, status: str, current: int, total: int) -> None:
            message: dict[str, Any] = {"status": status, "id": layer}
            if total:
                message["progressDetail"] = {"current": current, "total": total}
            try:
                send.send_nowait(message)
            except trio.WouldBlock:
                pass

        async def forward() -> None:
            async for message in receive:
                await emit(message)

        before = self.store.resolve(reference)
        image: Image | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forward)
            with send:
                image = await self.fetch(reference, platform, progress)
        assert image is not None
        for digest in image.digests[:1]:
            await emit({"status": f"Digest: {digest.partition('@')[2]}"})
        is_same = before is not None and before.id == image.id
        word = "Image is up to date" if is_same else "Downloaded newer image"
        await emit({"status": f"Status: {word} for {parse_reference(reference).familiar}"})
        return image

    async def tag(self, ref: str, target: str) -> None:
        self.store.tag(self.get(ref).id, target)
        self.events.publish("image", "tag", self.get(ref).id, {"name": target})
        await trio.lowlevel.checkpoint()

    async def remove(self, ref: str, force: bool = False, prune: bool = True) -> list[dict[str, str]]:
        """Docker's rmi: untag, and delete what no tag names."""
        image = self.get(ref)
        users = self.used().get(image.id, [])
        running = [c.name for c in self.containers.all() if c.image_id == image.id and c.state.is_alive]
        is_last = len(image.tags) <= 1 or ref.removeprefix("sha256:").startswith(image.id[7:19])
        if is_last and (running or (users and not force)):
            state = "running " if running else "stopped "
            raise Conflict(
                f"conflict: unable to remove repository reference {ref!r} ({'cannot be forced' if running else 'must force'})"
                f" - {state}container {(running or users)[0]} is using its referenced image {image.id[7:19]}"
            )
        removed = await trio.to_thread.run_sync(lambda: self.store.remove(ref, force=force))
        answer: list[dict[str, str]] = []
        for name in removed.untagged:
            answer.append({"Untagged": name})
            self.events.publish("image", "untag", image.id, {"name": name})
        for name in removed.deleted:
            answer.append({"Deleted": name})
            self.events.publish("image", "delete", name, {"name": name})
        return answer

    async def load(self, source: BinaryIO, emit: Progress) -> Sequence[Image]:
        """Bring in a docker-archive or OCI archive (tar, compressed or not)."""
        path = await self._spool(source)
        try:
            images = await trio.to_thread.run_sync(archive.load, self.store, path)
        finally:
            path.unlink(missing_ok=True)
        for image in images:
            for name in image.tags or (image.id,):
                word = "Loaded image" if image.tags else "Loaded image ID"
                await emit({"stream": f"{word}: {name}\n"})
            self.events.publish("image", "load", image.id, {"name": image.id})
        return images

    async def import_(
        self, source: BinaryIO, reference: str, changes: Sequence[str], message: str = ""
    ) -> str:
        """An image from the tar of a root file system; its id."""
        path = await self._spool(source)
        try:
            image = await trio.to_thread.run_sync(
                lambda: archive.import_rootfs(self.store, path, reference, changes, message)
            )
        finally:
            path.unlink(missing_ok=True)
        self.events.publish("image", "import", image.id, {"name": reference or image.id})
        return image.id

    async def _spool(self, source: BinaryIO) -> Path:
        """Put a stream into a file, since archives are read in an order of their own."""
        directory = self.paths.lib / "tmp"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / f"upload-{time.time_ns()}-{os.getpid()}"

        def copy() -> None:
            with open(path, "xb") as file:
                while chunk := source.read(CHUNK):
                    file.write(chunk)

        await trio.to_thread.run_sync(copy)
        return path

    async def save(self, refs: Sequence[str]) -> AsyncIterator[bytes]:
        """A docker-archive of the images, in pieces."""
        directory = self.paths.lib / "tmp"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / f"save-{time.time_ns()}"
        try:
            await trio.to_thread.run_sync(archive.save, self.store, list(refs), path)
            async with await trio.open_file(path, "rb") as file:
                while chunk := await file.read(CHUNK):
                    yield chunk
        finally:
            path.unlink(missing_ok=True)

    async def prune(self, *, everything: bool = False) -> tuple[list[dict[str, str]], int]:
        """Remove what no container uses: untagged images only, or ``everything``."""
        answer: list[dict[str, str]] = []
        freed = 0
        used = self.used()
        for image in list(self.store.list()):
            if image.id in used or image.is_builtin or (image.tags and not everything):
                continue
            freed += image.size
            answer += await self.remove(image.id, force=True)
        return answer, freed

    def history(self, ref: str) -> Sequence[HistoryEntry]:
        return self.get(ref).history
