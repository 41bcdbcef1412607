"""Pulling: from a reference to a registered image, by way of mirrors and registries."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import trio

from runtime.errors import ComposerError
from runtime.image.content import Content, Throttle
from runtime.image.digest import Digest
from runtime.image.manifest import (
    CONFIG_LIMIT,
    INDEX_DEPTH,
    Descriptor,
    Index,
    InvalidImage,
    Manifest,
    OverLimit,
    choose,
    parse_config,
    parse_manifest,
)
from runtime.image.model import Image, NewImage, Progress, PullProgress, tell_pause
from runtime.image.platform import Platform
from runtime.image.reference import Reference
from runtime.image.registry.authentication import CredentialSource
from runtime.image.registry.client import Registry
from runtime.image.registry.configuration import RegistryConfiguration
from runtime.image.registry.credentials import load_credentials
from runtime.storage.files import StorageError


@dataclass(frozen=True, slots=True)
class _Found:
    """What a registry has under a name, down to one image."""

    root: Digest
    """Of what the name stands for: an index, or the manifest itself."""
    manifest: Manifest
    data: bytes
    index: bytes
    """What the name stands for, when it is an index; else b""."""


class Puller:
    """Pulls into one :class:`Content`."""

    def __init__(
        self, content: Content, configuration: RegistryConfiguration, env: Mapping[str, str]
    ) -> None:
        self._content = content
        self._configuration = configuration
        self._env = env
        self.roots: dict[str, Digest] = {}
        """What references with a tag stood for when they were last looked at."""

    async def pull(
        self,
        reference: Reference,
        platform: Platform,
        progress: Progress,
        *,
        exact: bool = False,
        credentials: CredentialSource | None = None,
    ) -> Image:
        """Bring the image of ``reference`` for ``platform`` here, from the first mirror or registry that has
        it.

        ``exact``: the user named the platform, so that nothing else will do. Raises ComposerErrors, the
        registry's own when the mirrors fail as well; at once what no other place would change (a full disk, a limit).
        """
        failures: list[ComposerError] = []
        for place in self._places(reference, credentials):
            async with _closing(place) as registry:
                registry.connection.on_pause = partial(tell_pause, progress, "")
                try:
                    return await self._pull_from(registry, reference, platform, progress, exact)
                except (OverLimit, StorageError):
                    raise
                except ComposerError as error:
                    failures.append(error)
        failure = failures.pop()
        if failures:
            tried = "; ".join(error.message for error in failures)
            failure.hint = f"{failure.hint} Mirrors before it: {tried}".strip()
        raise failure

    async def tags(self, reference: Reference, credentials: CredentialSource | None = None) -> list[str]:
        """All tags that the registry has of a repository (mirrors may not have them all)."""
        *_, place = self._places(reference, credentials)
        async with _closing(place) as registry:
            return await registry.tags(reference)

    def _places(self, reference: Reference, credentials: CredentialSource | None) -> Iterator[Registry]:
        for url in self._configuration.mirrors.get(reference.domain, ()):
            yield Registry(reference.domain, self._configuration, url=url)
        find = credentials or partial(load_credentials, self._env)
        yield Registry(reference.domain, self._configuration, credentials=partial(find, reference.domain))

    async def _pull_from(
        self, registry: Registry, reference: Reference, platform: Platform, progress: Progress, exact: bool
    ) -> Image:
        present = await self._unchanged(registry, reference, platform)
        if present is not None:
            progress(PullProgress("", "Pulling from", text=reference.familiar_name))
            return present
        found = await self._find(registry, reference, platform, exact)
        config = await registry.blob(reference, found.manifest.config.digest, CONFIG_LIMIT)
        progress(PullProgress("", "Pulling from", text=reference.familiar_name))
        document = parse_config(config)
        if exact and document.platform.architecture != platform.architecture:
            raise InvalidImage(
                f"image with reference {reference.familiar} was found but does not match the specified"
                f" platform: wanted {platform}, actual: {document.platform}",
                status=404,
            )
        if document.os != "linux":
            raise InvalidImage(f"the image is for {document.os}: only linux can be run")
        limiter = trio.CapacityLimiter(self._configuration.concurrent_downloads)

        async def fetch(descriptor: Descriptor) -> None:
            short = descriptor.digest.short
            async with limiter:
                ingest = await trio.to_thread.run_sync(self._content.blobs.begin, descriptor)
                throttle = Throttle(progress)
                try:
                    await registry.download(
                        reference,
                        ingest,
                        lambda n: throttle(PullProgress(short, "Downloading", n, descriptor.size)),
                        partial(tell_pause, progress, short),
                    )
                finally:
                    ingest.close()
            progress(PullProgress(short, "Download complete", descriptor.size, descriptor.size))

        blobs = [layer.digest for layer in found.manifest.layers]
        chain = self._content.chain(config)
        with self._content.pinned([found.root, *blobs, *chain]):
            records = await self._content.assemble(config, found.manifest, fetch, progress)
            if found.index:
                await trio.to_thread.run_sync(self._content.blobs.put, found.index, found.root)
            return self._content.catalogue.register(
                NewImage(
                    config=config,
                    layers=records,
                    manifest=found.data,
                    tags=[str(reference)] if reference.digest is None else [],
                    digests=[str(reference.with_digest(found.root))],
                    indexes=[str(found.root)] if found.index else [],
                )
            )

    async def _unchanged(self, registry: Registry, reference: Reference, platform: Platform) -> Image | None:
        """The image that is here already when the registry still means the same by the name."""
        catalogue = self._content.catalogue
        named = (image for image in catalogue.all_of(reference) if image.platform == platform)
        present = next(named, None)
        if present is None or present.is_embedded:
            return None
        if not self._content.is_complete(present):
            return None
        if reference.digest is not None:
            return present
        digest = await registry.head(reference)
        if digest is None or reference.with_digest(digest).familiar not in present.digests:
            return None
        self.roots[str(reference)] = digest
        return present

    async def _find(
        self, registry: Registry, reference: Reference, platform: Platform, exact: bool
    ) -> _Found:
        root = fetched = await registry.manifest(reference)
        self.roots[str(reference)] = root.digest
        for _ in range(INDEX_DEPTH):
            parsed = parse_manifest(fetched.data, fetched.media_type)
            if isinstance(parsed, Manifest):
                index = root.data if fetched is not root else b""
                return _Found(root.digest, parsed, fetched.data, index)
            assert isinstance(parsed, Index)
            chosen = choose(parsed, platform, exact=exact)
            fetched = await registry.manifest(reference, chosen.digest)
        raise InvalidImage(f"the indexes of {reference.familiar} are nested too deeply")


@contextlib.asynccontextmanager
async def _closing(registry: Registry) -> AsyncIterator[Registry]:
    try:
        yield registry
    finally:
        with trio.CancelScope(shield=True), contextlib.suppress(OSError):
            await registry.aclose()
