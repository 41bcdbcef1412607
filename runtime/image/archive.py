"""Images from files: docker-archives, OCI layouts, and root file systems.

``docker save`` writes ``manifest.json`` with names of files; an OCI layout (image-spec image-layout.md) has
``index.json`` and ``blobs/``. A file can be both at once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import trio

from runtime.container.config import ImageConfig
from runtime.errors import InvalidArgument
from runtime.image.blobs import copy
from runtime.image.compression import Readable, detect
from runtime.image.content import MEDIA_SUFFIX, Content
from runtime.image.digest import Digest
from runtime.image.index import INDEXES
from runtime.image.manifest import (
    ATTESTATION,
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
from runtime.image.model import Image, NewImage, Progress
from runtime.image.platform import Platform
from runtime.image.reference import Reference, parse_reference
from runtime.image.saving import CONTAINERD_NAME, REF_NAME
from runtime.storage.files import storage_error

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
    """The manifest as it is there; b"" when there is none."""
    files: dict[Digest, str]
    tags: list[str]
    index: bytes = b""
    """The index that lists it."""


async def load(
    content: Content, source: Path, platform: Platform, progress: Progress, *, exact: bool = False
) -> list[Image]:
    """Register the images of an archive or layout; each has the tags that are in it. Of several platforms all that are
    there, with ``exact`` the one for ``platform``. Raises InvalidImage; images before a bad one are kept."""
    members = await trio.to_thread.run_sync(_open, content, source)
    with members:
        packed = await trio.to_thread.run_sync(_read_archive, members, platform, exact)
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
        names = (CONTAINERD_NAME, REF_NAME)
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
    index = [Digest.of(packed.index)] if packed.index else []
    with content.pinned([*index, *blobs, *content.chain(packed.config)]):
        records = await content.assemble(packed.config, packed.manifest, fetch, progress)
        if packed.index:
            await trio.to_thread.run_sync(content.blobs.put, packed.index)
        image = content.catalogue.register(
            NewImage(
                config=packed.config,
                layers=records,
                manifest=packed.data,
                tags=packed.tags,
                indexes=[str(digest) for digest in index],
            )
        )
    return replace(image, tags=tuple(parse_reference(tag).familiar for tag in packed.tags))


def _read_archive(members: Members, platform: Platform, exact: bool) -> list[_Packed]:
    if "manifest.json" in members:
        data = _read(members, "manifest.json", MANIFEST_LIMIT)
        images = decode_json(data, list[_DockerImage], MANIFEST_LIMIT, "manifest.json")
        if len(images) > _IMAGES_LIMIT:
            raise InvalidImage(f"the archive has more than {_IMAGES_LIMIT} images")
        found = _of_layout(members, platform, images) or [_docker_image(members, image) for image in images]
        return _only(found, platform) if exact else found
    if "index.json" in members:
        found = _layout_images(members, platform, exact)
        return _only(found, platform) if exact else found
    raise InvalidImage(
        "the archive is neither a docker-archive nor an OCI layout",
        hint="For the tar of a root file system use `composer image import`.",
        status=400,
    )


def _only(found: Sequence[_Packed], platform: Platform) -> list[_Packed]:
    """Those for a platform. Raises InvalidImage when there are none."""
    platforms = [parse_config(packed.config).platform for packed in found]
    chosen = [packed for packed, own in zip(found, platforms, strict=True) if own == platform]
    if not chosen:
        raise InvalidImage(
            f"no image in the archive is for the specified platform ({platform})",
            hint=f"It has: {', '.join(sorted(set(map(str, platforms))))}.",
            status=404,
        )
    return chosen


def _of_layout(members: Members, platform: Platform, images: Sequence[_DockerImage]) -> list[_Packed]:
    """The images of a docker-archive that is an OCI layout as well, which has more to say: manifests as they came,
    other platforms. Nothing when it has not all that ``manifest.json`` lists."""
    if "index.json" not in members or "oci-layout" not in members:
        return []
    try:
        found = _layout_images(members, platform, False)
    except InvalidImage:
        return []
    configs = {_read(members, image.Config, CONFIG_LIMIT) for image in images}
    tags = {tag for image in images for tag in _tags(image.RepoTags or [])}
    is_all = configs <= {packed.config for packed in found}
    return found if is_all and tags == {tag for packed in found for tag in packed.tags} else []


def _layout_images(members: Members, platform: Platform, exact: bool) -> list[_Packed]:
    index = parse_manifest(_read(members, "index.json", MANIFEST_LIMIT), OCI_INDEX)
    if not isinstance(index, Index) or not index.manifests:
        raise InvalidImage("the layout has no images")
    is_named = any(map(_names, index.manifests)) or all(
        item.media_type in INDEXES for item in index.manifests
    )
    chosen = index.manifests[:_IMAGES_LIMIT] if is_named else [choose(index, platform, exact=exact)]
    found: dict[bytes, _Packed] = {}
    for item in chosen:
        for packed in _all_of(members, item, platform, exact):
            known = found.setdefault(packed.config, packed)
            if known is not packed:
                known.tags += packed.tags
                known.index = known.index or packed.index
    return list(found.values())


def _all_of(members: Members, descriptor: Descriptor, platform: Platform, exact: bool) -> list[_Packed]:
    """What an entry of ``index.json`` stands for: one image, or of an index all that are there (with ``exact``, the one
    for ``platform``)."""
    if descriptor.annotation(ATTESTATION):
        return []
    data = _blob(members, descriptor, MANIFEST_LIMIT)
    parsed = parse_manifest(data, descriptor.media_type)
    if isinstance(parsed, Manifest):
        return [_oci_image(members, descriptor, platform)]
    there = [
        item for item in parsed.manifests if not item.annotation(ATTESTATION) and _blob_name(item) in members
    ]
    if exact or not there or any(item.media_type in INDEXES for item in there):
        there = [choose(parsed, platform, exact=exact)]
    found = [_oci_image(members, item, platform) for item in there[:_IMAGES_LIMIT]]
    for packed in found:
        packed.tags = _tags(_names(descriptor))
        packed.index = data
    return found


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
    for key in (CONTAINERD_NAME, REF_NAME):
        name = descriptor.annotation(key)
        if name and (key == CONTAINERD_NAME or ":" in name or "/" in name):
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
