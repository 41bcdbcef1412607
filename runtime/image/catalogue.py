"""Which images there are and what they are called: the documents of kind ``image``, and finding one by what a
person typed.

A name can mean several images, if they are what one index has for several platforms. The first of them, this machine's
if it is there, is what the name means where nobody asks for a platform.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.image.digest import Digest
from runtime.image.manifest import Descriptor, InvalidImage, parse_config
from runtime.image.model import HistoryEntry, Image, ImageRecord, LayerRecord, NewImage, parse_time
from runtime.image.platform import Platform, preferred
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

    def __init__(self, database: StateDatabase, lowers: Lowers, platform: Platform) -> None:
        self._database = database
        self._lowers = lowers
        self._preferred = preferred(platform)
        self._records: dict[str, ImageRecord] = {}
        self._images: dict[str, Image] = {}
        self._names: dict[str, tuple[str, ...]] = {}
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
            named = (*self._names.get(name, ()), record.id)
            self._names[name] = tuple(sorted(named, key=self._rank))

    def _forget(self, image_id: str) -> None:
        old = self._records.pop(image_id, None)
        self._images.pop(image_id, None)
        for name in (*old.tags, *old.digests) if old is not None else ():
            left = tuple(one for one in self._names.get(name, ()) if one != image_id)
            if left:
                self._names[name] = left
            else:
                self._names.pop(name, None)

    def _rank(self, image_id: str) -> tuple[int, str]:
        """The place of an image among those of one name: what this machine runs, best first."""
        platform = self._images[image_id].platform
        is_known = platform in self._preferred
        return self._preferred.index(platform) if is_known else len(self._preferred), str(platform)

    def embed(self, image: Image) -> None:
        """Show an image that is not in the database."""
        self._embedded[image.id] = image
        for tag in image.tags:
            self._names[str(parse_reference(tag))] = (image.id,)

    # Reading

    def records(self) -> Iterator[ImageRecord]:
        return iter(tuple(self._records.values()))

    def record(self, image_id: str) -> ImageRecord | None:
        return self._records.get(image_id)

    def image(self, image_id: str) -> Image | None:
        return self._images.get(image_id) or self._embedded.get(image_id)

    def images(self) -> list[Image]:
        """Newest first; the embedded ones last. Without those that are only kept for their containers."""
        kept = (image for image in self._images.values() if not self._records[image.id].is_removed)
        ordered = sorted(kept, key=lambda image: (-image.created, image.id))
        return ordered + list(self._embedded.values())

    def shown(self) -> list[Image]:
        """As :meth:`images`, but of several that a name means only the first, under that name."""
        found = []
        for image in self.images():
            record = self._records.get(image.id)
            if record is None:
                found.append(image)
            elif self._is_shown(record):
                first = [
                    parse_reference(name).familiar for name in record.tags if self._is_first(record, name)
                ]
                found.append(replace(image, tags=tuple(sorted(first))))
        return found

    def _is_first(self, record: ImageRecord, name: str) -> bool:
        return self._names[name][0] == record.id

    def _is_shown(self, record: ImageRecord) -> bool:
        names = record.tags or record.digests
        return not names or any(self._is_first(record, name) for name in names)

    def by_name(self, reference: Reference) -> Image | None:
        """What a complete reference means here; with a digest, the tag does not matter."""
        found = self.all_of(reference)
        return found[0] if found else None

    def all_of(self, reference: Reference) -> list[Image]:
        """All that a complete reference means here, one for each platform, the first choice first."""
        name = reference.with_default_tag()
        if name.digest is not None:
            name = name.with_digest(name.digest)
        found = (self.image(image_id) for image_id in self._names.get(str(name), ()))
        return [image for image in found if image is not None]

    def resolve(self, text: str) -> Image | None:
        """A reference, an id (``sha256:...``), or the beginning of an id. Raises InvalidArgument (ambiguous,
        bad)."""
        found = self.resolve_all(text)
        return found[0] if found else None

    def resolve_all(self, text: str) -> list[Image]:
        """As :meth:`resolve`, all that a name means; an id means one. Raises InvalidArgument."""
        digits = text.removeprefix("sha256:")
        if len(digits) == 64 and _PREFIX.fullmatch(digits):
            found = self.image(f"sha256:{digits}")
            return [found] if found is not None else []
        if named := self.all_of(parse_reference(text)):
            return named
        found = self._by_prefix(digits)
        return [found] if found is not None else []

    def siblings(self, image_id: str) -> list[Image]:
        """Other images that have no tag but such as this one has, too: they are not shown beside it."""
        record = self._records.get(image_id)
        if record is None:
            return []
        own = {*record.tags, *record.digests}
        named = {one for name in own for one in self._names[name] if not self._is_shown(self._records[one])}
        return [
            self._images[one]
            for one in sorted(named - {image_id}, key=self._rank)
            if own.issuperset(self._records[one].tags)
        ]

    def _by_prefix(self, prefix: str) -> Image | None:
        if not _PREFIX.fullmatch(prefix):
            return None
        known = [image_id for image_id, record in self._records.items() if not record.is_removed]
        found = [i for i in (*known, *self._embedded) if i.startswith(f"sha256:{prefix}")]
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
            old = self._records.get(image_id)
            record = ImageRecord(
                id=image_id,
                config=new.config.decode(),
                layers=tuple(new.layers),
                manifest=new.manifest.decode() or (old.manifest if old else ""),
                tags=tuple(sorted({*new.tags, *(old.tags if old else ())})),
                digests=tuple(sorted({*new.digests, *(old.digests if old else ())})),
                indexes=tuple(sorted({*new.indexes, *(old.indexes if old else ())})),
                added=old.added if old else time.time_ns(),
            )
            for name in (*new.tags, *new.digests):
                self._take_name(name, record)
            return self._write(record)

    def _write(self, record: ImageRecord) -> Image:
        self._database.put(KIND, record.id, msgspec.json.encode(record))
        self._enter(record)
        return self._images[record.id]

    def _take_name(self, name: str, record: ImageRecord) -> None:
        """Take a name from the images that have it, but for those that the same index has for other platforms."""
        for owner in self._names.get(name, ()):
            if owner == record.id:
                continue
            if owner in self._embedded:
                raise InvalidArgument(f"the name {name} belongs to the embedded image")
            if not self._go_together(self._records[owner], record):
                self.remove_name(owner, name)

    def _go_together(self, one: ImageRecord, other: ImageRecord) -> bool:
        platforms = [parse_config(record.config.encode()).platform for record in (one, other)]
        return platforms[0] != platforms[1] and not one.origins.isdisjoint(other.origins)

    def add_tag(self, image_id: str, reference: Reference) -> None:
        """Name an image; another that had the name loses it."""
        record = self._records[image_id]
        name = str(reference)
        with self._database.transaction():
            self._take_name(name, record)
            if name not in record.tags:
                self._write(msgspec.structs.replace(record, tags=tuple(sorted({*record.tags, name}))))

    def add_digest(self, image_id: str, reference: Reference, manifest: bytes = b"") -> None:
        """What a registry calls an image since it was pushed there, described by ``manifest`` (b"": as a part of an
        index)."""
        record = self._records.get(image_id)
        if record is None:
            return
        name = str(reference)
        with self._database.transaction():
            record = msgspec.structs.replace(
                record,
                digests=tuple(sorted({*record.digests, name})),
                manifest=manifest.decode() or record.manifest,
            )
            self._take_name(name, record)
            self._write(record)

    def add_index(self, image_id: str, index: Digest) -> None:
        """An index lists an image."""
        record = self._records[image_id]
        self._write(msgspec.structs.replace(record, indexes=tuple(sorted({*record.indexes, str(index)}))))

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

    def mark_removed(self, image_id: str) -> None:
        """Take all names away, and show an image no more: it is there for its containers."""
        bare = msgspec.structs.replace(self._records[image_id], tags=(), digests=(), is_removed=True)
        self._write(bare)

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
