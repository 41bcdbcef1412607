"""Images as the API sees them: the runtime's store, guarded by what containers use."""

from __future__ import annotations

import builtins
import contextlib
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import trio

from composer.engine.containers import Containers
from composer.engine.events import Events
from runtime.errors import InvalidArgument, NotFound
from runtime.image.check import Checked
from runtime.image.content import Throttle
from runtime.image.index import entries_of, platform_of
from runtime.image.manifest import Descriptor
from runtime.image.model import HistoryEntry, Image, ImageUse, PullProgress, Removal
from runtime.image.reference import Reference, parse_reference
from runtime.image.registry.authentication import Credentials, CredentialSource
from runtime.image.registry.credentials import registry_domain
from runtime.image.store import ImageStore

if TYPE_CHECKING:
    from runtime.image.push import Pushed
    from runtime.image.registry.search import Found

log = logging.getLogger(__name__)

Progress = Callable[[dict[str, Any]], Awaitable[None]]
_TAGS_AT_ONCE = 3
T = TypeVar("T")


@dataclass
class Images:
    """The engine's images."""

    store: ImageStore
    containers: Containers
    events: Events
    _pulled: dict[str, int] = field(default_factory=dict)
    wants_sweep: trio.Event = field(default_factory=trio.Event)

    def get(self, ref: str, platform: str = "") -> Image:
        """By reference, id or an unambiguous beginning of the id; of several the one for ``platform``."""
        return self.store.get(ref, platform)

    def list(self) -> Iterable[Image]:
        return self.store.list()

    def together(self, image: Image) -> Sequence[Image]:
        """An image of :meth:`list` and those for other platforms that are listed with it."""
        return self.store.together(image)

    def index(self, image: Image) -> bytes:
        """The index that an image came with; b"" when it came with none."""
        return self.store.index(image)

    def describe(self, image: Image) -> Descriptor | None:
        """What describes the manifest with which the image would leave; None for the embedded image."""
        return self.store.describe(image)

    def used(self) -> dict[str, builtins.list[str]]:
        """Image id -> names of the containers made from it."""
        users: dict[str, builtins.list[str]] = {}
        for container in self.containers.all():
            users.setdefault(container.image_id, []).append(container.name)
        return users

    async def fetch(
        self,
        reference: str,
        platform: str,
        progress: Callable[[PullProgress], None],
        credentials: CredentialSource | None = None,
    ) -> Image:
        """Pull, telling the progress of each layer."""
        image = await self.store.pull(reference, platform, progress, credentials)
        self._pulled[reference] = time.time_ns()
        self.events.publish("image", "pull", reference, {"name": reference})
        return image

    def pulled_at(self, reference: str) -> int:
        """When (ns) the reference was pulled by this engine; 0 if it was not."""
        return self._pulled.get(reference, 0)

    async def pull(
        self, reference: str, platform: str, emit: Progress, credentials: CredentialSource | None = None
    ) -> Image:
        """Pull with Docker's progress messages."""
        name = parse_reference(reference).with_default_tag()
        before = self.store.resolve(reference, platform)

        async def work(tell: Callable[[PullProgress], None]) -> Image:
            return await self.fetch(reference, platform, tell, credentials)

        image = await _told(work, emit, name)
        if digest := self.store.pulled_digest(image, reference):
            await emit({"status": f"Digest: {digest}"})
        is_same = before is not None and before.id == image.id
        word = "Image is up to date" if is_same else "Downloaded newer image"
        await emit({"status": f"Status: {word} for {name.familiar}"})
        return image

    async def pull_all_tags(
        self, name: str, platform: str, emit: Progress, credentials: CredentialSource | None = None
    ) -> None:
        """Pull everything that a repository has, a few side by side."""
        limit, turn = trio.CapacityLimiter(_TAGS_AT_ONCE), trio.Lock()

        async def tell(message: dict[str, Any]) -> None:
            async with turn:
                await emit(message)

        async def one(reference: str) -> None:
            async with limit:
                await self.pull(reference, platform, tell, credentials)

        async with trio.open_nursery() as nursery:
            for reference in await self.store.tags(name, credentials):
                nursery.start_soon(one, reference)

    async def push(
        self,
        name: str,
        tag: str,
        emit: Progress,
        credentials: CredentialSource | None = None,
        platform: str = "",
    ) -> None:
        """Push one tag of a repository, or with "" all of them, with Docker's progress messages."""
        repository = parse_reference(name)
        if repository.tag or repository.digest is not None:
            raise InvalidArgument("the name of a repository expected, without a tag or digest")
        every = sorted(
            known
            for image in self.store.list()
            for known in image.tags
            if parse_reference(known).name == repository.name
        )
        tags = [f"{name}:{tag}"] if tag else every
        here = [parse_reference(known).tag for known in every]
        if tag and here and tag not in here:
            there = ", ".join(here[:5])
            raise NotFound(
                f"tag does not exist: {repository.familiar_name}:{tag}",
                hint=f"{repository.familiar_name} is here as {there}{', …' if len(here) > 5 else ''}.",
            )
        if not tags:
            raise NotFound(f"An image does not exist locally with the tag: {repository.familiar_name}")
        await emit({"status": f"The push refers to repository [{repository.name}]"})
        for text in tags:

            async def work(tell: Callable[[PullProgress], None], text: str = text) -> Pushed:
                return await self.store.push(text, tell, credentials, platform)

            pushed = await _told(work, emit, repository)
            line = f"{pushed.tag}: digest: {pushed.digest} size: {pushed.size}"
            await emit({"status": line})
            aux = {"Tag": pushed.tag, "Digest": str(pushed.digest), "Size": pushed.size}
            await emit({"progressDetail": {}, "aux": aux})
            if not platform and (missing := self._left_out(text)):
                left = ", ".join(missing)
                await emit(
                    {"status": f"Only what is here was pushed: the index that it came with also has {left}"}
                )
            self.events.publish("image", "push", text, {"name": text})

    def _left_out(self, text: str) -> Sequence[str]:
        """The platforms that the index of an image lists and for which nothing is here under that name."""
        image = self.store.resolve(text)
        index = self.store.index(image) if image is not None else b""
        listed = (
            {str(platform) for entry in entries_of(index) if (platform := platform_of(entry))}
            if index
            else set()
        )
        return sorted(listed - {str(one.platform) for one in self.store.named(text)})

    async def search(
        self,
        term: str,
        limit: int,
        filters: Mapping[str, Sequence[str]],
        credentials: CredentialSource | None = None,
    ) -> Sequence[Found]:
        """What a registry finds for a word."""
        return await self.store.registries.search(term, limit, filters, credentials)

    async def login(self, server: str, credentials: Credentials) -> None:
        """Whether a registry accepts credentials. Raises ComposerErrors when not."""
        await self.store.registries.login(registry_domain(server), credentials)

    async def tag(self, ref: str, target: str) -> None:
        self.store.tag(ref, target)
        self.events.publish("image", "tag", self.get(ref).id, {"name": target})
        await trio.lowlevel.checkpoint()

    async def remove(
        self, ref: str, force: bool = False, prune: bool = True, platforms: Sequence[str] = ()
    ) -> builtins.list[dict[str, str]]:
        """Docker's rmi: untag, and delete what no tag names (``platforms``: only for these). Space is given back by the
        engine in its own time."""
        image = self.get(ref)
        known = {one.id for one in self.store.everything()}
        removed = self.store.remove(ref, force=force, platforms=platforms)
        self._tell(image.id, removed, known)
        self.wants_sweep.set()
        await trio.lowlevel.checkpoint()
        return list(removed.changes)

    def _tell(self, image_id: str, removed: Removal, known: AbstractSet[str]) -> None:
        for change in removed.changes:
            if name := change.get("Untagged"):
                self.events.publish("image", "untag", image_id, {"name": name})
            elif (deleted := change.get("Deleted", "")) in known:  # and no layer
                self.events.publish("image", "delete", deleted, {"name": deleted})

    def drop_unused(self) -> None:
        """A container is gone: so is what was removed by force and was only kept for it."""
        if self.store.drop_unused():
            self.wants_sweep.set()

    async def settle(self) -> None:
        """See to it that a power cut has not damaged what was unpacked just before."""
        for problem in await self.store.settle():
            state = "unpacked again" if problem.is_mended else problem.advice
            log.warning("layer %s of %s %s: %s", problem.id, ", ".join(problem.images), problem.what, state)

    async def sweep(self) -> None:
        """Give back the space of what was removed, whenever something was, until cancelled; at first of what an
        earlier engine had no time for."""
        self.store.drop_unused()
        while True:
            for problem in await self.store.sweep():
                log.warning("removing images: %s", problem)
            await self.wants_sweep.wait()
            self.wants_sweep = trio.Event()

    async def load(
        self, archive: Path, emit: Progress, platform: str = "", *, quiet: bool = False
    ) -> Sequence[Image]:
        """Bring in a docker-archive or OCI archive (tar, compressed or not); ``platform``: only what is for it;
        ``quiet``: without telling of each layer."""

        async def work(tell: Callable[[PullProgress], None]) -> Sequence[Image]:
            def loading(event: PullProgress) -> None:
                if event.status == "Extracting" and not quiet:
                    tell(replace(event, status="Loading layer"))

            return await self.store.load(archive, loading, platform)

        images = await _told(work, emit)
        told: set[str] = set()
        for image in images:
            for name in image.tags or (image.id,):
                word = "Loaded image" if image.tags else "Loaded image ID"
                if name not in told:  # as it is for another platform
                    told.add(name)
                    await emit({"stream": f"{word}: {name}\n"})
            self.events.publish("image", "load", image.id, {"name": image.id})
        return images

    async def import_(
        self,
        archive: Path,
        reference: str,
        changes: Sequence[str],
        message: str = "",
        platform: str = "",
        *,
        origin: str = "-",
    ) -> str:
        """An image from the tar of a root file system, which came from ``origin``; its id."""
        with open(archive, "rb") as source:
            image = await self.store.import_(source, reference, changes, message, platform, origin=origin)
        self.events.publish("image", "import", image.id, {"name": reference or image.id})
        return image.id

    async def download(self, url: str, file: BinaryIO, emit: Progress) -> None:
        """Put what is at ``url`` into ``file``, with Docker's progress messages."""
        from runtime.image.downloads import download

        async def work(tell: Callable[[PullProgress], None]) -> None:
            throttle = Throttle(tell)

            def on_progress(done: int, total: int) -> None:
                if done:
                    throttle(PullProgress("", "Importing", done, total))
                else:
                    tell(PullProgress("", "Downloading from", text=url))

            await download(url, file.write, os.environ, on_progress)

        await _told(work, emit)
        file.flush()

    def save(self, refs: Sequence[str], platform: str = "") -> AsyncIterator[bytes]:
        """An archive of the images (for one platform), in pieces."""
        return self.store.save(refs, platform)

    async def prune(
        self, *, everything: bool = False, only: Callable[[Image], bool] = lambda _: True
    ) -> tuple[builtins.list[dict[str, str]], int]:
        """Remove what no container uses: untagged images only, or ``everything``; bytes given back."""
        known = {image.id for image in self.store.everything()}
        removed = await self.store.prune(everything=everything, only=only)
        self._tell("", removed, known)
        return list(removed.changes), removed.reclaimed

    async def check(self, emit: Progress, *, repair: bool = False) -> None:
        """Verify everything that images need (``fsck``), telling how far it has come, what is wrong, and the sum."""
        send, receive = trio.open_memory_channel[dict[str, Any]](math.inf)

        def tell(step: Checked) -> None:
            message: dict[str, Any] = {"progressDetail": {"current": step.done, "total": step.total}}
            if step.problem is not None:
                message["problem"] = asdict(step.problem)
            send.send_nowait(message)

        async def forward() -> None:
            async for message in receive:
                await emit(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(forward)
            with send:
                problems = await self.store.check(tell, repair=repair)
        mended = sum(problem.is_mended for problem in problems)
        await emit({"result": {"problems": len(problems), "mended": mended}})

    def history(self, ref: str, platform: str = "") -> Sequence[HistoryEntry]:
        return self.store.history(ref, platform)


async def _told(
    work: Callable[[Callable[[PullProgress], None]], Awaitable[T]],
    emit: Progress,
    name: Reference | None = None,
) -> T:
    """Do ``work``, its progress going to ``emit`` as Docker's messages; a slow reader misses some of them."""
    send, receive = trio.open_memory_channel[dict[str, Any]](512)

    def tell(event: PullProgress) -> None:
        message: dict[str, Any] = {"status": event.status}
        if event.layer:
            message["id"] = event.layer
        if event.text:
            message["status"] = f"{event.status} {event.text}"
        if event.status == "Pulling from" and name is not None:
            message = {"status": f"{event.status} {name.path}", "id": name.tag or str(name.digest)}
        if event.total:
            message["progressDetail"] = {"current": event.current, "total": event.total}
        with contextlib.suppress(trio.WouldBlock):
            send.send_nowait(message)

    async def forward() -> None:
        async for message in receive:
            await emit(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(forward)
        with send:
            result = await work(tell)
    return result


def image_users(containers: Containers, image_id: str) -> list[ImageUse]:
    """Who was made from an image, for :class:`ImageStore`."""
    return [
        ImageUse(container.id[:12], container.state.is_alive)
        for container in containers.all()
        if container.image_id == image_id
    ]
