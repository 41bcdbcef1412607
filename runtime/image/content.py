"""Blobs, layers and the catalogue of one engine, and what ties them: an image's layers are unpacked below
each other, what is in use is not collected, and one layer is fetched and unpacked once for everybody who
wants it."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import trio

from runtime.errors import ComposerError
from runtime.image.blobs import BlobStore
from runtime.image.catalogue import Catalogue
from runtime.image.compression import Compressing, Readable, decompressed, detect
from runtime.image.digest import Digest, chain_ids
from runtime.image.flight import KeyedLocks
from runtime.image.layers import LayerStore, StagedLayer
from runtime.image.manifest import OCI_LAYER, Descriptor, InvalidImage, Manifest, parse_config
from runtime.image.model import Image, ImageRecord, LayerRecord, Progress, PullProgress
from runtime.image.outgoing import is_described, oci_layer_type
from runtime.image.platform import Platform
from runtime.image.unpack import DEFAULT_LIMITS, Limits, Unpacked
from runtime.storage.files import sync_directory
from runtime.storage.state import StateDatabase

_REPORT_EVERY = 0.1
"""Seconds between two progress events of one layer."""

MEDIA_SUFFIX = {"": "", "gzip": "+gzip", "zstd": "+zstd", "xz": "+xz", "bzip2": "+bzip2"}
Fetch = Callable[[Descriptor], Awaitable[None]]
"""Brings a blob into the store; returns when it is there."""


class Throttle:
    """Passes on at most one progress event in ``_REPORT_EVERY`` seconds."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._next = 0.0

    def __call__(self, event: PullProgress) -> None:
        now = trio.current_time()
        if now >= self._next:
            self._next = now + _REPORT_EVERY
            self._progress(event)


@dataclass(frozen=True, slots=True)
class _Layer:
    descriptor: Descriptor
    diff_id: Digest | None
    """None: whatever comes of it."""
    chain_id: Digest
    below: tuple[Digest, ...]
    """Topmost first."""


class Content:
    """Everything on the disk below ``root`` that belongs to images. Methods are for the trio thread."""

    def __init__(
        self,
        root: Path,
        database: StateDatabase,
        boot_id: str = "",
        limits: Limits = DEFAULT_LIMITS,
        platform: Platform | None = None,
    ) -> None:
        self.limits = limits
        self.blobs = BlobStore(root)
        self.layers = LayerStore(root / "layers", boot_id)
        self.catalogue = Catalogue(database, self.layers.lowers, platform or Platform.host())
        self._locks = KeyedLocks()
        self._busy = 0
        self._pins: Counter[Digest] = Counter()
        self._unpackers = trio.CapacityLimiter(max(2, os.cpu_count() or 2))

    @staticmethod
    def chain(config: bytes) -> tuple[Digest, ...]:
        """The chain ids of the image with a configuration, lowest first."""
        return chain_ids(parse_config(config).diff_ids)

    def is_complete(self, image: Image) -> bool:
        """Whether all its layers are on the disk, unpacked and as they came."""
        record = self.catalogue.record(image.id)
        blobs = record.layers if record is not None else ()
        return all(path.is_dir() for path in image.layers) and all(
            self.blobs.has(Digest(layer.blob), layer.blob_size) for layer in blobs
        )

    @contextlib.contextmanager
    def collecting_stopped(self) -> Iterator[None]:
        """Collect nothing meanwhile: for content whose digest is not known before it is there."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    @contextlib.contextmanager
    def pinned(self, digests: Sequence[Digest]) -> Iterator[None]:
        """Keep blobs and layers from being collected while an image is on its way."""
        self._pins.update(digests)
        try:
            yield
        finally:
            self._pins.subtract(digests)
            self._pins = +self._pins

    async def assemble(
        self, config: bytes, manifest: Manifest, fetch: Fetch, progress: Progress
    ) -> list[LayerRecord]:
        """Get and unpack all layers of an image, several at a time, and return their records, lowest first.

        ``fetch`` is asked for the blobs that are needed and not there. Raises InvalidImage, or what ``fetch``
        raises; layers that were complete by then stay until the next collection.
        """
        diff_ids = parse_config(config).diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise InvalidImage(
                f"the image has {len(manifest.layers)} layers but its configuration names {len(diff_ids)}"
            )
        chain = chain_ids(diff_ids)
        layers = [
            _Layer(descriptor, diff_id, chain[n], tuple(reversed(chain[:n])))
            for n, (descriptor, diff_id) in enumerate(zip(manifest.layers, diff_ids, strict=True))
        ]
        records: list[LayerRecord | None] = [None] * len(layers)
        done = [trio.Event() for _ in layers]
        failures: list[Exception] = []

        async def one(number: int, scope: trio.CancelScope) -> None:
            try:
                below = done[number - 1] if number else None
                records[number] = await self._layer(layers[number], fetch, progress, below, arrived)
                done[number].set()
            except Exception as error:
                failures.append(error)
                scope.cancel()

        async def make_durable(digest: Digest) -> None:
            try:
                await trio.to_thread.run_sync(self.blobs.sync, digest)
            except ComposerError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        def arrived(digest: Digest) -> None:
            """The disk gets its blob while it is unpacked; both have to be done before there is an image."""
            nursery.start_soon(make_durable, digest)

        for layer in layers:  # in their order, which tasks do not keep
            progress(PullProgress(layer.descriptor.digest.short, "Pulling fs layer"))
        async with trio.open_nursery() as nursery:
            for number in range(len(layers)):
                nursery.start_soon(one, number, nursery.cancel_scope)
                # Tasks that start together run in any order; each a step later than the one before, they queue for
                # downloads from the lowest on, and what is complete when the pull is interrupted stays.
                await trio.lowlevel.checkpoint()
        if failures:
            raise failures[0]
        return [record for record in records if record is not None]

    async def _layer(
        self,
        layer: _Layer,
        fetch: Fetch,
        progress: Progress,
        below: trio.Event | None,
        arrived: Callable[[Digest], None],
    ) -> LayerRecord:
        short = layer.descriptor.digest.short
        async with self._locks.hold(("layer", layer.chain_id)):
            known = self.catalogue.layer(layer.chain_id)
            if self.layers.has(layer.chain_id):
                if known is None or not self.blobs.has(Digest(known.blob), known.blob_size):
                    await self._fetch(layer.descriptor, fetch)
                    await trio.to_thread.run_sync(self.blobs.sync, layer.descriptor.digest)
                    size = known.size if known is not None else self.layers.size(layer.chain_id)
                    if known is not None and known.blob != layer.descriptor.digest:
                        self.catalogue.replace_blob(known.blob, layer.descriptor)
                    known = _record(layer, size)
                progress(PullProgress(short, "Already exists"))
                if below is not None:
                    await below.wait()
                return known
            if not self.blobs.has(layer.descriptor.digest, layer.descriptor.size):
                await self._fetch(layer.descriptor, fetch)
            arrived(layer.descriptor.digest)
            try:
                staged = await self._stage(layer, progress)
            except InvalidImage:
                if await trio.to_thread.run_sync(self.blobs.verify, layer.descriptor.digest):
                    raise
                # The disk has spoilt what was verified when it came: once more from where it came from.
                self.blobs.remove(layer.descriptor.digest)
                await self._fetch(layer.descriptor, fetch)
                arrived(layer.descriptor.digest)
                staged = await self._stage(layer, progress)
            try:
                if below is not None:
                    await below.wait()
                await trio.to_thread.run_sync(staged.commit, layer.chain_id, layer.below)
            except BaseException:
                staged.discard()
                raise
        progress(PullProgress(short, "Pull complete"))
        return _record(layer, staged.size)

    async def add_layer(self, source: Readable, below: Sequence[Digest], progress: Progress) -> LayerRecord:
        """Keep and unpack a layer that nobody has described yet, on top of ``below`` (topmost first).

        Hold :meth:`collecting_stopped` until an image with it is registered.
        """
        descriptor = await trio.to_thread.run_sync(self.blobs.spool, source)
        layer = _Layer(descriptor, None, descriptor.digest, tuple(below))
        staged = await self._stage(layer, progress)
        diff_id = staged.diff_id
        chain_id = Digest.of(f"{below[0]} {diff_id}".encode()) if below else diff_id
        async with self._locks.hold(("layer", chain_id)):
            if self.layers.has(chain_id):
                staged.discard()
            else:
                await trio.to_thread.run_sync(staged.commit, chain_id, below)
        with self.blobs.open(descriptor.digest) as blob:
            media_type = f"{OCI_LAYER}{MEDIA_SUFFIX[detect(blob.read(6))]}"
        return LayerRecord(
            str(diff_id), str(chain_id), staged.size, str(descriptor.digest), descriptor.size, media_type
        )

    async def make_layer(
        self, write: Callable[[Path, BinaryIO], Unpacked], below: Sequence[Digest]
    ) -> LayerRecord:
        """Keep a layer that ``write`` (in a thread) puts into a directory and, as a tar, into a file, on top of
        ``below`` (topmost first). It is durable after :meth:`make_durable`. Hold :meth:`collecting_stopped`. Raises
        what ``write`` raises."""

        def work() -> tuple[Descriptor, StagedLayer]:
            staged = self.layers.begin()
            try:
                with self.blobs.scratch() as blob:
                    staged.unpacked = write(staged.directory, blob)
                    return self.blobs.adopt(blob, staged.diff_id), staged
            except BaseException:
                staged.discard()
                raise

        descriptor, staged = await trio.to_thread.run_sync(work, limiter=self._unpackers)
        diff_id = staged.diff_id
        chain_id = Digest.of(f"{below[0]} {diff_id}".encode()) if below else diff_id
        async with self._locks.hold(("layer", chain_id)):
            if self.layers.has(chain_id):
                staged.discard()
            else:
                await trio.to_thread.run_sync(
                    lambda: staged.commit(chain_id, below, is_durable=False), limiter=self._unpackers
                )
        digest, size = str(descriptor.digest), descriptor.size
        return LayerRecord(str(diff_id), str(chain_id), staged.size, digest, size, OCI_LAYER)

    def make_durable(self, image_id: str) -> None:
        """Bring the blobs of an image that was built to the disk. Blocking."""
        record = self.catalogue.record(image_id)
        for layer in record.layers if record is not None else ():
            self.blobs.sync(Digest(layer.blob))
        sync_directory(self.layers.root)

    async def put_upon(self, layer: LayerRecord, below: Sequence[Digest]) -> LayerRecord:
        """A lowest layer on top of others (topmost first) instead. Hold :meth:`collecting_stopped`."""
        if not below:
            return layer
        chain_id = Digest.of(f"{below[0]} {layer.diff_id}".encode())
        async with self._locks.hold(("layer", chain_id)):
            if not self.layers.has(chain_id):
                await trio.to_thread.run_sync(self.layers.clone, Digest(layer.chain_id), chain_id)
        return msgspec.structs.replace(layer, chain_id=str(chain_id))

    async def unpack_again(self, record: LayerRecord) -> None:
        """Replace an unpacked layer by what its blob has. No container may run on it. Raises InvalidImage."""
        chain_id = Digest(record.chain_id)
        below = self.catalogue.below(chain_id)
        descriptor = Descriptor(record.media_type, Digest(record.blob), record.blob_size)
        layer = _Layer(descriptor, Digest(record.diff_id), chain_id, below)
        async with self._locks.hold(("layer", chain_id)):
            staged = await self._stage(layer, lambda _: None)
            try:
                await trio.to_thread.run_sync(staged.commit, chain_id, below)
            except BaseException:
                staged.discard()
                raise

    async def compress(self, image_id: str) -> ImageRecord:
        """The record of an image whose layers are all compressed, so that they can be sent somewhere.

        Those that came plain (from an archive, an import) are kept in their compressed form from now on; those
        that a manifest describes stay as they are. Raises InvalidImage when a blob is missing.
        """
        record = self.catalogue.record(image_id)
        if record is None:
            raise InvalidImage(f"the image {image_id} is gone")
        if is_described(record):
            return record
        with self.collecting_stopped():
            for layer in record.layers:
                async with self._locks.hold(("blob", layer.blob)):
                    known = self.catalogue.layer(Digest(layer.chain_id))
                    if known is not None and oci_layer_type(known.media_type) != OCI_LAYER:
                        continue
                    made = await trio.to_thread.run_sync(self._compressed, Digest(layer.blob))
                    self.catalogue.replace_blob(layer.blob, made)
        self.collect()
        await self.sweep()
        record = self.catalogue.record(image_id)
        if record is None:
            raise InvalidImage(f"the image {image_id} is gone")
        return record

    def _compressed(self, digest: Digest) -> Descriptor:
        with self.blobs.open(digest) as blob:
            made = self.blobs.spool(Compressing(decompressed(blob)))
        return Descriptor(f"{OCI_LAYER}+gzip", made.digest, made.size)

    async def _fetch(self, descriptor: Descriptor, fetch: Fetch) -> None:
        async with self._locks.hold(("blob", descriptor.digest)):
            if not self.blobs.has(descriptor.digest, descriptor.size):
                await fetch(descriptor)

    async def _stage(self, layer: _Layer, progress: Progress) -> StagedLayer:
        """Unpack in a thread; when this is cancelled, the thread sees it and ends first."""
        short, total = layer.descriptor.digest.short, layer.descriptor.size
        token = trio.lowlevel.current_trio_token()
        throttle = Throttle(progress)
        progress(PullProgress(short, "Extracting", 0, total))

        def report(current: int) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(
                    throttle, PullProgress(short, "Extracting", current, total), idempotent=True
                )

        def work() -> StagedLayer:
            with self.blobs.open(layer.descriptor.digest) as blob:
                return self.layers.stage(
                    _Counted(blob, report),
                    layer.diff_id,
                    cancelled=_is_cancelled,
                    limits=self.limits.of_blob(total),
                )

        staged = await trio.to_thread.run_sync(work, limiter=self._unpackers)
        progress(PullProgress(short, "Extracting", total, total))  # it may wait for the layers below
        return staged

    # Collection

    def collect(self) -> int:
        """Remove the blobs and layers that no image has and nobody is bringing in; bytes of blobs given back.

        All of it is only renamed away: :meth:`sweep` deletes it.
        """
        if self._busy:
            return 0
        # Apart, for the chain id of a lowest layer is also the digest of its plain blob.
        chains: set[str] = set(self._pins)
        blobs: set[str] = set(self._pins)
        for record in self.catalogue.records():
            chains.update(layer.chain_id for layer in record.layers)
            blobs.update(layer.blob for layer in record.layers)
            blobs.update(record.indexes)
        for chain_id in self.layers.all():
            if chain_id not in chains:
                self.layers.remove(chain_id)
        return sum(self.blobs.remove(digest) for digest in self.blobs.all() if digest not in blobs)

    def disk_usage(self, images: Container[str] | None = None) -> int:
        """Bytes of the blobs and of the files in the layers of all images (or those with the given ids), each
        once."""
        blobs: dict[str, int] = {}
        layers: dict[str, int] = {}
        for record in self.catalogue.records():
            for layer in record.layers if images is None or record.id in images else ():
                blobs[layer.blob] = layer.blob_size
                layers[layer.chain_id] = layer.size
        return sum(blobs.values()) + sum(layers.values())

    def shared_sizes(self, images: Iterable[str]) -> dict[str, int]:
        """Of each of the images with some ids: bytes of the layers that others of them have, too."""
        records = [record for image_id in images if (record := self.catalogue.record(image_id)) is not None]
        owners = Counter(layer.chain_id for record in records for layer in record.layers)
        return {
            str(record.id): sum(layer.size for layer in record.layers if owners[layer.chain_id] > 1)
            for record in records
        }

    async def sweep(self) -> list[str]:
        """Delete what was put aside, in a thread. Returns what could not be deleted."""
        return await trio.to_thread.run_sync(lambda: [*self.layers.sweep(), *self.blobs.sweep()])


class _Counted:
    """Reports how many compressed bytes have been read."""

    def __init__(self, source: BinaryIO, report: Callable[[int], None]) -> None:
        self._source = source
        self._report = report
        self._count = 0

    def read(self, size: int, /) -> bytes:
        data = self._source.read(max(size, 1 << 18))
        self._count += len(data)
        self._report(self._count)
        return data


def _is_cancelled() -> bool:
    """In a thread of ``trio.to_thread``: raises Cancelled when the task that waits for it was cancelled."""
    trio.from_thread.check_cancelled()
    return False


def _record(layer: _Layer, size: int) -> LayerRecord:
    return LayerRecord(
        diff_id=str(layer.diff_id or ""),
        chain_id=str(layer.chain_id),
        size=size,
        blob=str(layer.descriptor.digest),
        blob_size=layer.descriptor.size,
        media_type=layer.descriptor.media_type,
    )
