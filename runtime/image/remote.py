"""Images in registries, looked at, named and copied without being pulled."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from runtime.errors import ComposerError
from runtime.image.blobs import BlobStore
from runtime.image.flight import KeyedLocks
from runtime.image.index import Encoded, media_type_of, parts_of
from runtime.image.manifest import INDEX_DEPTH, Descriptor, InvalidImage
from runtime.image.reference import Reference
from runtime.image.registry.client import Registry
from runtime.image.registry.configuration import RegistryConfiguration
from runtime.image.registry.credentials import load_credentials
from runtime.image.registry.referrers import attach, list_referrers
from runtime.image.registry.upload import Uploader

Tell = Callable[[str], None]
"""Gets a sentence for each step."""


class Registries:
    """The registries that one command speaks to, each by one set of connections."""

    def __init__(self, configuration: RegistryConfiguration, env: Mapping[str, str]) -> None:
        self.configuration = replace(configuration, env=env)
        self._env = env
        self._known: dict[str, Registry] = {}

    def of(self, reference: Reference) -> Registry:
        """The registry in a name."""
        domain = reference.domain
        if domain not in self._known:
            self._known[domain] = Registry(
                domain, self.configuration, credentials=partial(load_credentials, self._env, domain)
            )
        return self._known[domain]

    def uploader(self, reference: Reference) -> Uploader:
        """What writes to the repository in a name."""
        return Uploader(self.of(reference).connection, reference)

    async def fetch(self, reference: Reference) -> Encoded:
        """The manifest or index of a name. Raises as ``Registry.manifest``."""
        fetched = await self.of(reference).manifest(reference)
        return Encoded(fetched.data, media_type_of(fetched.data, fetched.media_type))

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            for registry in self._known.values():
                await registry.aclose()


@asynccontextmanager
async def open_registries(
    configuration: RegistryConfiguration, env: Mapping[str, str]
) -> AsyncIterator[Registries]:
    """Registries to speak to meanwhile."""
    registries = Registries(configuration, env)
    try:
        yield registries
    finally:
        await registries.aclose()


class Copier:
    """Copies images between repositories. What has to come through this machine goes through a directory that
    :meth:`close` removes."""

    def __init__(self, registries: Registries, tell: Tell) -> None:
        self._registries = registries
        self._tell = tell
        self._room: Path | None = None
        self._locks = KeyedLocks()
        self._limiter = trio.CapacityLimiter(registries.configuration.concurrent_uploads)

    def close(self) -> None:
        if self._room is not None:
            shutil.rmtree(self._room, ignore_errors=True)

    async def bring(self, source: Reference, target: Reference, document: Encoded, depth: int = 0) -> None:
        """Let the repository of ``target`` have a manifest or index of ``source``, by its digest, with all that is
        below it."""
        if (source.domain, source.path) == (target.domain, target.path):
            return
        if depth > INDEX_DEPTH:
            raise InvalidImage(f"the indexes of {source.familiar} are nested too deeply")
        parts = parts_of(document.data)
        for child in parts.manifests:
            below = await self._registries.fetch(source.with_digest(child.digest))
            await self.bring(source, target, below, depth + 1)
        failures: list[ComposerError] = []

        async def one(blob: Descriptor, scope: trio.CancelScope) -> None:
            try:
                async with self._limiter:
                    await self._copy_blob(source, target, blob)
            except ComposerError as error:
                failures.append(error)
                scope.cancel()

        async with trio.open_nursery() as nursery:
            for blob in {blob.digest: blob for blob in parts.blobs}.values():
                nursery.start_soon(one, blob, nursery.cancel_scope)
        if failures:
            raise failures[0]
        await self.put(target, document, str(document.digest))

    async def put(self, target: Reference, document: Encoded, name: str) -> None:
        """Name a manifest or index whose parts are there: by a tag, or its digest."""
        uploader = self._registries.uploader(target)
        knows_subject = await uploader.put_manifest(document.descriptor, document.data, name)
        subject = parts_of(document.data).subject
        if subject is not None and not knows_subject:
            await attach(self._registries.of(target), uploader, target, document, subject)

    async def bring_referrers(self, source: Reference, target: Reference, root: Encoded) -> int:
        """Copy what is attached to an image, and to that; how many there were."""
        pending, seen = [root.digest], {root.digest}
        while pending:
            subject = pending.pop()
            for entry in await list_referrers(self._registries.of(source), source, subject):
                attached = source.with_digest(entry.digest)
                if entry.digest in seen:
                    continue
                seen.add(entry.digest)
                pending.append(entry.digest)
                self._tell(f"copying {entry.digest} (attached to {subject})")
                await self.bring(source, target, await self._registries.fetch(attached))
        return len(seen) - 1

    async def _copy_blob(self, source: Reference, target: Reference, blob: Descriptor) -> None:
        uploader = self._registries.uploader(target)
        async with self._locks.hold((target.name, blob.digest)):
            if await uploader.has(blob.digest):
                return
            if source.domain == target.domain and await uploader.mount(blob.digest, source.path):
                return
            self._tell(f"copying {blob.digest} from {source.familiar_name} to {target.familiar_name}")
            if self._room is None:
                self._room = Path(tempfile.mkdtemp(prefix="composer-copy-"))
            store = BlobStore(self._room)
            async with self._locks.hold(blob.digest):
                if not store.has(blob.digest, blob.size):
                    ingest = await trio.to_thread.run_sync(store.begin, blob)
                    try:
                        await self._registries.of(source).download(source, ingest)
                    finally:
                        ingest.close()
            await uploader.upload(blob, lambda: store.open(blob.digest), lambda _: None)
