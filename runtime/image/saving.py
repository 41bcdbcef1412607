"""Images into files: an archive that is a docker-archive and an OCI layout at once (image-spec image-layout.md)."""

from __future__ import annotations

import json
import tarfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import trio

from runtime.errors import ComposerError
from runtime.image.content import Content
from runtime.image.digest import Digest
from runtime.image.manifest import OCI_INDEX, InvalidImage
from runtime.image.model import Image, ImageRecord
from runtime.image.outgoing import describe
from runtime.image.reference import Reference, parse_reference
from runtime.image.several import encode_several

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be saved under some names: an image, or one for each platform, the first choice first."""

    images: Sequence[Image]
    tags: Sequence[str]
    """Canonical references."""


@dataclass(slots=True)
class _Entry:
    records: list[ImageRecord]
    tags: list[str]


def save(content: Content, chosen: Sequence[Chosen]) -> AsyncIterator[bytes]:
    """The pieces of an archive. Raises when a blob is missing, before the first piece."""
    found: dict[tuple[str, ...], _Entry] = {}
    for one in chosen:
        records = [_complete_record(content, image) for image in one.images]
        key = tuple(record.id for record in records)
        found.setdefault(key, _Entry(records, [])).tags.extend(one.tags)
    return in_thread(_save(content, list(found.values())))


def _complete_record(content: Content, image: Image) -> ImageRecord:
    record = content.catalogue.record(image.id)
    if record is None:
        raise ComposerError(f"image {image.short_id} cannot be saved")
    for layer in record.layers:
        if not content.blobs.has(Digest(layer.blob), layer.blob_size):
            raise InvalidImage(
                f"the layer {layer.blob} of image {image.short_id} is missing or damaged",
                hint="Pull or load the image again.",
            )
    return record


async def in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Each of them is made in a thread."""
    while piece := await trio.to_thread.run_sync(next, pieces, b""):
        yield piece


def _save(content: Content, entries: Sequence[_Entry]) -> Iterator[bytes]:
    written: set[str] = set()
    listed: dict[str, dict[str, object]] = {}
    index: list[dict[str, object]] = []
    for entry in entries:
        for record in entry.records:
            yield from blobs_of(content, record, written)
        names = [parse_reference(tag) for tag in entry.tags]
        first = entry.records[0]
        known = listed.setdefault(first.id, _docker_entry(first))
        tags = known["RepoTags"]
        assert isinstance(tags, list)
        tags += [name.familiar for name in names]
        if len(entry.records) == 1:
            described, _ = describe(first, is_layout=True)
        else:
            encoded = encode_several(entry.records, content.blobs, is_layout=True)
            described = encoded.descriptor
            if described.digest not in written:
                written.add(described.digest)
                yield member(f"blobs/sha256/{described.digest.hex}", encoded.data)
        index += named_entries(
            {"mediaType": described.media_type, "digest": described.digest, "size": described.size}, names
        )
    yield member("manifest.json", json.dumps(list(listed.values())).encode())
    yield from layout_files(index)


def _docker_entry(record: ImageRecord) -> dict[str, object]:
    return {
        "Config": f"blobs/sha256/{Digest.of(record.config.encode()).hex}",
        "RepoTags": [],
        "Layers": [f"blobs/sha256/{Digest(layer.blob).hex}" for layer in record.layers],
    }


def blobs_of(content: Content, record: ImageRecord, written: set[str]) -> Iterator[bytes]:
    """The layers, configuration and manifest of an image but for those in ``written``, which learns of them."""
    for layer in record.layers:
        if layer.blob not in written:
            written.add(layer.blob)
            yield from _blob_pieces(content, Digest(layer.blob), layer.blob_size)
    for data in (record.config.encode(), describe(record, is_layout=True)[1]):
        digest = Digest.of(data)
        if digest not in written:
            written.add(digest)
            yield member(f"blobs/sha256/{digest.hex}", data)


def named_entries(entry: dict[str, object], names: Sequence[Reference]) -> list[dict[str, object]]:
    """An entry of ``index.json`` for each name."""
    return [{**entry, "annotations": {CONTAINERD_NAME: str(name), REF_NAME: name.tag}} for name in names] or [
        entry
    ]


def layout_files(index: Sequence[dict[str, object]]) -> Iterator[bytes]:
    """What makes blobs an OCI layout, and the end of the tar."""
    yield member("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(index)}
    yield member("index.json", json.dumps(document).encode())
    yield bytes(1024)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def member(name: str, data: bytes) -> bytes:
    """A small file of a tar."""
    return _header(name, len(data)) + data + bytes(-len(data) % 512)


def _blob_pieces(content: Content, digest: Digest, size: int) -> Iterator[bytes]:
    yield _header(f"blobs/sha256/{digest.hex}", size)
    left = size
    with content.blobs.open(digest) as file:
        while left and (chunk := file.read(min(1 << 20, left))):
            left -= len(chunk)
            yield chunk
    if left:
        raise InvalidImage(f"the content {digest} is damaged")
    if size % 512:
        yield bytes(-size % 512)
