"""Caches that a build takes from elsewhere, and those that it leaves there."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec
import trio

from composer.engine.builds.cache_options import CachePlace
from composer.engine.builds.solving import ImportedCache, Solve
from composer.engine.builds.workshop import Tell
from runtime.build.solver.cache_config import INLINE, MEDIA_TYPE, CachedLayer, CachedResult, decode, encode
from runtime.build.worker.records import CacheRecord
from runtime.build.worker.remote_cache import Found, RemoteCaches, inline_cache
from runtime.build.worker.snapshot import Snapshot
from runtime.errors import ComposerError
from runtime.image.digest import Digest
from runtime.image.manifest import Descriptor
from runtime.image.model import LayerRecord
from runtime.image.outgoing import oci_layer_type
from runtime.image.registry.authentication import CredentialSource

_KEYS = 16
"""Of one result: the newest."""


@dataclass
class CacheTransfer:
    """For one build."""

    remote: RemoteCaches
    tell: Tell
    credentials: CredentialSource | None

    @asynccontextmanager
    async def imported(self, places: Sequence[CachePlace]) -> AsyncIterator[list[ImportedCache]]:
        """The caches that could be read; of the others it is told why not."""
        found: list[ImportedCache] = []
        async with AsyncExitStack() as stack:
            for place in places:
                title = f"importing cache manifest from {place}"
                await self.tell(title, "Building", "")
                try:
                    found.append(await self._opened(place, stack))
                except ComposerError as error:
                    await self.tell(title, "Warning", error.message.partition("\n")[0])
                else:
                    await self.tell(title, "Built", "")
            yield found

    async def _opened(self, place: CachePlace, stack: AsyncExitStack) -> ImportedCache:
        if place.type == "local":
            opened = self.remote.in_directory(Path(place.directory), place.tag, place.digest)
        else:
            opened = self.remote.in_registry(place.ref, self.credentials)
        found = await stack.enter_async_context(opened)
        if found.manifest.config.media_type == MEDIA_TYPE:
            results = decode(found.config)
        else:
            results = _of_image(found)
        return ImportedCache(str(place), results, partial(self._bring, found))

    async def _bring(self, found: Found, result: CachedResult) -> Snapshot:
        layers = [
            Descriptor(layer.media_type, Digest.parse(layer.blob), layer.size) for layer in result.layers
        ]
        diff_ids = [layer.diff_id for layer in result.layers]
        return await self.remote.bring(layers, diff_ids, found.fetch, result.made, result.created)

    async def export(self, places: Sequence[CachePlace], solve: Solve, chain: Sequence[str]) -> None:
        """Leave the build's steps in ``places``. ``chain``: the chain ids of the result."""
        for place in places:
            if place.type == "inline":
                continue
            title = f"exporting cache to {place}"
            await self.tell(title, "Building", "")
            try:
                await self._exported(place, solve, chain)
            except ComposerError as error:
                if not place.ignores_errors:
                    raise error.within(title) from None
                await self.tell(title, "Warning", error.message.partition("\n")[0])
            else:
                await self.tell(title, "Built", "")

    async def _exported(self, place: CachePlace, solve: Solve, chain: Sequence[str]) -> None:
        content = self.remote.images.store.content
        if place.is_max:
            await solve.bring_all()
        results = []
        blobs: dict[str, LayerRecord] = {}
        for record, _ in _records(solve, chain, is_max=place.is_max):
            stored = await content.compress(record.image_id)
            blobs |= {layer.blob: layer for layer in stored.layers}
            results.append(_result(record, stored.layers))
        config = encode(results)
        if place.type == "local":
            directory, layers = Path(place.directory), list(blobs.values())
            await trio.to_thread.run_sync(
                self.remote.to_directory, directory, place.tag, config, MEDIA_TYPE, layers
            )
        else:
            await self.remote.to_registry(
                place.ref, config, MEDIA_TYPE, list(blobs.values()), self.credentials
            )


def inline_field(solve: Solve, layers: Sequence[LayerRecord]) -> dict[str, str]:
    """What the configuration of an image with ``layers`` says about the steps that made them."""
    chain = [layer.chain_id for layer in layers]
    # Blobs are what a registry's manifest will say they are.
    plain = [msgspec.structs.replace(layer, blob=layer.diff_id, blob_size=0) for layer in layers]
    found = _records(solve, chain, is_max=False)
    results = [_result(record, plain[:depth]) for record, depth in found]
    return {INLINE: base64.b64encode(encode(results)).decode()}


def _of_image(found: Found) -> dict[str, CachedResult]:
    data = inline_cache(found.config, INLINE)
    if not data:
        return {}
    diff_ids = json.loads(found.config).get("rootfs", {}).get("diff_ids", [])
    blobs = dict(zip(diff_ids, found.manifest.layers, strict=False))

    def with_blobs(result: CachedResult) -> CachedResult | None:
        layers = []
        for layer in result.layers:
            blob = blobs.get(layer.diff_id)
            if blob is None:
                return None
            layers.append(CachedLayer(str(blob.digest), blob.size, blob.media_type, layer.diff_id))
        return replace(result, layers=tuple(layers))

    pairs = ((key, with_blobs(result)) for key, result in decode(data).items())
    return {key: result for key, result in pairs if result is not None}


def _records(solve: Solve, chain: Sequence[str], *, is_max: bool) -> list[tuple[CacheRecord, int]]:
    """The records of a build's steps that have layers, and how many; not ``is_max``: of those in the result."""
    found = []
    for record in solve.records():
        if not record.image_id:
            continue
        own = solve.shop.worker.step_images.chain_of(record.image_id)
        is_part = list(own) == list(chain[: len(own)])
        if own and (is_max or is_part):
            found.append((record, len(own)))
    return found


def _result(record: CacheRecord, layers: Sequence[LayerRecord]) -> CachedResult:
    return CachedResult(
        record.keys[-_KEYS:],
        tuple(
            CachedLayer(layer.blob, layer.blob_size, oci_layer_type(layer.media_type), layer.diff_id)
            for layer in layers
        ),
        record.made,
        record.created // 10**9,
        record.description,
    )
