"""One name for images of several platforms: the index under which they leave together."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.errors import ComposerError, NotFound
from runtime.image.blobs import BlobStore
from runtime.image.digest import Digest
from runtime.image.index import Encoded, Entry, encode_index, entries_of, media_type_of
from runtime.image.manifest import MANIFEST_LIMIT, parse_config
from runtime.image.model import Image, ImageRecord
from runtime.image.outgoing import describe
from runtime.image.platform import Platform, preferred


def of_platform(found: Sequence[Image], wanted: Platform, text: str) -> Image:
    """The one of ``found`` that was named as ``text`` and is for a platform: exactly, else an older variant of it.
    Raises NotFound with Docker's sentence."""
    for platform in preferred(wanted):
        if platform.architecture != wanted.architecture:
            break
        for image in found:
            if image.platform == platform or not image.architecture:
                return image
    here = ", ".join(str(image.platform) for image in found)
    raise NotFound(
        f"image with reference {text} was found but does not provide the specified platform ({wanted})",
        hint=f"It is here for {here}; composer image pull --platform {wanted} {text}",
    )


def encode_several(records: Sequence[ImageRecord], blobs: BlobStore, *, is_layout: bool = False) -> Encoded:
    """The index of what ``records`` have in common and is here: byte for byte the one that they came with when
    all that it lists is here, else one with the entries of these."""
    listed: list[Entry] = []
    described = [describe(record, is_layout=is_layout)[0] for record in records]
    digests = {descriptor.digest for descriptor in described}
    for name in sorted(frozenset.intersection(*(frozenset(record.indexes) for record in records))):
        try:
            data = blobs.read(Digest(name), MANIFEST_LIMIT)
            entries = entries_of(data)
        except ComposerError:
            continue  # damaged: what is here says enough
        if {entry["digest"] for entry in entries} == digests:
            return Encoded(data, media_type_of(data))
        listed = listed or entries
    known = {entry["digest"]: entry for entry in listed}
    made: list[Entry] = []
    for record, descriptor in zip(records, described, strict=True):
        facts = parse_config(record.config.encode())
        platform = {"architecture": facts.architecture, "os": facts.os}
        platform |= {"variant": facts.variant} if facts.variant else {}
        own = {"mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size}
        made.append(known.get(descriptor.digest, own | {"platform": platform}))
    return encode_index(made, {})
