"""Building images, any number at a time: what all builds of an engine have in common. What a single one needs is
imported with the first.

RUN is a container of ours whose upper directory becomes the layer.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import trio

from composer.engine.builds.cache import BuildCache
from composer.engine.builds.foreign import ForeignImages
from composer.engine.builds.workshop import Tell, Workshop
from composer.engine.projects.parts import Parts
from runtime.build.worker.labels import STEP_LABEL
from runtime.build.worker.records import CacheRecords
from runtime.container.config import ContainerConfig
from runtime.container.shim_client import LaunchError
from runtime.errors import ComposerError
from runtime.image.model import Image
from runtime.image.platform import Platform
from runtime.image.registry.configuration import RegistryConfiguration
from runtime.storage.paths import Paths
from runtime.storage.state import StateDatabase

if TYPE_CHECKING:
    from composer.engine.builds.options import BuildOptions
    from composer.engine.builds.traces import Traces
    from runtime.build.worker.remote_cache import RemoteCaches
    from runtime.build.worker.snapshot import Snapshot
    from runtime.build.worker.worker import FailedStep, Output, StepSecrets, Worker
    from runtime.image.attestations import Attestation


@dataclass
class Session:
    """The builds of one command."""

    remembered: dict[str, Snapshot] = field(default_factory=dict)
    on_failed: Callable[[FailedStep], Awaitable[None]] | None = None
    """What is done about a step that fails before it is over."""


@dataclass(frozen=True, slots=True)
class Product:
    """What a build has made."""

    image: Image
    platform: Platform
    """What was built for: a base may be of another one."""
    attestations: tuple[Attestation, ...] = ()


class Builder:
    """Builds images, any number at a time."""

    def __init__(
        self, parts: Parts, database: StateDatabase, paths: Paths, configuration: RegistryConfiguration
    ) -> None:
        self.parts = parts
        self._paths = paths
        self._database = database
        self._configuration = configuration
        limit = trio.CapacityLimiter(max(4, os.cpu_count() or 4))
        self.shop = Workshop(parts.images, CacheRecords(database, parts.images), limit, self._hire)
        self.foreign = ForeignImages(parts, database)
        self.cache = BuildCache(self.shop, configuration.build_cache)

    async def build(self, options: BuildOptions, tell: Tell, session: Session | None = None) -> Product:
        """Build and tag an image, and return it with what is said of it. Raises ComposerErrors: DockerfileError,
        NotFound, a failed step."""
        from composer.engine.builds.single_build import SingleBuild

        return await SingleBuild(self, options, tell, session or Session()).run()

    @cached_property
    def remote(self) -> RemoteCaches:
        """Caches elsewhere."""
        from runtime.build.worker.remote_cache import RemoteCaches

        return RemoteCaches(self.shop.worker.step_images, self._configuration)

    @cached_property
    def traces(self) -> Traces:
        """What the steps of files depended on."""
        from composer.engine.builds.traces import Traces

        return Traces(self._database)

    def _hire(self) -> Worker:
        from runtime.build.worker.worker import Worker

        root = self._paths.lib / "build"
        return Worker(root, self._paths.images, self.parts.images, self._database, self._run_container)

    async def discard_interrupted(self) -> None:
        """Remove the containers of steps that an engine was killed in, and what they had made."""
        for container in self.parts.containers.all():
            if STEP_LABEL in container.config.labels:
                await self.parts.lifecycle.remove(container.id, force=True, volumes=True)
        self.cache.discard_unused()

    async def _run_container(
        self,
        config: ContainerConfig,
        secrets: StepSecrets,
        output: Output,
        then: Callable[[str], Awaitable[None]],
        failed: Callable[[str, int | ComposerError], Awaitable[bool]],
    ) -> int:
        container = await self.parts.create(config, f"build-{os.urandom(6).hex()}")
        container.unrecorded = (secrets.env, secrets.files)
        is_kept = False
        try:
            try:
                await self.parts.lifecycle.start(container.id)
            except LaunchError as error:
                is_kept = await failed(container.id, error)
                raise
            async for lines in self.parts.logs.read(container, follow=True):
                for line in lines:
                    await output(line.data.decode(errors="replace").rstrip("\r"))
            status = await container.wait()
            if not status:
                await then(str(self._paths.container(container.id) / "upper"))
            else:
                is_kept = await failed(container.id, status)
            return status
        finally:
            container.unrecorded = ((), ())
            if not is_kept and not container.is_removed.is_set():
                with trio.CancelScope(shield=True):
                    await self.parts.lifecycle.remove(container.id, force=True, volumes=True)
