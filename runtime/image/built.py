"""Images that were built, on their way out: packed, to a registry, to an archive, also several platforms in one."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import IO

import trio

from runtime.image import archive, packing, saving
from runtime.image.attestations import Attached, Attestation, attach
from runtime.image.content import Content
from runtime.image.manifest import Descriptor, InvalidImage
from runtime.image.model import Image, ImageRecord, Progress
from runtime.image.outgoing import describe
from runtime.image.packing import Packing
from runtime.image.platform import Platform
from runtime.image.push import Pushed, Pusher
from runtime.image.reference import Reference, parse_reference, parse_target
from runtime.image.registry.authentication import CredentialSource
from runtime.image.several import encode_several


class BuiltImages:
    """Of one store. An image of several platforms is a list of images."""

    def __init__(self, root: Path, content: Content, pusher: Pusher, platform: Platform) -> None:
        self._root = root
        self._content = content
        self._pusher = pusher
        self._platform = platform

    async def pack(self, image: Image, wanted: Packing) -> Image:
        """``image``, which leaves as ``wanted`` from now on. Raises InvalidImage."""
        return await packing.pack(self._content, image, wanted)

    async def name(self, images: Sequence[Image], names: Sequence[str]) -> None:
        """Give ``images``, one for each platform, some names together. Raises InvalidArgument."""
        catalogue = self._content.catalogue
        with self._content.collecting_stopped():
            if len(images) > 1:
                encoded = encode_several([self._record(image) for image in images], self._content.blobs)
                await trio.to_thread.run_sync(self._content.blobs.put, encoded.data)
                for image in images:
                    catalogue.add_index(image.id, encoded.digest)
            for reference in map(parse_target, names):
                for image in images:
                    catalogue.add_tag(image.id, reference)

    async def load_layout(self, directory: Path, *, tag: str = "", digest: str = "") -> Image:
        """An image of an OCI layout, under no name. Raises InvalidImage."""
        return await archive.load_layout(self._content, directory, self._platform, tag, digest)

    def describe(
        self,
        images: Sequence[Image],
        wanted: Packing,
        names: Sequence[str] = (),
        said: Sequence[Sequence[Attestation]] = (),
    ) -> Descriptor:
        """What ``images`` are in a registry: one's manifest, the index of several, or of one with what is ``said`` of
        each, as they leave under ``names``."""
        records = [self._record(image) for image in images]
        if len(records) == 1 and not any(said):
            return describe(records[0])[0]
        return packing.index_of(records, wanted, self._attached(records, _references(names), said))[0]

    async def push(
        self,
        images: Sequence[Image],
        name: str,
        wanted: Packing,
        progress: Progress,
        credentials: CredentialSource | None = None,
        said: Sequence[Sequence[Attestation]] = (),
    ) -> Pushed:
        """Make ``name`` mean ``images`` in its registry. Raises as :meth:`ImageStore.push` does."""
        reference = parse_reference(name).with_default_tag()
        is_one = len(images) == 1 and not any(said)
        for image in images:
            pushed = await self._pusher.push(image, reference, progress, credentials, is_named=is_one)
        if is_one:
            return pushed
        records = [self._record(image) for image in images]
        attached = self._attached(records, [reference], said)
        descriptor, data = packing.index_of(records, wanted, attached)
        return await self._pusher.push_index(descriptor, data, reference, credentials, attached, of=images)

    async def save(
        self,
        images: Sequence[Image],
        names: Sequence[str],
        wanted: Packing,
        said: Sequence[Sequence[Attestation]] = (),
    ) -> AsyncIterator[bytes]:
        """The pieces of a tar: an OCI layout, and of one image of which nothing is said a docker-archive as well.
        Raises InvalidImage."""
        tags = [str(parse_reference(name).with_default_tag()) for name in names]
        for image in images:
            await self._content.compress(image.id)
        if len(images) == 1 and not any(said):
            pieces = saving.save(self._content, [saving.Chosen(images, tags)])
        else:
            records = [self._record(image) for image in images]
            pieces = saving.in_thread(self._layout(records, tags, wanted, said))
        async for piece in pieces:
            yield piece

    def scratch_file(self) -> IO[bytes]:
        """A file without a name, on the file system that images are on."""
        return tempfile.TemporaryFile(dir=self._root)

    def _layout(
        self,
        records: Sequence[ImageRecord],
        tags: Sequence[str],
        wanted: Packing,
        said: Sequence[Sequence[Attestation]],
    ) -> Iterator[bytes]:
        written: set[str] = set()
        for record in records:
            yield from saving.blobs_of(self._content, record, written)
        attached = self._attached(records, _references(tags), said, is_layout=True)
        for one in attached:
            for blob, content in (*one.blobs, (one.manifest, one.data)):
                if blob.digest not in written:
                    written.add(blob.digest)
                    yield saving.member(f"blobs/sha256/{blob.digest.hex}", content)
        descriptor, data = packing.index_of(records, wanted, attached, is_layout=True)
        yield saving.member(f"blobs/sha256/{descriptor.digest.hex}", data)
        entry: dict[str, object] = {
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest,
            "size": descriptor.size,
        }
        yield from saving.layout_files(saving.named_entries(entry, [parse_reference(tag) for tag in tags]))

    def _attached(
        self,
        records: Sequence[ImageRecord],
        names: Sequence[Reference],
        said: Sequence[Sequence[Attestation]],
        *,
        is_layout: bool = False,
    ) -> list[Attached]:
        found = []
        for record, attestations in zip(records, said, strict=False):
            if attestations:
                facts = json.loads(record.config)
                platform = Platform.of(
                    facts.get("os", ""), facts.get("architecture", ""), facts.get("variant", "")
                )
                described = describe(record, is_layout=is_layout)[0]
                found.append(attach(described, str(platform), names, attestations))
        return found

    def _record(self, image: Image) -> ImageRecord:
        record = self._content.catalogue.record(image.id)
        if record is None:
            raise InvalidImage(f"the image {image.short_id} is gone")
        return record


def _references(names: Sequence[str]) -> list[Reference]:
    return [parse_reference(name).with_default_tag() for name in names]
