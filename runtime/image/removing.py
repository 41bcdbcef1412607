"""Taking names and images away (``docker image rm``, ``prune``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runtime.errors import Conflict, InvalidArgument
from runtime.image.content import Content
from runtime.image.model import Image, ImageRecord, ImageUse, Removal
from runtime.image.reference import parse_reference


class Remover:
    """Of one :class:`Content`. ``users`` tells the containers of an image."""

    def __init__(self, content: Content, users: Callable[[str], Sequence[ImageUse]]) -> None:
        self._content = content
        self._catalogue = content.catalogue
        self._users = users

    def remove(self, text: str, chosen: Sequence[Image], *, force: bool) -> Removal:
        """As :meth:`ImageStore.remove`; ``chosen`` are those of the images that ``text`` means, none: all of them."""
        image = self._catalogue.get(text)
        if image.is_embedded:
            raise Conflict(f"{image.tags[0]} is part of composer and cannot be removed")
        found = list(chosen) or self._catalogue.resolve_all(text)
        name = self._name_meant(image, text)
        if not name and not chosen:
            found += self._catalogue.siblings(image.id)
        for each in found:
            self._refuse_removal(each, name, text, force)
        changes: list[dict[str, str]] = []
        for each in found:
            changes += (change for change in self._remove(each, name, force) if change not in changes)
        return Removal(tuple(changes), self._content.collect())

    def _name_meant(self, image: Image, text: str) -> str:
        """The name of an image that was written as ``text``; "" when its id was."""
        record = self._catalogue.record(image.id)
        names = (*record.tags, *record.digests) if record is not None else ()
        meant = _familiar(text)
        return next((name for name in names if parse_reference(name).familiar == meant), "")

    def _refuse_removal(self, image: Image, name: str, text: str, force: bool) -> None:
        record = self._catalogue.record(image.id)
        assert record is not None
        users = self._users(image.id)
        if not name:
            self._refuse_id(image, record.tags, users, force)
        elif users and not force and not any(tag != name for tag in record.tags):
            raise Conflict(
                f'conflict: unable to remove repository reference "{text}" (must force) - container'
                f" {users[0].container} is using its referenced image {image.short_id}"
            )

    def drop_unused(self) -> bool:
        """Delete what was removed while containers needed it and is needed no more; whether anything was."""
        removed = [record for record in self._catalogue.records() if record.is_removed]
        gone = [record for record in removed if not self._users(record.id)]
        for record in gone:
            self._delete(record)
        if gone:
            self._content.collect()
        return bool(gone)

    def _remove(self, image: Image, name: str, force: bool) -> list[dict[str, str]]:
        """Take ``name``, or "" all names, from an image, and delete it when it has none left and no container; with
        ``force``, when none runs: then it goes with the last of them."""
        record = self._catalogue.record(image.id)
        assert record is not None
        names = [*record.tags, *record.digests]
        others = [tag for tag in record.tags if tag != name]
        gone = names if not name else [name] if others else [name, *(n for n in names if n != name)]
        changes: list[dict[str, str]] = []
        left = record
        for each in gone:
            if each not in (*left.tags, *left.digests):
                continue  # a digest that went with its repository's last tag
            known = left
            self._catalogue.remove_name(image.id, each)
            left = self._catalogue.record(image.id) or record
            lost = [digest for digest in known.digests if digest not in left.digests and digest != each]
            changes += ({"Untagged": parse_reference(one).familiar} for one in (each, *lost))
        users = self._users(image.id)
        if left.tags or any(use.running for use in users) or (users and not force):
            return changes
        if users:
            self._catalogue.mark_removed(image.id)
            return [*changes, {"Deleted": image.id}]
        return [*changes, *self._delete(record)]

    def _delete(self, record: ImageRecord) -> Sequence[dict[str, str]]:
        """Forget an image; what that deletes: itself, and the layers that no other image has, topmost first."""
        self._catalogue.delete(record.id)
        kept = {layer.chain_id for other in self._catalogue.records() for layer in other.layers}
        gone = [layer.chain_id for layer in reversed(record.layers) if layer.chain_id not in kept]
        return [{"Deleted": record.id}, *({"Deleted": chain_id} for chain_id in gone)]

    def _refuse_id(self, image: Image, tags: Sequence[str], users: Sequence[ImageUse], force: bool) -> None:
        unable = f"conflict: unable to delete {image.short_id}"
        running = [use for use in users if use.running]
        if running:
            raise Conflict(
                f"{unable} (cannot be forced) - image is being used by running container"
                f" {running[0].container}"
            )
        if users and not force:
            raise Conflict(
                f"{unable} (must be forced) - image is being used by stopped container {users[0].container}"
            )
        if len({parse_reference(tag).name for tag in tags}) > 1 and not force:
            raise Conflict(f"{unable} (must be forced) - image is referenced in multiple repositories")

    async def prune(self, is_meant: Callable[[Image], bool], *, everything: bool) -> Removal:
        """As :meth:`ImageStore.prune`."""
        changes: list[dict[str, str]] = []
        before = self._content.disk_usage()
        for record in list(self._catalogue.records()):
            image = self._catalogue.image(record.id)
            if (record.tags and not everything) or self._users(record.id):
                continue
            if image is None or not is_meant(image):
                continue
            changes += ({"Untagged": parse_reference(n).familiar} for n in (*record.tags, *record.digests))
            changes += self._delete(record)
        self._content.collect()
        self._content.blobs.discard_partial()
        await self._content.sweep()
        return Removal(tuple(changes), max(0, before - self._content.disk_usage()))


def _familiar(text: str) -> str:
    try:
        reference = parse_reference(text).with_default_tag()
    except InvalidArgument:
        return text
    if reference.digest is not None:
        reference = reference.with_digest(reference.digest)
    return reference.familiar
