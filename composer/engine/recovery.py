"""Taking up what is there: the same path after a start, a crash and a reboot.

Containers whose shim lives are adopted; those that ended meanwhile get their exit status and their restart policy;
after a reboot the policies decide what is started, in the order of dependencies. What belongs to nobody is removed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass

import trio
from msgspec.structs import replace

from composer.engine.containers import Container, Containers
from composer.engine.lifecycle import AlreadyStarted, Lifecycle
from composer.engine.model import Status
from composer.engine.networking.networks import Networks
from composer.engine.networking.sandboxes import Sandboxes
from composer.engine.projects import unstarted
from composer.engine.projects.known import dependencies_in_labels
from composer.engine.projects.parts import Parts
from composer.engine.projects.waits import ConditionFailed, wait_for_condition
from composer.engine.restart import is_started_with_engine
from composer.engine.volumes import Volumes
from runtime.container.client import adopt
from runtime.container.shim_client import Shim
from runtime.container.status import ExitStatus
from runtime.crash_points import crash_point
from runtime.errors import ComposerError
from runtime.kernel.cgroups import Cgroups
from runtime.network import bridge
from runtime.network.firewall import Firewall, bridge_rules
from runtime.network.ruleset import Forward
from runtime.storage.paths import Paths
from runtime.storage.removal import remove_tree

log = logging.getLogger(__name__)
LONGEST_WAIT = 300.0
"""Seconds that a container waits for its dependencies after a reboot before it is started anyway."""
ENDED_WITHIN = 10.0
"""Seconds that one which nobody knows may take to end."""


@dataclass
class Recovery:
    """One engine's start."""

    containers: Containers
    lifecycle: Lifecycle
    networks: Networks
    sandboxes: Sandboxes
    firewall: Firewall
    cgroups: Cgroups
    parts: Parts
    paths: Paths
    volumes: Volumes
    tag: str
    boot_id: str

    async def run(self) -> list[Container]:
        """Adopt, settle and sweep; returns the containers that policies want started (:meth:`start_wanted`)."""
        wanted: list[Container] = []
        forwards: list[Forward] = []
        unsettled: list[Container] = []
        await self.sandboxes.resolver.clients.fetch()
        for container in self.containers.all():
            unstarted.see_to(container, self.lifecycle)
            if await self._take_up(container, forwards, unsettled):
                container.update(is_wanted=True)
                wanted.append(container)
        living = [c.id for c in self.containers.all() if c.shim is not None]
        self.sandboxes.resolver.forget_left(living)
        await self.sandboxes.resolver.clients.forget_left(living)
        await self.sandboxes.publishing.drop_stale()
        self._restore_firewall(forwards)
        for container in unsettled:
            await self._settle_networks(container)
        crash_point("core.engine.adopted")
        await self._sweep()
        crash_point("core.engine.swept")
        return wanted

    async def _settle_networks(self, container: Container) -> None:
        try:
            await self.sandboxes.settle(container)
        except ComposerError as error:  # it has ended meanwhile
            log.warning("container %s: its networks: %s", container.name, error)

    async def _take_up(
        self, container: Container, forwards: list[Forward], unsettled: list[Container]
    ) -> bool:
        """Find out what became of one container. True when its policy wants it started."""
        record = container.record
        if record.status.status in ("removing", "dead"):
            try:
                await self.lifecycle.remove(container.id, force=True)
            except ComposerError as error:  # a disk that cannot be written keeps no engine from starting
                log.warning("container %s could not be removed: %s", container.name, error)
                container.set_status(replace(container.state, status="dead"))
            return False
        was_running = record.is_wanted
        found = await adopt(self.paths.container_run(container.id), self.paths.container(container.id))
        if isinstance(found, Shim):
            self.sandboxes.register(container)
            forwards += await self.sandboxes.publishing.adopt(container)
            self.lifecycle.adopt(container, found)
            if record.joining or record.leaving:
                unsettled.append(container)
            return False
        if record.joining or record.leaving:
            container.update(joining=(), leaving={})
            record = container.record
        if not was_running and not record.status.is_alive and record.status.status != "restarting":
            return False
        if found is None and record.status.status == "created":
            return False
        is_new_boot = record.boot_id != self.boot_id or found is None
        if is_new_boot:
            self._mark_interrupted(container, found)
            return is_started_with_engine(
                container.config.restart,
                was_running=was_running,
                is_manually_stopped=record.is_manually_stopped,
            )
        assert found is not None
        self.cgroups.kill(container.id)
        if record.status.is_alive:
            self.lifecycle.settle(container, found)
            return False
        if record.status.status == "restarting":
            self.lifecycle.resume(container)
            return False
        return was_running

    def _mark_interrupted(self, container: Container, found: ExitStatus | None) -> None:
        """What ran when the machine went down has ended with it (255, as Docker says)."""
        old = container.state
        container.set_status(
            Status(
                status="exited",
                exit_code=found.exit_code if found else 255,
                error=found.error if found else "the machine was restarted",
                started_at=old.started_at,
                finished_at=found.finished_at if found else time.time_ns(),
                restart_count=0,
            )
        )

    def _restore_firewall(self, forwards: list[Forward]) -> None:
        from runtime.network.ruleset import FirewallState

        existing = bridge.list_bridges(self.tag)
        rules = frozenset(
            bridge_rules(network) for network in self.networks.list() if network.bridge in existing
        )
        if rules or forwards:
            self.firewall.apply(FirewallState(networks=rules, forwards=frozenset(forwards)))

    def leave(self) -> None:
        """At the engine's end, when nothing runs: leave nothing in the kernel. What is needed is made again."""
        for name in bridge.list_bridges(self.tag):
            bridge.remove_bridge(name, self.tag)
        self.cgroups.sweep(())

    async def _sweep(self) -> None:
        """Remove what belongs to nobody: bridges, cgroups, directories. What cannot be removed is left to the next
        start."""
        known = {n.bridge for n in self.networks.list()}
        has_remnants = any(c.is_remnant for c in self.containers.all())
        for name in bridge.list_bridges(self.tag) - known:
            if has_remnants and bridge.has_ports(name):
                continue  # it may be a remnant's
            log.info("removing bridge %s of no network", name)
            bridge.remove_bridge(name, self.tag)
        ids = {c.id for c in self.containers.all()}
        self.cgroups.sweep(ids)
        places = (self.paths.run / "containers", self.paths.lib / "containers")
        names = {name for place in places if place.is_dir() for name in os.listdir(place)} - ids
        for name in sorted(names):
            with trio.move_on_after(ENDED_WITHIN):
                await self._end(name)
            for place in places:
                if os.path.lexists(place / name):
                    log.info("removing %s of no container", place / name)
                    try:
                        remove_tree(place / name)
                    except ComposerError as error:
                        log.warning("%s", error)
        for problem in self.volumes.sweep():
            log.warning("%s", problem)

    async def _end(self, name: str) -> None:
        """Of a container in no record: its shim still has the exit status to write, in what is to be removed."""
        try:
            found = await adopt(self.paths.run / "containers" / name, self.paths.lib / "containers" / name)
        except (OSError, ComposerError) as error:
            log.warning("what runs as %s: %s", name, error)
            return
        if isinstance(found, Shim):
            try:
                with contextlib.suppress(ProcessLookupError):
                    found.signal(signal.SIGKILL)
                await found.wait()
            finally:
                found.close()

    async def start_wanted(self, wanted: list[Container]) -> None:
        """Start containers side by side, each when what it depends on is ready."""
        async with trio.open_nursery() as nursery:
            for container in wanted:
                nursery.start_soon(self._start_one, container)

    async def _start_one(self, container: Container) -> None:
        with trio.move_on_after(LONGEST_WAIT):
            await self._wait_for_dependencies(container)
        try:
            await self.lifecycle.start(container.id, if_wanted=True)
            log.info("started %s, as its restart policy asks", container.name)
        except AlreadyStarted:
            pass
        except ComposerError as error:
            log.warning("container %s could not be started: %s", container.name, error)

    async def _wait_for_dependencies(self, container: Container) -> None:
        project = container.config.labels.get("com.docker.compose.project", "")
        for need in dependencies_in_labels(container):
            for other in self.parts.replicas_of(project, need.service):
                condition = need.condition
                if condition == "service_completed_successfully" and other.state.exit_code == 0:
                    continue
                try:
                    with self.parts.waiting.for_service(container.name, need.service, condition):
                        if condition == "service_started":
                            await other.status.wait_for(lambda s: s.is_alive or s.status == "dead")
                        else:
                            await wait_for_condition(other, condition)
                except ConditionFailed as error:
                    log.warning("container %s: %s", container.name, error)
