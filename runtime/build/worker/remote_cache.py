"""Build caches elsewhere: in a registry, a directory (an OCI layout) or an image's own configuration. Layers are
fetched when they are needed."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from runtime.build.worker.snapshot import Snapshot
from runtime.build.worker.step_images import StepImages
from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.image import blobs as blob_store
from runtime.image.digest import Digest
from runtime.image.manifest import (
    CONFIG_LIMIT,
    MANIFEST_LIMIT,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    InvalidImage,
    Manifest,
    choose,
    parse_manifest,
)
from runtime.image.model import LayerRecord
from runtime.image.reference import parse_reference
from runtime.image.registry.authentication import CredentialSource
from runtime.image.registry.client import Registry
from runtime.image.registry.configuration import RegistryConfiguration
from runtime.image.registry.connection import Connection
from runtime.image.registry.credentials import load_credentials
from runtime.image.registry.upload import Uploader
from runtime.storage.files import read_regular, write_atomically

Fetch = Callable[[Descriptor], Awaitable[None]]
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True)
class Found:
    """A cache elsewhere: its manifest, and what is said about it (a description, or an image's configuration)."""

    manifest: Manifest
    config: bytes
    fetch: Fetch


@dataclass
class RemoteCaches:
    """Reads and writes them."""

    images: StepImages
    configuration: RegistryConfiguration

    # Reading

    @asynccontextmanager
    async def in_registry(self, name: str, credentials: CredentialSource | None) -> AsyncIterator[Found]:
        """What a reference means. Raises ComposerErrors."""
        reference = parse_reference(name).with_default_tag()
        find = credentials or partial(load_credentials, os.environ)
        registry = Registry(reference.domain, self.configuration, credentials=partial(find, reference.domain))
        content = self.images.store.content
        async with AsyncExitStack() as stack:
            stack.push_async_callback(_closed, registry)
            fetched = await registry.manifest(reference)
            parsed = parse_manifest(fetched.data, fetched.media_type)
            if not isinstance(parsed, Manifest):
                chosen = choose(parsed, self.images.store.platform_of(""), exact=False)
                fetched = await registry.manifest(reference, chosen.digest)
                parsed = parse_manifest(fetched.data, fetched.media_type)
            if not isinstance(parsed, Manifest):
                raise InvalidImage(f"{name} is an index of indexes")
            config = await registry.blob(reference, parsed.config.digest, CONFIG_LIMIT)

            async def fetch(descriptor: Descriptor) -> None:
                ingest = await trio.to_thread.run_sync(content.blobs.begin, descriptor)
                try:
                    await registry.download(reference, ingest)
                finally:
                    ingest.close()

            yield Found(parsed, config, fetch)

    @asynccontextmanager
    async def in_directory(self, directory: Path, tag: str, digest: str) -> AsyncIterator[Found]:
        """What an OCI layout has under a tag, or a digest. Raises ComposerErrors."""
        content = self.images.store.content

        def read() -> tuple[Manifest, bytes]:
            index = json.loads(_read(directory / "index.json", MANIFEST_LIMIT))
            wanted = digest or _digest_of(index, tag, directory)
            parsed = parse_manifest(_blob(directory, wanted, MANIFEST_LIMIT))
            if not isinstance(parsed, Manifest):
                raise InvalidImage(f"{directory} has an index under {tag}")
            return parsed, _blob(directory, str(parsed.config.digest), CONFIG_LIMIT)

        async def fetch(descriptor: Descriptor) -> None:
            def copy() -> None:
                path = _place(directory, str(descriptor.digest))
                ingest = content.blobs.begin(descriptor)
                try:
                    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as source:
                        blob_store.copy(source, ingest)
                except OSError as error:
                    raise InvalidImage(f"{path}: {os.strerror(error.errno or 0)}") from None
                finally:
                    ingest.close()

            await trio.to_thread.run_sync(copy)

        try:
            manifest, config = await trio.to_thread.run_sync(read)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidArgument(f"{directory} is no cache: {error}") from None
        yield Found(manifest, config, fetch)

    async def bring(
        self,
        layers: Sequence[Descriptor],
        diff_ids: Sequence[str],
        fetch: Fetch,
        made: tuple[bool, ...],
        created: int,
    ) -> Snapshot:
        """Layers that a cache has, as a snapshot: what is not here is fetched. Raises ComposerErrors."""
        platform = self.images.store.platform_of("")
        config = json.dumps(
            {
                "architecture": platform.architecture,
                "os": platform.os,
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            }
        ).encode()
        manifest = Manifest(OCI_MANIFEST, Descriptor("", Digest.of(config), len(config)), tuple(layers))
        content = self.images.store.content
        with content.collecting_stopped():
            records = await content.assemble(config, manifest, fetch, lambda _: None)
            image = self.images.register(records, platform)
        return Snapshot(image=image, layers=image.layers, made=made, created=created)

    # Writing

    async def to_registry(
        self,
        name: str,
        config: bytes,
        media_type: str,
        layers: Sequence[LayerRecord],
        credentials: CredentialSource | None,
    ) -> None:
        """Bring a cache to a registry; what it has is not sent again. Raises ComposerErrors."""
        reference = parse_reference(name).with_default_tag()
        find = credentials or partial(load_credentials, os.environ)
        connection = Connection(
            reference.domain, self.configuration, credentials=partial(find, reference.domain)
        )
        content = self.images.store.content
        descriptor, manifest = _manifest(config, media_type, layers)
        uploader = Uploader(connection, reference)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(_closed, connection)
            stack.enter_context(content.pinned([Digest(layer.blob) for layer in layers]))
            for layer in layers:
                digest = Digest(layer.blob)
                if not await uploader.has(digest):
                    blob = Descriptor(layer.media_type, digest, layer.blob_size)
                    await uploader.upload(blob, partial(content.blobs.open, digest), lambda _: None)
            digest = Digest.of(config)
            if not await uploader.has(digest):
                blob = Descriptor(media_type, digest, len(config))
                await uploader.upload(blob, lambda: io.BytesIO(config), lambda _: None)
            await uploader.put_manifest(descriptor, manifest, reference.tag)

    def to_directory(
        self, directory: Path, tag: str, config: bytes, media_type: str, layers: Sequence[LayerRecord]
    ) -> None:
        """Put a cache into an OCI layout, beside what is there under other tags. Blocking. Raises ComposerError."""
        content = self.images.store.content
        descriptor, manifest = _manifest(config, media_type, layers)
        try:
            (directory / "blobs/sha256").mkdir(parents=True, exist_ok=True)
            for layer in layers:
                path = _place(directory, layer.blob)
                if not path.exists():
                    with content.blobs.open(Digest(layer.blob)) as source:
                        _copy(source, path)
            write_atomically(_place(directory, str(Digest.of(config))), config)
            write_atomically(_place(directory, str(descriptor.digest)), manifest)
            write_atomically(directory / "oci-layout", _LAYOUT)
            entry = {
                "mediaType": OCI_MANIFEST,
                "digest": str(descriptor.digest),
                "size": descriptor.size,
                "annotations": {"org.opencontainers.image.ref.name": tag},
            }
            others = [item for item in _entries(directory) if _tag_of(item) != tag]
            index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*others, entry]}
            write_atomically(directory / "index.json", json.dumps(index).encode())
        except OSError as error:
            raise ComposerError(f"exporting the cache to {directory}: {error.strerror}") from None


def inline_cache(config: bytes, field: str) -> bytes:
    """The cache that an image's configuration has, b"" when it has none."""
    try:
        document = json.loads(config)
        text = document.get(field, "") if isinstance(document, dict) else ""
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        return b""


def _manifest(config: bytes, media_type: str, layers: Sequence[LayerRecord]) -> tuple[Descriptor, bytes]:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": media_type, "digest": str(Digest.of(config)), "size": len(config)},
        "layers": [
            {"mediaType": layer.media_type, "digest": layer.blob, "size": layer.blob_size} for layer in layers
        ],
    }
    data = json.dumps(document).encode()
    return Descriptor(OCI_MANIFEST, Digest.of(data), len(data)), data


async def _closed(thing: Registry | Connection) -> None:
    with trio.CancelScope(shield=True):
        await thing.aclose()


def _place(directory: Path, digest: str) -> Path:
    return directory / "blobs" / "sha256" / Digest.parse(digest).hex


def _blob(directory: Path, digest: str, limit: int) -> bytes:
    data = _read(_place(directory, digest), limit)
    if Digest.of(data) != digest:
        raise InvalidImage(f"{directory}: the content {digest} is damaged")
    return data


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_regular(path, limit=limit)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise ComposerError(f"{path}: {error.strerror}") from None


def _entries(directory: Path) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(_read(directory / "index.json", MANIFEST_LIMIT))["manifests"]
    except (NotFound, ValueError, KeyError, TypeError):
        return []
    return found


def _tag_of(entry: Mapping[str, Any]) -> str:
    return str((entry.get("annotations") or {}).get("org.opencontainers.image.ref.name", ""))


def _digest_of(index: Mapping[str, Any], tag: str, directory: Path) -> str:
    for entry in index["manifests"]:
        if _tag_of(entry) == tag:
            return str(entry["digest"])
    raise NotFound(f"{directory} has no cache under the tag {tag}")


def _copy(source: io.BufferedIOBase | Any, path: Path) -> None:
    fresh = path.with_name(f".{path.name}")
    with open(fresh, "wb") as target:
        while piece := source.read(1 << 20):
            target.write(piece)
    os.rename(fresh, path)
