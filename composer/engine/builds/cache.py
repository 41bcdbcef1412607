"""What the build cache has, and pruning it: ``builder ls|du|prune``, and by itself when it has become too large."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import trio

from composer.engine.builds.workshop import Workshop
from runtime.build.solver.pruning import NO_LIMITS, CacheEntry, Limits, parse_conditions, to_remove
from runtime.image.store import STEP_COMMENT
from runtime.storage.files import directory_size

log = logging.getLogger(__name__)

_SHARE = 10
"""Without a limit in engine.json, the cache may have one part in so many of the file system."""
_AT_LEAST = 1 << 30


@dataclass
class BuildCache:
    shop: Workshop
    limit: int | None = None
    """Bytes that it may have; None: a part of the disk."""

    async def usage(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[CacheEntry]:
        """What it keeps and filters name, what was used last first. Raises InvalidArgument."""
        condition = parse_conditions(filters or {}, time.time_ns())
        worker = self.shop.worker
        sizes = await trio.to_thread.run_sync(
            lambda: {mount.id: directory_size(worker.caches.root / mount.id) for mount in worker.caches.all()}
        )
        fetched = await trio.to_thread.run_sync(worker.fetched.all)
        found = [*self._layers(), *self._mounts(sizes), *map(self._fetched, fetched)]
        return sorted(filter(condition, found), key=lambda entry: -entry.used)

    def _layers(self) -> list[CacheEntry]:
        catalogue = self.shop.images.content.catalogue
        shared = {
            layer.chain_id
            for record in catalogue.records()
            if (image := catalogue.image(record.id)) is not None
            and (image.comment != STEP_COMMENT or image.tags)
            for layer in record.layers
        }
        found = []
        counted: set[str] = set()
        for record in self.shop.cache.all():
            stored = catalogue.record(record.image_id)
            layers = stored.layers if stored is not None else ()
            # Steps that came out the same have one layer, whose bytes are there once.
            made = bool(record.made) and record.made[-1] and bool(layers)
            made = made and layers[-1].chain_id not in counted
            counted.update(layer.chain_id for layer in layers[-1:])
            found.append(
                CacheEntry(
                    id=record.short_id,
                    type="regular",
                    description=record.description,
                    size=layers[-1].size + layers[-1].blob_size if made else 0,
                    created=record.created,
                    used=record.used,
                    uses=record.uses,
                    depth=len(layers),
                    is_shared=bool(layers) and layers[-1].chain_id in shared,
                    is_in_use=record.image_id in self.shop.in_use,
                )
            )
        return found

    def _mounts(self, sizes: Mapping[str, int]) -> list[CacheEntry]:
        caches = self.shop.worker.caches
        return [
            CacheEntry(
                id=mount.id,
                type="exec.cachemount",
                description=f"cache mount {mount.name}",
                size=sizes.get(mount.id, 0),
                created=mount.created,
                used=mount.used,
                uses=mount.uses,
                is_in_use=caches.is_held(mount.id),
            )
            for mount in caches.all()
        ]

    def _fetched(self, known: tuple[str, str, int, int, int]) -> CacheEntry:
        key, name, size, made, used = known
        return CacheEntry(
            id=key,
            type="source.http",
            description=f"fetched file {name}",
            size=size,
            created=made,
            used=used,
            is_in_use=self.shop.builds > 0,
        )

    async def prune(
        self,
        filters: Mapping[str, Sequence[str]] | None = None,
        *,
        everything: bool = False,
        limits: Limits = NO_LIMITS,
    ) -> tuple[list[str], int]:
        """Remove what is not used, as :func:`to_remove` says; ids, and bytes given back. Raises InvalidArgument."""
        condition = parse_conditions(filters or {}, time.time_ns())
        entries = await self.usage()
        disk = os.statvfs(self.shop.worker.scratch)
        keep = limits.keep(sum(entry.size for entry in entries), disk.f_bavail * disk.f_frsize)
        gone = to_remove(entries, condition=condition, everything=everything, keep=keep)
        if everything and not filters and keep is None:
            self.shop.worker.forget()
        return await self._remove(gone)

    async def _remove(self, gone: Sequence[CacheEntry]) -> tuple[list[str], int]:
        worker = self.shop.worker
        ids = {entry.id for entry in gone}
        records = [
            record
            for record in self.shop.cache.all()
            if record.short_id in ids and record.image_id not in self.shop.in_use
        ]
        before = worker.images.disk_usage()
        self.shop.cache.remove(records)
        self.discard_unused({record.image_id for record in records})
        mounts = {entry.id: entry.size for entry in gone if entry.type == "exec.cachemount"}
        worker.caches.remove(mounts)
        fetched = {entry.id: entry.size for entry in gone if entry.type == "source.http"}
        if not self.shop.builds:
            await trio.to_thread.run_sync(worker.fetched.remove, fetched)
        worker.images.collect()
        freed = max(0, before - worker.images.disk_usage()) + sum({**mounts, **fetched}.values())
        for problem in await worker.images.sweep():
            log.warning("pruning the build cache: %s", problem)
        await trio.to_thread.run_sync(worker.caches.sweep)
        return [entry.id for entry in gone], freed

    def discard_unused(self, among: AbstractSet[str] | None = None) -> None:
        """Forget layers that no record leads to: of records that are gone (``among``), and when no build goes on all of
        them: a killed engine may have made some and not remembered them."""
        catalogue = self.shop.images.content.catalogue
        for image_id in self.shop.cache.unused_images():
            is_meant = not self.shop.builds or among is None or image_id in among
            is_used = image_id in self.shop.in_use or self.shop.images.users(image_id)
            if is_meant and not is_used:
                catalogue.delete(image_id)

    async def watch(self) -> None:
        """After builds, until cancelled: bring what they made to the disk, and keep the cache small."""
        while True:
            await self.shop.has_grown.wait()
            self.shop.has_grown = trio.Event()
            while self.shop.undurable:
                content = self.shop.images.content
                await trio.to_thread.run_sync(content.make_durable, self.shop.undurable.pop())
            await self.keep_small()

    async def keep_small(self) -> None:
        """Remove the longest unused when there is more than may be."""
        limit = self.limit
        if limit is None:
            disk = os.statvfs(self.shop.worker.scratch)
            limit = max(_AT_LEAST, disk.f_frsize * disk.f_blocks // _SHARE)
        gone = to_remove(await self.usage(), keep=limit)
        if gone:
            ids, freed = await self._remove(gone)
            log.info(
                "the build cache was larger than %d bytes: %d entries removed, %d bytes",
                limit,
                len(ids),
                freed,
            )
