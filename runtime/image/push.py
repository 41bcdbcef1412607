"""Pushing: an image of this store to a registry, sending only what is not there yet."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from runtime.errors import ComposerError, InvalidArgument
from runtime.image.attestations import Attached
from runtime.image.content import Content, Throttle
from runtime.image.digest import Digest
from runtime.image.manifest import OCI_CONFIG, Descriptor, InvalidImage
from runtime.image.model import Image, ImageRecord, LayerRecord, Progress, PullProgress, tell_pause
from runtime.image.outgoing import describe
from runtime.image.reference import Reference, parse_reference
from runtime.image.registry.authentication import CredentialSource
from runtime.image.registry.configuration import RegistryConfiguration
from runtime.image.registry.connection import Connection
from runtime.image.registry.credentials import load_credentials
from runtime.image.registry.upload import Uploader
from runtime.image.several import encode_several


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a tag of the registry stands for at present."""

    tag: str
    digest: Digest
    size: int
    """Of the manifest, bytes."""


class Pusher:
    """Pushes from one :class:`Content`."""

    def __init__(
        self, content: Content, configuration: RegistryConfiguration, env: Mapping[str, str]
    ) -> None:
        self._content = content
        self._configuration = configuration
        self._env = env

    async def push(
        self,
        image: Image,
        reference: Reference,
        progress: Progress,
        credentials: CredentialSource | None = None,
        *,
        is_named: bool = True,
    ) -> Pushed:
        """Make ``reference`` (with a tag) mean ``image`` in its registry; not ``is_named``: just bring it there, as a
        part of an index.

        Layers that came uncompressed are compressed first, once. Raises as pulling does, InvalidImage when a
        blob is missing here.
        """
        if reference.digest is not None:
            raise InvalidArgument("cannot push a digest reference")
        for layer in image.diff_ids:
            progress(PullProgress(Digest(layer).short, "Preparing"))
        find = credentials or partial(load_credentials, self._env)
        connection = Connection(
            reference.domain, self._configuration, credentials=partial(find, reference.domain)
        )
        connection.on_pause = partial(tell_pause, progress, "")
        try:
            record = await self._content.compress(image.id)
            blobs = [layer.blob for layer in record.layers]
            with self._content.pinned([*map(Digest, blobs)]):
                descriptor, manifest = describe(record)
                uploader = Uploader(connection, reference)
                await self._send_blobs(uploader, record, reference, progress)
                name = reference.tag if is_named else str(descriptor.digest)
                await uploader.put_manifest(descriptor, manifest, name)
        finally:
            with trio.CancelScope(shield=True):
                await connection.aclose()
        if is_named:
            digest = reference.with_digest(descriptor.digest)
            self._content.catalogue.add_digest(image.id, digest, manifest)
        return Pushed(reference.tag, descriptor.digest, descriptor.size)

    async def push_several(
        self,
        images: Sequence[Image],
        reference: Reference,
        progress: Progress,
        credentials: CredentialSource | None = None,
    ) -> Pushed:
        """Make ``reference`` mean ``images``, one for each platform, by an index: the one that they came with when all
        of it is here. Raises as :meth:`push` does."""
        for image in images:
            await self.push(image, reference, progress, credentials, is_named=False)
        records = [record for image in images if (record := self._content.catalogue.record(image.id))]
        encoded = encode_several(records, self._content.blobs)
        return await self.push_index(encoded.descriptor, encoded.data, reference, credentials, of=images)

    async def push_index(
        self,
        descriptor: Descriptor,
        data: bytes,
        reference: Reference,
        credentials: CredentialSource | None = None,
        attached: Sequence[Attached] = (),
        *,
        of: Sequence[Image] = (),
    ) -> Pushed:
        """Make ``reference`` mean an index whose images are there, those ``of`` this store; what is ``attached`` to
        them is sent. Raises as :meth:`push` does."""
        find = credentials or partial(load_credentials, self._env)
        connection = Connection(
            reference.domain, self._configuration, credentials=partial(find, reference.domain)
        )
        try:
            uploader = Uploader(connection, reference)
            for one in attached:
                for blob, content in one.blobs:
                    if not await uploader.has(blob.digest):
                        await uploader.upload(blob, partial(io.BytesIO, content), lambda _: None)
                await uploader.put_manifest(one.manifest, one.data, str(one.manifest.digest))
            await uploader.put_manifest(descriptor, data, reference.tag)
        finally:
            with trio.CancelScope(shield=True):
                await connection.aclose()
        for image in of:
            self._content.catalogue.add_digest(image.id, reference.with_digest(descriptor.digest))
        return Pushed(reference.tag, descriptor.digest, descriptor.size)

    async def _send_blobs(
        self, uploader: Uploader, record: ImageRecord, reference: Reference, progress: Progress
    ) -> None:
        config = record.config.encode()
        limiter = trio.CapacityLimiter(self._configuration.concurrent_uploads)
        failures: list[ComposerError] = []

        async def send(layer: LayerRecord, scope: trio.CancelScope) -> None:
            try:
                async with limiter:
                    await self._send_layer(uploader, layer, reference, progress)
            except ComposerError as error:
                failures.append(error)
                scope.cancel()

        async with trio.open_nursery() as nursery:
            for layer in {layer.blob: layer for layer in record.layers}.values():
                nursery.start_soon(send, layer, nursery.cancel_scope)
        if failures:
            raise failures[0]
        digest = Digest.of(config)
        if not await uploader.has(digest):
            await uploader.upload(
                Descriptor(OCI_CONFIG, digest, len(config)), lambda: io.BytesIO(config), lambda _: None
            )

    async def _send_layer(
        self, uploader: Uploader, layer: LayerRecord, reference: Reference, progress: Progress
    ) -> None:
        digest, short, size = Digest(layer.blob), Digest(layer.diff_id).short, layer.blob_size
        if await uploader.has(digest):
            progress(PullProgress(short, "Layer already exists"))
            return
        for source in self._sources(layer.blob, reference):
            if await uploader.mount(digest, source):
                progress(PullProgress(short, "Mounted from", text=source))
                return
        if not self._content.blobs.has(digest, size):
            raise InvalidImage(
                f"the layer {digest} of the image is missing or damaged", hint="Pull or load the image again."
            )
        throttle = Throttle(progress)
        progress(PullProgress(short, "Pushing", 0, size))
        await uploader.upload(
            Descriptor(layer.media_type, digest, size),
            lambda: self._content.blobs.open(digest),
            lambda sent: throttle(PullProgress(short, "Pushing", sent, size)),
        )
        progress(PullProgress(short, "Pushed", size, size))

    def _sources(self, blob: str, reference: Reference) -> Iterator[str]:
        """Other repositories of the registry that are known to have a blob."""
        found: dict[str, None] = {}
        for record in self._content.catalogue.records():
            if any(layer.blob == blob for layer in record.layers):
                for name in map(parse_reference, record.digests):
                    if name.domain == reference.domain and name.path != reference.path:
                        found[name.path] = None
        yield from list(found)[:3]
