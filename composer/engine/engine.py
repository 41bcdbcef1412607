"""The engine: its parts, put together, and the tasks that run as long as it does."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import trio

from composer.engine.attach import Attaching, Observation
from composer.engine.builds.builder import Builder
from composer.engine.builds.builds import Builds
from composer.engine.builds.cache import BuildCache
from composer.engine.builds.contexts import Contexts
from composer.engine.cells import first_of
from composer.engine.container_files import ContainerFiles
from composer.engine.containers import Container, Containers
from composer.engine.debugging import Debugging
from composer.engine.ending import Ending
from composer.engine.events import Events
from composer.engine.execs import Execs
from composer.engine.exits import Exits
from composer.engine.hooks import Hooks
from composer.engine.images import Images, image_users
from composer.engine.launching import Launching
from composer.engine.lifecycle import Lifecycle
from composer.engine.logs import ContainerLogs
from composer.engine.lost_records import find_lost
from composer.engine.networking.left_interfaces import LeftInterfaces
from composer.engine.networking.networks import Networks
from composer.engine.networking.overlays import Overlays
from composer.engine.networking.publishing import Publishing
from composer.engine.networking.sandboxes import Sandboxes
from composer.engine.operations import ContainerOperations
from composer.engine.prober import Prober
from composer.engine.projects.facade import Projects
from composer.engine.projects.parts import Parts
from composer.engine.projects.sources import ProjectLoader
from composer.engine.recovery import Recovery
from composer.engine.system import System
from composer.engine.volumes import Volumes
from composer.engine.waiting import Waiting
from runtime.container.client import KeeperClient
from runtime.container.config import ImageConfig
from runtime.container.host import device_nodes, host_facts
from runtime.crash_points import crash_point
from runtime.image.registry.configuration import configuration_path, load_configuration
from runtime.image.store import ImageStore
from runtime.kernel.cgroups import Cgroups
from runtime.network.firewall import Firewall
from runtime.network.kept_clients import KeptClients
from runtime.network.names import NameTable
from runtime.network.overlay_names import OverlayNames
from runtime.network.pending import PendingQuestions
from runtime.network.resolver import Resolver
from runtime.network.ruleset_changes import RulesetChanges
from runtime.storage.paths import LASTING_MODE, Paths
from runtime.storage.state import StateDatabase
from runtime.storage.volumes import VolumeDirectories

log = logging.getLogger(__name__)

REST_AFTER = 60.0
"""Seconds without containers and connections after which the engine ends by itself."""
FIREWALL_SETTLES = 0.1
"""Seconds from the first change of rules to our second look."""


def tag_of(lib: Path) -> str:
    """What tells this engine's kernel objects from another's: "" for the one at the default root."""
    if lib == Path("/var/lib/composer"):
        return ""
    return hashlib.sha256(str(lib).encode()).hexdigest()[:8]


def read_boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@dataclass
class Engine:
    """Everything the API serves. Made by :func:`build`, alive while :meth:`run` runs."""

    containers: ContainerOperations
    execs: Execs
    debugging: Debugging
    images: Images
    networks: Networks
    volumes: Volumes
    events: Events
    projects: Projects
    builds: Builds
    system: System
    build_cache: BuildCache
    registry: Containers
    lifecycle: Lifecycle
    recovery: Recovery
    sandboxes: Sandboxes
    firewall: Firewall
    overlays: Overlays
    database: StateDatabase
    scope: trio.CancelScope
    spool: Path
    """Where uploads are put while they come in."""
    ending: trio.Event = field(default_factory=trio.Event)
    """Set when it begins to end."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Recover, then live until :meth:`System.stop` or cancellation. Containers run on afterwards."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.lifecycle.run)
                await nursery.start(self.execs.run)
                crash_point("core.engine.opened")
                wanted = await self.recovery.run()
                task_status.started()
                nursery.start_soon(self._start_wanted, wanted)
                nursery.start_soon(self._guard_firewall)
                nursery.start_soon(self.overlays.run)
                nursery.start_soon(self.sandboxes.left.run)
                nursery.start_soon(self.images.sweep)
                nursery.start_soon(self.build_cache.watch)
                try:
                    with self._keeping_layers():
                        await trio.sleep_forever()
                finally:
                    self.ending.set()
        self.lifecycle.is_closing = True
        if not any(c.state.is_alive for c in self.registry.all()):
            self.firewall.remove()
            self.recovery.leave()
        self.firewall.close()
        self.database.close()

    def _keeping_layers(self) -> contextlib.AbstractContextManager[None]:
        """On which layers a remnant runs is not known: all stay."""
        if any(container.is_remnant for container in self.registry.all()):
            return self.images.store.content.collecting_stopped()
        return contextlib.nullcontext()

    async def _start_wanted(self, wanted: list[Container]) -> None:
        """Containers go on, on images that are whole."""
        await self.projects.builds.discard_interrupted()
        await self.images.settle()
        await self.recovery.start_wanted(wanted)

    async def _guard_firewall(self) -> None:
        """Put back what somebody else's flush has taken, as long as there is anything to guard. The kernel tells of
        every change, also when it had no room for what it was."""
        with RulesetChanges() as changes:
            while True:
                if not self.firewall.bridges:
                    await self._next_container_event()
                    continue
                await trio.lowlevel.wait_readable(changes)
                self._restore_firewall()  # at once: without rules networks are open to each other
                # After a flush its maker loads rules of its own: another look at the end of it.
                await trio.sleep(FIREWALL_SETTLES)
                changes.drain()
                self._restore_firewall()

    def _restore_firewall(self) -> None:
        if self.firewall.ensure():
            log.warning("the firewall rules had been changed by somebody else and were restored")

    async def _next_container_event(self) -> None:
        async for _ in self.events.subscribe(filters={"type": ["container"], "event": ["start"]}):
            return

    @property
    def is_idle(self) -> bool:
        """No container runs or will run again."""
        return all(c.state.is_settled for c in self.registry.all())

    async def less_to_do(self) -> None:
        """Until one of the containers that run, or will, does something else: as long as it does not, there is work."""
        for container in self.registry.all():
            if not container.state.is_settled:
                await first_of(container.status.changed, container.is_removed.wait)
                return


def build(paths: Paths, keeper: KeeperClient) -> Engine:
    """Put the parts together. Opens the database; touches nothing else."""
    paths.lib.mkdir(mode=LASTING_MODE, parents=True, exist_ok=True)
    if paths.lib.stat().st_mode & 0o077:
        paths.lib.chmod(LASTING_MODE)
    for directory in (paths.run, paths.run / "containers", paths.lib / "containers"):
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    tag = tag_of(paths.lib)
    has_state = any((paths.lib / "containers").iterdir())
    database = StateDatabase(paths.database, paths.journal, has_state=has_state)
    for notice in database.notices:
        log.warning("%s", notice)
    lost = find_lost(database, paths)
    cgroups = Cgroups(tag)
    host = host_facts(tag)
    events = Events()
    configuration = load_configuration(configuration_path(os.environ, os.geteuid()))
    store = ImageStore(
        paths.images, database, configuration, users=lambda image_id: image_users(registry, image_id)
    )
    for notice in store.notices:
        log.warning("%s", notice)

    def image_config(image_id: str) -> ImageConfig | None:
        image = store.image(image_id)
        return image.config if image is not None else None

    registry = Containers(database, paths, events, image_config)
    registry.load()
    directories = VolumeDirectories(paths.volumes)
    volumes = Volumes(database, directories, events, registry.volume_users)
    firewall = Firewall(tag)
    networks = Networks(database, registry, events, firewall, tag)
    names = NameTable()
    resolver = Resolver(names, pending=PendingQuestions(paths.run / "questions"), clients=KeptClients(keeper))
    publishing = Publishing(registry, networks, firewall, keeper)
    sandboxes = Sandboxes(
        registry, networks, names, resolver, paths, publishing, cgroups, LeftInterfaces(registry)
    )
    networks.sandboxes = sandboxes
    launching = Launching(registry, volumes, store, sandboxes, paths, host, device_nodes)
    execs = Execs(registry, events, launching)
    logs = ContainerLogs(paths)
    boot_id = read_boot_id()

    lifecycle = Lifecycle(
        containers=registry,
        volumes=volumes,
        sandboxes=sandboxes,
        events=events,
        paths=paths,
        keeper=keeper,
        cgroups=cgroups,
        prober=Prober(events, execs.run_probe, logs.size),
        ending=Ending(events, cgroups),
        exits=Exits(events, networks),
        hooks=Hooks(execs.run_hook),
        boot_id=boot_id,
        prepare=launching.prepare,
    )
    images = Images(store, registry, events)
    registry.on_forgotten = images.drop_unused
    operations = ContainerOperations(
        containers=registry,
        lifecycle=lifecycle,
        networks=networks,
        volumes=volumes,
        images=store,
        container_logs=logs,
        attaching=Attaching(registry, logs),
        observation=Observation(registry, cgroups),
        cgroups=cgroups,
        paths=paths,
        host=host,
        files=ContainerFiles(registry, store, volumes, paths),
        named_devices=launching.named_devices,
    )
    waiting = Waiting()
    parts = Parts(
        containers=registry,
        lifecycle=lifecycle,
        networks=networks,
        volumes=volumes,
        images=store,
        logs=logs,
        events=events,
        create_container=operations.create_container,
        pull_image=images.fetch,
        remove_image=images.remove,
        waiting=waiting,
        pulled_at=images.pulled_at,
    )
    scope = trio.CancelScope()
    system = System(
        containers=registry,
        images=images,
        networks=networks,
        volumes=volumes,
        paths=paths,
        host=host,
        started_at=time.time_ns(),
        up_since=time.clock_gettime(time.CLOCK_BOOTTIME),
        end=scope.cancel,
        keeper=keeper,
        warnings=lambda: (*firewall.warnings, *database.warnings, *lost.notices),
        waiting=waiting,
    )
    recovery = Recovery(
        containers=registry,
        lifecycle=lifecycle,
        networks=networks,
        sandboxes=sandboxes,
        firewall=firewall,
        cgroups=cgroups,
        parts=parts,
        paths=paths,
        volumes=volumes,
        tag=tag,
        boot_id=boot_id,
    )
    builder = Builder(parts, database, paths, configuration)
    builds = Builds(builder, store, Contexts(paths.lib / "build-contexts"))
    return Engine(
        containers=operations,
        execs=execs,
        debugging=Debugging(registry, execs, volumes),
        images=images,
        networks=networks,
        volumes=volumes,
        events=events,
        projects=Projects(parts, ProjectLoader(), builds),
        builds=builds,
        system=system,
        build_cache=builder.cache,
        registry=registry,
        lifecycle=lifecycle,
        recovery=recovery,
        sandboxes=sandboxes,
        firewall=firewall,
        overlays=Overlays(networks, OverlayNames(names)),
        database=database,
        scope=scope,
        spool=paths.lib / "tmp",
    )
