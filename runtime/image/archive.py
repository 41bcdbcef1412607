"""Images in files: docker-archives and OCI layouts in and out, root file systems in.

``docker save`` writes ``manifest.json`` with names of files; an OCI layout (image-spec image-layout.md) has
``index.json`` and ``blobs/``. What is saved here is both at once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import tarfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import trio

from runtime.container.config import ImageConfig
from runtime.errors import ComposerError, InvalidArgument
from runtime.image.blobs import copy
from runtime.image.compression import Readable, detect
from runtime.image.content import MEDIA_SUFFIX, Content
from runtime.image.digest import Digest
from runtime.image.manifest import (
    CONFIG_LIMIT,
    INDEX_DEPTH,
    LAYERS_LIMIT,
    MANIFEST_LIMIT,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Index,
    InvalidImage,
    Manifest,
    choose,
    decode_json,
    encode_config,
    parse_config,
    parse_manifest,
)
from runtime.image.members import DirectoryMembers, Members, TarMembers
from runtime.image.model import Image, ImageRecord, NewImage, Progress
from runtime.image.outgoing import describe
from runtime.image.platform import Platform
from runtime.image.reference import Reference, parse_reference
from runtime.storage.files import storage_error

_REF_NAME = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"
_IMAGES_LIMIT = 1000


class _DockerImage(msgspec.Struct):
    """One element of ``manifest.json``."""

    Config: str
    RepoTags: list[str] | None = None
    Layers: list[str] | None = None


@dataclass(slots=True)
class _Packed:
    """One image of an archive, with the file that each blob is in."""

    config: bytes
    manifest: Manifest
    data: bytes
    files: dict[Digest, str]
    tags: list[str]


# In


async def load(content: Content, source: Path, platform: Platform, progress: Progress) -> list[Image]:
    """Register the images of an archive or layout; each has the tags that are in it. Raises InvalidImage; images
    before a bad one are kept."""
    members = await trio.to_thread.run_sync(_open, content, source)
    with members:
        packed = await trio.to_thread.run_sync(_read_archive, members, platform)
        return [await _load_image(content, members, image, progress) for image in packed]


async def load_layout(content: Content, source: Path, platform: Platform, tag: str, digest: str) -> Image:
    """Register one image of an OCI layout, under no name: the one that the layout calls ``tag`` or that has
    ``digest``, else its only one. Raises InvalidImage."""
    members = await trio.to_thread.run_sync(_open, content, source)
    with members:
        packed = await trio.to_thread.run_sync(_chosen_of_layout, members, platform, tag, digest)
        return await _load_image(content, members, packed, lambda _: None)


def _chosen_of_layout(members: Members, platform: Platform, tag: str, digest: str) -> _Packed:
    if "index.json" not in members:
        raise InvalidImage("it is no OCI layout: there is no index.json in it", status=400)
    index = parse_manifest(_read(members, "index.json", MANIFEST_LIMIT), OCI_INDEX)
    if not isinstance(index, Index) or not index.manifests:
        raise InvalidImage("the layout has no images")
    found = index.manifests
    if digest:
        found = tuple(item for item in found if item.digest == digest)
    elif tag:
        names = (_CONTAINERD_NAME, _REF_NAME)
        found = tuple(
            item
            for item in found
            if any(item.annotation(key) == tag or item.annotation(key).endswith(f":{tag}") for key in names)
        )
    if not found:
        raise InvalidImage(f"the layout has no image {digest or tag}", status=404)
    one = (
        found[0]
        if len({item.digest for item in found}) == 1
        else choose(replace(index, manifests=found), platform)
    )
    packed = _oci_image(members, one, platform)
    packed.tags = []
    return packed


def _open(content: Content, source: Path) -> Members:
    try:
        if source.is_dir():
            return DirectoryMembers(source)
        content.blobs.ingest.mkdir(parents=True, exist_ok=True)
        scratch = content.blobs.ingest / f"load-{secrets.token_hex(8)}"
        return TarMembers(source, scratch, content.limits.size)
    except OSError as error:
        raise storage_error(error, "read", source) from error


async def _load_image(content: Content, members: Members, packed: _Packed, progress: Progress) -> Image:
    async def fetch(descriptor: Descriptor) -> None:
        await trio.to_thread.run_sync(write, descriptor)

    def write(descriptor: Descriptor) -> None:
        part = members.open(packed.files[descriptor.digest])
        ingest = content.blobs.begin(descriptor)
        try:
            copy(part, ingest)
        finally:
            ingest.close()
            part.close()

    blobs = [layer.digest for layer in packed.manifest.layers]
    with content.pinned([*blobs, *content.chain(packed.config)]):
        records = await content.assemble(packed.config, packed.manifest, fetch, progress)
        image = content.catalogue.register(
            NewImage(config=packed.config, layers=records, manifest=packed.data, tags=packed.tags)
        )
    return replace(image, tags=tuple(parse_reference(tag).familiar for tag in packed.tags))


def _read_archive(members: Members, platform: Platform) -> list[_Packed]:
    if "manifest.json" in members:
        data = _read(members, "manifest.json", MANIFEST_LIMIT)
        images = decode_json(data, list[_DockerImage], MANIFEST_LIMIT, "manifest.json")
        if len(images) > _IMAGES_LIMIT:
            raise InvalidImage(f"the archive has more than {_IMAGES_LIMIT} images")
        return [_docker_image(members, image) for image in images]
    if "index.json" in members:
        index = parse_manifest(_read(members, "index.json", MANIFEST_LIMIT), OCI_INDEX)
        if not isinstance(index, Index) or not index.manifests:
            raise InvalidImage("the layout has no images")
        named = [item for item in index.manifests if _names(item)]
        chosen = named[:_IMAGES_LIMIT] if named else [choose(index, platform)]
        return [_oci_image(members, item, platform) for item in chosen]
    raise InvalidImage(
        "the archive is neither a docker-archive nor an OCI layout",
        hint="For the tar of a root file system use `composer image import`.",
        status=400,
    )


def _read(members: Members, name: str, limit: int) -> bytes:
    part = members.open(name)
    try:
        return part.read_all(limit, name)
    finally:
        part.close()


def _docker_image(members: Members, image: _DockerImage) -> _Packed:
    config = _read(members, image.Config, CONFIG_LIMIT)
    diff_ids = parse_config(config).diff_ids
    names = image.Layers or []
    if len(names) != len(diff_ids) or len(names) > LAYERS_LIMIT:
        raise InvalidImage(
            f"the archive has {len(names)} layers for the {len(diff_ids)} of {image.Config[:80]}"
        )
    files: dict[Digest, str] = {}
    layers: list[Descriptor] = []
    for name in names:
        descriptor = _describe(members, name)
        files[descriptor.digest] = name
        layers.append(descriptor)
    manifest = Manifest(OCI_MANIFEST, Descriptor(OCI_CONFIG, Digest.of(config), len(config)), tuple(layers))
    return _Packed(config, manifest, b"", files, _tags(image.RepoTags or []))


def _describe(members: Members, name: str) -> Descriptor:
    """The descriptor of a file, by reading it."""
    part = members.open(name)
    hasher = hashlib.sha256(usedforsecurity=False)
    try:
        head = part.read(6)
        part.rewind()
        while chunk := part.read(1 << 20):
            hasher.update(chunk)
        digest = Digest.parse("sha256:" + hasher.hexdigest())
        return Descriptor(OCI_LAYER + MEDIA_SUFFIX[detect(head)], digest, part.size)
    finally:
        part.close()


def _tags(names: Sequence[str]) -> list[str]:
    tags = []
    for name in names:
        try:
            reference = parse_reference(name).with_default_tag()
        except InvalidArgument as error:
            raise InvalidImage(f"the archive has an image with a bad name: {error.message}") from None
        if reference.digest is None:
            tags.append(str(reference))
    return tags


def _names(descriptor: Descriptor) -> list[str]:
    """The names of an entry of ``index.json``: containerd's full one, else the standard one where that is a
    name."""
    for key in (_CONTAINERD_NAME, _REF_NAME):
        name = descriptor.annotation(key)
        if name and (key == _CONTAINERD_NAME or ":" in name or "/" in name):
            return [name]
    return []


def _oci_image(members: Members, descriptor: Descriptor, platform: Platform) -> _Packed:
    tags = _tags(_names(descriptor))
    for _ in range(INDEX_DEPTH):
        data = _blob(members, descriptor, MANIFEST_LIMIT)
        parsed = parse_manifest(data, descriptor.media_type)
        if isinstance(parsed, Manifest):
            config = _blob(members, parsed.config, CONFIG_LIMIT)
            files = {layer.digest: _blob_name(layer) for layer in parsed.layers}
            return _Packed(config, parsed, data, files, tags)
        descriptor = choose(parsed, platform)
    raise InvalidImage("the indexes of the layout are nested too deeply")


def _blob_name(descriptor: Descriptor) -> str:
    return f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"


def _blob(members: Members, descriptor: Descriptor, limit: int) -> bytes:
    data = _read(members, _blob_name(descriptor), limit)
    hasher = descriptor.digest.hasher()
    hasher.update(data)
    if len(data) != descriptor.size or not descriptor.digest.matches(hasher):
        raise InvalidImage(f"content does not match its digest {descriptor.digest}")
    return data


async def import_(
    content: Content,
    source: Readable,
    reference: Reference | None,
    config: ImageConfig,
    on_build: Sequence[str],
    message: str,
    platform: Platform,
    progress: Progress,
) -> Image:
    """An image with one layer, from the tar of a root file system; ``message`` is its comment."""
    with content.collecting_stopped():
        layer = await content.add_layer(source, (), progress)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        document = {
            "architecture": platform.architecture,
            "os": platform.os,
            **({"variant": platform.variant} if platform.variant else {}),
            "created": now,
            "comment": message,
            "config": encode_config(config) | ({"OnBuild": list(on_build)} if on_build else {}),
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            "history": [{"created": now, "comment": message}],
        }
        tags = [str(reference)] if reference is not None else []
        new = NewImage(config=json.dumps(document).encode(), layers=[layer], tags=tags)
        return content.catalogue.register(new)


# Out


def save(content: Content, images: Sequence[tuple[Image, Sequence[str]]]) -> AsyncIterator[bytes]:
    """The pieces of an archive of images, each with the (canonical) tags to keep. Raises when a blob is
    missing."""
    chosen: dict[str, tuple[ImageRecord, list[str]]] = {}
    for image, tags in images:
        record = content.catalogue.record(image.id)
        if record is None:
            raise ComposerError(f"image {image.short_id} cannot be saved")
        for layer in record.layers:
            if not content.blobs.has(Digest(layer.blob), layer.blob_size):
                raise InvalidImage(
                    f"the layer {layer.blob} of image {image.short_id} is missing or damaged",
                    hint="Pull or load the image again.",
                )
        chosen.setdefault(image.id, (record, []))[1].extend(tags)
    return in_thread(_save(content, list(chosen.values())))


async def in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Each of them is made in a thread."""
    while piece := await trio.to_thread.run_sync(next, pieces, b""):
        yield piece


def _save(content: Content, images: Sequence[tuple[ImageRecord, Sequence[str]]]) -> Iterator[bytes]:
    written: set[str] = set()
    listed: list[dict[str, object]] = []
    index: list[dict[str, object]] = []
    for record, tags in images:
        described, _ = describe(record, is_layout=True)
        yield from blobs_of(content, record, written)
        names = [parse_reference(tag) for tag in tags]
        listed.append(
            {
                "Config": f"blobs/sha256/{Digest.of(record.config.encode()).hex}",
                "RepoTags": [name.familiar for name in names],
                "Layers": [f"blobs/sha256/{Digest(layer.blob).hex}" for layer in record.layers],
            }
        )
        entry: dict[str, object] = {
            "mediaType": described.media_type,
            "digest": described.digest,
            "size": described.size,
        }
        index += named_entries(entry, names)
    yield member("manifest.json", json.dumps(listed).encode())
    yield from layout_files(index)


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
    return [
        {**entry, "annotations": {_CONTAINERD_NAME: str(name), _REF_NAME: name.tag}} for name in names
    ] or [entry]


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
