"""How an image that was built is packed for others: the compression of its layers, the types and annotations of its
manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, cast

import msgspec
import trio
import zstandard

from runtime.image.attestations import Attached
from runtime.image.compression import Compressing, Readable, decompressed, detect
from runtime.image.content import MEDIA_SUFFIX, Content
from runtime.image.digest import Digest
from runtime.image.manifest import (
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    InvalidImage,
)
from runtime.image.model import Image, ImageRecord, LayerRecord, NewImage
from runtime.image.outgoing import describe, oci_layer_type

_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_SUFFIXES = {"gzip": "+gzip", "zstd": "+zstd", "uncompressed": ""}
_ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Packing:
    """What is wanted. The same result has the same digest, however it has left before."""

    compression: str = ""
    """``gzip`` (also ""), ``zstd`` or ``uncompressed``."""
    level: int | None = None
    is_forced: bool = False
    """Layers of base images, too."""
    is_oci: bool = True
    annotations: tuple[tuple[str, str], ...] = ()
    """Of the manifest."""
    index_annotations: tuple[tuple[str, str], ...] = ()
    descriptor_annotations: tuple[tuple[str, str], ...] = ()
    """Of the index's descriptor of the manifest."""


async def pack(content: Content, image: Image, packing: Packing) -> Image:
    """Register ``image`` once more, packed as wanted: so it leaves from now on. Layers that came from a registry keep
    their form unless the packing is forced. Raises InvalidImage when a blob is missing."""
    with content.collecting_stopped():
        record = content.catalogue.record(image.id)
        if record is None:
            raise InvalidImage(f"the image {image.id} is gone")
        if record.digests and packing == Packing():  # a base image itself: as it came
            return image
        pulled = {
            layer.blob
            for other in content.catalogue.records()
            if other.digests and other.id != record.id
            for layer in other.layers
        }
        layers: list[LayerRecord] = []
        for layer in record.layers:
            is_kept = layer.blob in pulled and not packing.is_forced
            layers.append(layer if is_kept else await _packed_layer(content, layer, packing))
        manifest = _manifest(record, layers, packing)
        return content.catalogue.register(
            NewImage(config=record.config.encode(), layers=layers, manifest=manifest)
        )


async def _packed_layer(content: Content, layer: LayerRecord, packing: Packing) -> LayerRecord:
    wanted = packing.compression or "gzip"
    has_it = oci_layer_type(layer.media_type) == OCI_LAYER + _SUFFIXES[wanted]
    if has_it and packing.level is None:
        return layer

    def work() -> Descriptor:
        with content.blobs.open(Digest(layer.blob)) as blob:
            plain = decompressed(blob)
            source: Readable = plain
            if wanted == "gzip":
                source = Compressing(plain, packing.level)
            elif wanted == "zstd":
                compressor = zstandard.ZstdCompressor(level=packing.level or _ZSTD_LEVEL)
                source = cast("Readable", compressor.stream_reader(cast("IO[bytes]", plain)))
            return content.blobs.spool(source)

    made = await trio.to_thread.run_sync(work)
    with content.blobs.open(made.digest) as blob:
        media_type = f"{OCI_LAYER}{MEDIA_SUFFIX[detect(blob.read(6))]}"
    return msgspec.structs.replace(layer, blob=str(made.digest), blob_size=made.size, media_type=media_type)


def _manifest(record: ImageRecord, layers: Sequence[LayerRecord], packing: Packing) -> bytes:
    config = record.config.encode()
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST if packing.is_oci else DOCKER_MANIFEST,
        "config": {
            "mediaType": OCI_CONFIG if packing.is_oci else _DOCKER_CONFIG,
            "digest": Digest.of(config),
            "size": len(config),
        },
        "layers": [
            {
                "mediaType": oci_layer_type(layer.media_type) if packing.is_oci else _docker_type(layer),
                "digest": layer.blob,
                "size": layer.blob_size,
            }
            for layer in layers
        ],
    }
    if packing.annotations:
        document["annotations"] = dict(packing.annotations)
    return json.dumps(document).encode()


def _docker_type(layer: LayerRecord) -> str:
    suffix = oci_layer_type(layer.media_type).removeprefix(OCI_LAYER)
    if suffix == "+zstd":
        raise InvalidImage("Docker's media types have none for zstd: use oci-mediatypes=true")
    return _DOCKER_LAYER + suffix.replace("+gzip", ".gzip")


def index_of(
    records: Sequence[ImageRecord],
    packing: Packing,
    attached: Sequence[Attached] = (),
    *,
    is_layout: bool = False,
) -> tuple[Descriptor, bytes]:
    """The index of one image for each platform and of what is said of them, and its descriptor."""
    entries: list[dict[str, object]] = []
    for record in records:
        descriptor, _ = describe(record, is_layout=is_layout)
        facts = json.loads(record.config)
        platform = {key: facts[key] for key in ("architecture", "os", "variant") if facts.get(key)}
        entry: dict[str, object] = {
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest,
            "size": descriptor.size,
            "platform": platform,
        }
        if packing.descriptor_annotations:
            entry["annotations"] = dict(packing.descriptor_annotations)
        entries.append(entry)
    entries += [one.entry for one in attached]
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    if packing.index_annotations:
        document["annotations"] = dict(packing.index_annotations)
    data = json.dumps(document).encode()
    return Descriptor(OCI_INDEX, Digest.of(data), len(data)), data
