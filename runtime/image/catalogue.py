"""Which images there are and what they are called: the documents of kind ``image``, and finding one by what a
person typed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.image.digest import Digest
from runtime.image.manifest import Descriptor, InvalidImage, parse_config
from runtime.image.model import HistoryEntry, Image, ImageRecord, LayerRecord, NewImage, parse_time
from runtime.image.reference import Reference, parse_reference
from runtime.storage.state import StateDatabase

KIND = "image"
_PREFIX = re.compile(r"[0-9a-f]{1,64}")
_TELLING = 4
"""Digits from which on the beginning of several ids is an ambiguity, not a name that is not there."""


Lowers = Callable[[Sequence[Digest]], tuple[Path, ...]]
"""From chain ids, lowest first, to the directories for overlayfs."""


class Catalogue:
    """All images by id and by name, kept in memory and in the database alike."""

    def __init__(self, database: StateDatabase, lowers: Lowers) -> None:
        self._database = database
        self._lowers = lowers
        self._records: dict[str, ImageRecord] = {}
        self._images: dict[str, Image] = {}
        self._names: dict[str, str] = {}
        self.notices: list[str] = []
        self._embedded: dict[str, Image] = {}
        for key, body in database.items(KIND):
            try:
                record = msgspec.json.decode(body, type=ImageRecord)
                if record.id != key or Digest.of(record.config.encode()) != key:
                    raise InvalidImage("its configuration does not match its id")
                self._enter(record)
            except (msgspec.MsgspecError, UnicodeError, ComposerError) as error:
                database.quarantine(KIND, key, str(error))
                self.notices.append(f"the record of image {key} was damaged and is set aside: {error}")

    def _enter(self, record: ImageRecord) -> None:
        image = _image(record, self._lowers)
        self._forget(record.id)
        self._records[record.id] = record
        self._images[record.id] = image
        for name in (*record.tags, *record.digests):
            self._names[name] = record.id

    def _forget(self, image_id: str) -> None:
        old = self._records.pop(image_id, None)
        self._images.pop(image_id, None)
        for name in (*old.tags, *old.digests) if old is not None else ():
            if self._names.get(name) == image_id:
                del self._names[name]

    def embed(self, image: Image) -> None:
        """Show an image that is not in the database."""
        self._embedded[image.id] = image
        for tag in image.tags:
            self._names[str(parse_reference(tag))] = image.id

    # Reading

    def records(self) -> Iterator[ImageRecord]:
        return iter(tuple(self._records.values()))

    def record(self, image_id: str) -> ImageRecord | None:
        return self._records.get(image_id)

    def image(self, image_id: str) -> Image | None:
        return self._images.get(image_id) or self._embedded.get(image_id)

    def images(self) -> list[Image]:
        """Newest first; the embedded ones last."""
        ordered = sorted(self._images.values(), key=lambda image: (-image.created, image.id))
        return ordered + list(self._embedded.values())

    def by_name(self, reference: Reference) -> Image | None:
        """What a complete reference means here; with a digest, the tag does not matter."""
        name = reference.with_default_tag()
        if name.digest is not None:
            name = name.with_digest(name.digest)
        found = self._names.get(str(name))
        return self.image(found) if found is not None else None

    def resolve(self, text: str) -> Image | None:
        """A reference, an id (``sha256:...``), or the beginning of an id. Raises InvalidArgument (ambiguous,
        bad)."""
        digits = text.removeprefix("sha256:")
        if len(digits) == 64 and _PREFIX.fullmatch(digits):
            return self.image(f"sha256:{digits}")
        return self.by_name(parse_reference(text)) or self._by_prefix(digits)

    def _by_prefix(self, prefix: str) -> Image | None:
        if not _PREFIX.fullmatch(prefix):
            return None
        found = [i for i in (*self._images, *self._embedded) if i.startswith(f"sha256:{prefix}")]
        if len(found) > 1 and len(prefix) < _TELLING:
            return None
        if len(found) > 1:
            raise InvalidArgument(f"ambiguous image id prefix: {prefix}", hint="Give more digits.")
        return self.image(found[0]) if found else None

    def get(self, text: str) -> Image:
        """As :meth:`resolve`; raises NotFound with Docker's sentence."""
        image = self.resolve(text)
        if image is None:
            name = f"sha256:{text}" if len(text) == 64 and _PREFIX.fullmatch(text) else text
            raise NotFound(f"No such image: {parse_reference(name).with_default_tag().familiar}")
        return image

    # Writing

    def register(self, new: NewImage) -> Image:
        """Add an image, or more names to one that is there; its tags are taken from whatever had them."""
        image_id = str(Digest.of(new.config))
        with self._database.transaction():
            for tag in new.tags:
                self._take_name(tag, image_id)
            old = self._records.get(image_id)
            record = ImageRecord(
                id=image_id,
                config=new.config.decode(),
                layers=tuple(new.layers),
                manifest=new.manifest.decode() or (old.manifest if old else ""),
                tags=tuple(sorted({*new.tags, *(old.tags if old else ())})),
                digests=tuple(sorted({*new.digests, *(old.digests if old else ())})),
                added=old.added if old else time.time_ns(),
            )
            return self._write(record)

    def _write(self, record: ImageRecord) -> Image:
        self._database.put(KIND, record.id, msgspec.json.encode(record))
        self._enter(record)
        return self._images[record.id]

    def _take_name(self, name: str, image_id: str) -> None:
        owner = self._names.get(name)
        if owner is None or owner == image_id:
            return
        if owner in self._embedded:
            raise InvalidArgument(f"the name {name} belongs to the embedded image")
        self.remove_name(owner, name)

    def add_tag(self, image_id: str, reference: Reference) -> None:
        """Name an image; another that had the name loses it."""
        record = self._records[image_id]
        name = str(reference)
        with self._database.transaction():
            self._take_name(name, image_id)
            if name not in record.tags:
                self._write(msgspec.structs.replace(record, tags=tuple(sorted({*record.tags, name}))))

    def add_digest(self, image_id: str, reference: Reference, manifest: bytes) -> None:
        """What a registry calls an image since it was pushed there, described by ``manifest``."""
        record = self._records.get(image_id)
        if record is None:
            return
        name = str(reference)
        with self._database.transaction():
            self._take_name(name, image_id)
            digests = tuple(sorted({*record.digests, name}))
            self._write(msgspec.structs.replace(record, digests=digests, manifest=manifest.decode()))

    def replace_blob(self, old: str, new: Descriptor) -> None:
        """Let all images have a layer in another compression."""
        with self._database.transaction():
            for record in self.records():
                if any(layer.blob == old for layer in record.layers):
                    layers = tuple(
                        msgspec.structs.replace(
                            layer, blob=str(new.digest), blob_size=new.size, media_type=new.media_type
                        )
                        if layer.blob == old
                        else layer
                        for layer in record.layers
                    )
                    self._write(msgspec.structs.replace(record, layers=layers))

    def remove_name(self, image_id: str, name: str) -> None:
        """Take a tag or digest away. With the last tag of a repository go its digests, as for Docker."""
        record = self._records[image_id]
        tags = tuple(tag for tag in record.tags if tag != name)
        repositories = {parse_reference(tag).name for tag in tags}
        digests = record.digests
        if name in record.tags and tags:
            digests = tuple(d for d in digests if parse_reference(d).name in repositories)
        digests = tuple(d for d in digests if d != name)
        self._write(msgspec.structs.replace(record, tags=tags, digests=digests))

    def delete(self, image_id: str) -> None:
        self._database.delete(KIND, image_id)
        self._forget(image_id)

    def layer(self, chain_id: Digest) -> LayerRecord | None:
        """The record of an unpacked layer, from any image that has it."""
        for record in self._records.values():
            for layer in record.layers:
                if layer.chain_id == chain_id:
                    return layer
        return None

    def below(self, chain_id: Digest) -> tuple[Digest, ...]:
        """The chain ids under a layer, topmost first."""
        for record in self._records.values():
            chain = record.chain_ids
            if chain_id in chain:
                return tuple(reversed(chain[: chain.index(chain_id)]))
        return ()


def _image(record: ImageRecord, lowers: Lowers) -> Image:
    document = parse_config(record.config.encode())
    sizes = iter([layer.size for layer in record.layers])
    history = tuple(
        HistoryEntry(
            created=parse_time(step.created or ""),
            created_by=step.created_by or "",
            comment=step.comment or "",
            size=0 if step.empty_layer else next(sizes, 0),
            empty_layer=bool(step.empty_layer),
            author=step.author or "",
        )
        for step in document.history
    )
    return Image(
        id=str(record.id),
        config=document.config,
        layers=lowers(record.chain_ids),
        tags=tuple(sorted(parse_reference(tag).familiar for tag in record.tags)),
        digests=tuple(sorted(parse_reference(name).familiar for name in record.digests)),
        created=parse_time(document.created),
        size=sum(layer.size for layer in record.layers),
        content_size=sum({layer.blob: layer.blob_size for layer in record.layers}.values()),
        os=document.os,
        architecture=document.architecture,
        variant=document.variant,
        author=document.author,
        comment=document.comment,
        docker_version=document.docker_version,
        diff_ids=tuple(map(str, document.diff_ids)),
        chain_ids=tuple(map(str, record.chain_ids)),
        history=history,
        on_build=document.on_build,
    )
