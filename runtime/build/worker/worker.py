"""Does the steps of builds: finds sources, digests what is read, makes layers."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Protocol

import trio

from runtime.build.ignore import Ignore
from runtime.build.steps import (
    ContextSource,
    Copy,
    DockerfileError,
    FetchSource,
    GitCheckout,
    ImageSource,
    LayerStep,
    MakeDirectory,
    Run,
    RunMount,
    Selection,
    Step,
    combined,
)
from runtime.build.worker import copying
from runtime.build.worker.cache_mounts import CacheMounts
from runtime.build.worker.changes_writing import take_changes
from runtime.build.worker.checkouts import Checkouts
from runtime.build.worker.contents import digest_context, digest_tree, files_of
from runtime.build.worker.context import ContextCache
from runtime.build.worker.devices import chosen_devices
from runtime.build.worker.emulation import can_run
from runtime.build.worker.fetching import Fetched
from runtime.build.worker.labels import KEEP_LABEL, STEP_LABEL
from runtime.build.worker.layer_writing import write_placed_layer
from runtime.build.worker.mounting import Secret, held_mounts
from runtime.build.worker.placing import place_copy
from runtime.build.worker.snapshot import Snapshot
from runtime.build.worker.step_images import StepImages
from runtime.build.worker.stubs import remove_stubs
from runtime.container.cdi import Edits
from runtime.container.cdi_files import read_registry
from runtime.container.config import ContainerConfig, DeviceRequest, FileContent, Healthcheck, Ulimit
from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.image.manifest import InvalidImage
from runtime.image.model import Image
from runtime.image.store import ImageStore
from runtime.image.unpack import Unpacked
from runtime.storage.state import StateDatabase

_LAST_LINES = 20
"""Of a failed step's output, in its error."""
_LAST_LENGTH = 1000
"""Of each of these lines."""
_CONTENT = "build-content"
_REMEMBERED = 5000
"""Files of one step, for saying which of them have changed."""

Output = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class StepSecrets:
    """What a step's program sees and no record may have."""

    env: tuple[str, ...]
    files: tuple[FileContent, ...]


@dataclass(frozen=True)
class FailedStep:
    """A step whose program has failed, while all that it was given is still there."""

    step: Run
    container: str
    """Its id."""
    error: DockerfileError


class RunContainer(Protocol):
    """A container from its making to its end, and its removal. When its status is 0, ``then`` gets the directory with
    what it has changed; otherwise ``failed`` gets its id and the status (or why its program was not started), and says
    whether it stays."""

    async def __call__(
        self,
        config: ContainerConfig,
        secrets: StepSecrets,
        output: Output,
        then: Callable[[str], Awaitable[None]],
        failed: Callable[[str, int | ComposerError], Awaitable[bool]],
    ) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the steps of one build have in common, and no cache depends on."""

    contexts: Mapping[str, tuple[Path, Ignore]]
    context_name: str = ""
    """What people call the one without a name: its path or URL; "": what was sent."""
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    ulimits: tuple[Ulimit, ...] = ()
    label: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    """Of whoever builds: git's keys and settings are theirs."""
    keeps_failed: bool = False
    """The container of a step that fails is not removed."""
    on_failed: Callable[[FailedStep], Awaitable[None]] | None = None
    """What is done about a step that fails before it is over."""
    agents: Mapping[str, str] = field(default_factory=dict)
    """The sockets that ``--mount=type=ssh`` leads to, by id."""
    allow: tuple[str, ...] = ()
    """Entitlements: devices that steps may have."""


@dataclass
class Worker:
    """``root`` is for what it keeps: caches, fetched files, what is known of contexts."""

    root: Path
    scratch: Path
    """For layers on their way: on the file system of the images."""
    images: ImageStore
    database: StateDatabase
    run_container: RunContainer

    def __post_init__(self) -> None:
        self.caches = CacheMounts(self.root / "mounts", self.database)
        self.fetched = Fetched(self.root / "fetched")
        self._checkouts = Checkouts(self.root / "git")
        self._contexts: dict[str, ContextCache] = {}
        self.step_images = StepImages(self.images)

    # Sources

    def image(self, image: Image) -> Snapshot:
        return Snapshot(image=image, layers=image.layers, created=image.created // 10**9)

    def context(self, step: ContextSource, setting: Setting) -> Snapshot:
        """Raises NotFound."""
        found = setting.contexts.get(step.name)
        if found is None:
            raise NotFound(f"there is no context {step.name!r}")
        path, ignore = found
        root = os.path.realpath(path)
        cache = self._contexts.get(root)
        if cache is None:
            name = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
            cache = self._contexts[root] = ContextCache(root, self.root / "contexts" / name)
        return Snapshot(
            layers=(Path(root),),
            name=f"{step.name} ({path})" if step.name else setting.context_name,
            ignore=ignore,
            scan=cache.scan(ignore),
            rescan=lambda: cache.scan(ignore),
        )

    async def fetch(self, step: FetchSource | GitCheckout, setting: Setting) -> Snapshot:
        """Raises DockerfileError, ComposerErrors."""
        if isinstance(step, GitCheckout):
            directory, commit = await self._checkouts.directory(step, setting.env)
            return Snapshot(layers=(directory,), commit=commit)
        return Snapshot(layers=(await self.fetched.fetch(step),))

    def forget(self) -> None:
        """What is only known to be quick: digests of contents, and of contexts."""
        with self.database.transaction():
            for key, _ in list(self.database.items(_CONTENT)):
                self.database.delete(_CONTENT, key)
        self._contexts.clear()
        shutil.rmtree(self.root / "contexts", ignore_errors=True)

    def save_contexts(self) -> None:
        """Keep what was learnt of contexts. Blocking."""
        for cache in tuple(self._contexts.values()):
            cache.save()

    # Contents

    async def digest(self, selection: Selection, snapshot: Snapshot) -> str:
        """Of what a selection has now. Raises DockerfileError."""
        try:
            if snapshot.image is None:
                return await trio.to_thread.run_sync(_digest_directory, selection, snapshot)
            facts = (snapshot.chain_id, selection.patterns, selection.exclude)
            flags = (selection.keeps_parents, selection.keeps_owners)
            key = hashlib.sha256(repr((facts, flags)).encode("utf-8", "surrogatepass")).hexdigest()
            known = self.database.get(_CONTENT, key)
            if known is not None:
                return known.decode()
            found = await trio.to_thread.run_sync(digest_tree, snapshot.tree, selection)
            self.database.put(_CONTENT, key, found.encode())
            return found
        except copying.SourceNotFound:
            raise await trio.to_thread.run_sync(_missing, selection, snapshot) from None
        except (OSError, NotFound, InvalidArgument) as error:
            raise _told(selection, error) from None

    # Layers

    async def do(
        self,
        step: LayerStep,
        results: Mapping[Step, Snapshot],
        setting: Setting,
        output: Output,
        *,
        alone: bool = False,
    ) -> Snapshot:
        """Do a step; ``alone``: not on what is below it. Raises DockerfileError for what goes wrong in it."""
        below = results[step.below] if step.below is not None and not alone else self.nothing
        try:
            match step:
                case Run():
                    return await self._run(step, below, results, setting, output)
                case Copy():
                    return await self._copy(step, below, results)
                case MakeDirectory():
                    placed = await trio.to_thread.run_sync(copying.make_directories, below.tree, step.path)
                    if not placed:
                        return replace(below, made=(*below.made, False))
                    now, latest = int(time.time()), step.latest
                    return await self._put(
                        below, lambda directory, tar: write_placed_layer(placed, directory, tar, now, latest)
                    )
                case _:
                    raise ComposerError(f"{step.text}: not a step that makes a layer")
        except (OSError, NotFound, InvalidArgument, InvalidImage) as error:
            raise _told(step, error) from None

    async def put_upon(self, layer: Snapshot, below: Snapshot) -> Snapshot:
        """What ``COPY --link`` made of nothing, on what is below."""
        assert layer.image is not None
        image = await self.step_images.put_upon(layer.image, below.image)
        made = (*below.made, True)
        return Snapshot(image=image, layers=image.layers, made=made, created=layer.created)

    @property
    def nothing(self) -> Snapshot:
        """What ``FROM scratch`` begins with."""
        return Snapshot(layers=(self.images.empty_layer,))

    async def _put(self, below: Snapshot, write: Callable[[Path, BinaryIO], Unpacked]) -> Snapshot:
        """A snapshot with one more layer, which ``write`` (in a thread) writes."""
        image = await self.step_images.add(below.image, write)
        made = (*below.made, True)
        return Snapshot(image=image, layers=image.layers, made=made, created=int(time.time()))

    async def _copy(self, step: Copy, below: Snapshot, results: Mapping[Step, Snapshot]) -> Snapshot:
        """``below`` is :attr:`nothing` when the layer is not to depend on it."""
        target = below.tree
        with ExitStack() as held:

            def work(directory: Path, tar: BinaryIO) -> Unpacked:
                placed = place_copy(step, target, results, held)
                return write_placed_layer(placed, directory, tar, int(time.time()), step.latest)

            return await self._put(below, work)

    async def _run(
        self,
        step: Run,
        below: Snapshot,
        results: Mapping[Step, Snapshot],
        setting: Setting,
        output: Output,
    ) -> Snapshot:
        wanted = self.images.platform_of(step.platform)
        if not can_run(wanted, self.images.platform_of("")):
            raise step.place.error(
                f"RUN for {wanted}: this machine cannot run its programs, and its kernel has no emulation for them "
                f"(binfmt_misc with the flag F)",
                step.text.partition(" ")[0],
            )
        if below.image is None:
            raise ComposerError("RUN needs a program, and there is none in an empty image")
        # Without its configuration: what RUN writes to volumes belongs to the layer.
        image = self.step_images.plain(below.image)
        last: deque[str] = deque(maxlen=_LAST_LINES)
        made: list[Snapshot] = []

        async def tell(text: str) -> None:
            more = len(text) - _LAST_LENGTH
            last.append(text if more <= 0 else f"{text[:_LAST_LENGTH]} … and {more} more characters")
            await output(text)

        async def keep(upper: str) -> None:
            targets = [mount.target for mount in step.mounts if mount.target]
            targets += [mount.target for mount in edits.mounts]
            await trio.to_thread.run_sync(remove_stubs, upper, below.tree, targets)
            made.append(
                await self._put(
                    below, lambda directory, tar: take_changes(Path(upper), directory, tar, step.latest)
                )
            )

        async def as_image(mount: RunMount) -> Image:
            assert mount.selection is not None
            copy = Copy(
                text=step.text,
                place=step.place,
                below=None,
                origin=Selection(source=mount.selection.source, patterns=(".",)),
                destination="/",
            )
            snapshot = await self._copy(copy, self.nothing, results)
            assert snapshot.image is not None
            return snapshot.image

        def failure(reason: int | ComposerError) -> DockerfileError:
            if isinstance(reason, ComposerError):
                message = reason.message.partition("\n")[0]
                is_about_user = message.startswith(("unable to find user ", "unable to find group "))
                place = step.user_place if is_about_user and step.user_place is not None else step.place
                return place.error(message, step.user if is_about_user else "")
            shown = "\n".join(f"  | {text}" for text in last)
            return step.place.error(
                f"process {' '.join(step.words)!r} did not complete successfully: exit code: {reason}",
                details=shown,
            )

        async def failed(container: str, reason: int | ComposerError) -> bool:
            if setting.on_failed is None:
                return setting.keeps_failed
            await setting.on_failed(FailedStep(step, container, failure(reason)))
            return False

        devices, edits = await self._devices(step, setting)
        held = held_mounts(
            step, results, setting.secrets, setting.agents, self.caches, as_image, self.scratch
        )
        is_kept = setting.keeps_failed or setting.on_failed is not None
        async with held as mounts:
            config = ContainerConfig(
                image=image.id,
                entrypoint=step.words,
                command=(),
                env=step.env,
                working_dir=step.working_dir,
                user=step.user,
                labels={STEP_LABEL: setting.label, **({KEEP_LABEL: ""} if is_kept else {})},
                healthcheck=Healthcheck(test=("NONE",)),
                mounts=tuple(mounts.mounts),
                network_mode=step.network,
                extra_hosts=step.hosts,
                shm_size=step.shm_size,
                ulimits=setting.ulimits,
                privileged=step.is_insecure,
                is_volatile=not is_kept,  # dpkg alone syncs each file; a layer is settled after a reboot
                device_requests=devices,
            )
            secrets = StepSecrets((*step.proxies, *mounts.env), tuple(mounts.files))
            try:
                status = await self.run_container(config, secrets, tell, keep, failed)
            except DockerfileError:
                raise
            except ComposerError as error:
                raise failure(error) from None
        if status:
            raise failure(status)
        return made[0]

    async def _devices(self, step: Run, setting: Setting) -> tuple[tuple[DeviceRequest, ...], Edits]:
        """What a step asks for by name, and what that adds to its container. Raises DockerfileError."""
        if not step.devices:
            return (), Edits()
        registry = await trio.to_thread.run_sync(read_registry)
        try:
            names = chosen_devices(step.devices, registry, setting.allow)
            requests = (DeviceRequest(driver="cdi", device_ids=names),) if names else ()
            return requests, registry.edits(requests)
        except InvalidArgument as error:
            raise step.place.error(error.message, "--device") from None

    async def files(self, selection: Selection, snapshot: Snapshot) -> dict[str, str]:
        """Path -> digest of the files that a selection has of a context; none when there are too many to remember."""
        scan = snapshot.scan
        if scan is None:
            return {}
        try:
            found = await trio.to_thread.run_sync(
                files_of, snapshot.tree, selection, snapshot.ignore, scan, _REMEMBERED
            )
        except (OSError, NotFound):
            return {}
        return found if len(found) <= _REMEMBERED else {}

    def looked_at_again(self, snapshot: Snapshot) -> Snapshot:
        """A context as it is now."""
        return replace(snapshot, scan=snapshot.rescan()) if snapshot.rescan is not None else snapshot

    async def is_unchanged(self, selection: Selection, snapshot: Snapshot, digest: str) -> bool:
        """Whether files of a context are still what they were."""
        if snapshot.rescan is None:
            return True
        return await self.digest(selection, self.looked_at_again(snapshot)) == digest


def _digest_directory(selection: Selection, snapshot: Snapshot) -> str:
    if snapshot.scan is None:
        return digest_tree(snapshot.tree, selection)
    return digest_context(snapshot.tree, selection, snapshot.ignore, snapshot.scan)


def _missing(selection: Selection, snapshot: Snapshot) -> DockerfileError:
    """All that a selection names and its source lacks."""
    source = f"the context {snapshot.name}".rstrip() if snapshot.scan is not None else _name(selection.source)
    found: list[DockerfileError] = []
    for pattern in selection.patterns:
        try:
            copying.chosen_sources(snapshot.tree, pattern, snapshot.ignore, deep=selection.keeps_parents)
        except copying.SourceNotFound as error:
            found.append(selection.error(error.said_of(source), pattern))
    return combined(found) if found else selection.error("files of the context change while they are read")


def _name(source: Step) -> str:
    """What files are looked for in, if it is no context."""
    if isinstance(source, ImageSource):
        return f"image {source.reference}"
    if isinstance(source, LayerStep):
        return f"stage {source.stage}" if source.stage else "that stage"
    return source.text


def _told(step: Step | Selection, error: Exception) -> DockerfileError:
    """What went wrong, with the place in the Dockerfile."""
    if isinstance(error, DockerfileError):
        return error
    if isinstance(error, OSError):
        return step.error(f"{os.strerror(error.errno or 0)}: {error.filename}")
    part = error.pattern if isinstance(error, copying.SourceNotFound) else ""
    return step.error(str(error).partition("\n")[0], part)
