"""The life of containers: start, supervise, restart, stop, pause, remove.

A container that was started has one task in the nursery of :class:`Lifecycle`, and that task *is* its life: it serves
its names, probes its health, waits for its exit, and decides what follows. Everything else only asks: operations take
``container.busy``, change what has to change, and wait for the state cell.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from msgspec.structs import replace

from composer.engine import chronicle, uses
from composer.engine.at_once import taken
from composer.engine.containers import Container, Containers
from composer.engine.ending import Ending, grace_of, send
from composer.engine.events import Events
from composer.engine.execs import Hear
from composer.engine.exits import Exits, next_delay
from composer.engine.hooks import Hooks
from composer.engine.model import Health, Status
from composer.engine.networking.sandboxes import Sandboxes
from composer.engine.prober import Prober
from composer.engine.volumes import Volumes
from runtime.container.client import KeeperClient
from runtime.container.shim_client import LaunchError, Shim
from runtime.container.status import ExitStatus
from runtime.container.wire import LaunchSpec
from runtime.crash_points import crash_point
from runtime.errors import ComposerError, Conflict, NotFound
from runtime.kernel.cgroups import Cgroups
from runtime.kernel.signals import parse_signal
from runtime.storage.paths import Paths

log = logging.getLogger(__name__)

SIGKILL = 9


class AlreadyStarted(ComposerError):
    """Docker's 304: nothing to do."""

    status = 304


@dataclass
class Lifecycle:
    """Starts and ends containers; owns the tasks of the living ones."""

    containers: Containers
    volumes: Volumes
    sandboxes: Sandboxes
    events: Events
    paths: Paths
    keeper: KeeperClient
    cgroups: Cgroups
    prober: Prober
    ending: Ending
    exits: Exits
    hooks: Hooks
    boot_id: str
    prepare: Callable[[Container], Awaitable[LaunchSpec]]
    """Everything that a launch needs, as a LaunchSpec (composer.engine.launching)."""
    nursery: trio.Nursery | None = None
    is_closing: bool = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the containers' tasks until cancelled. Containers live on when this ends: their shims hold them."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    # Starting

    async def start(
        self,
        ref: str,
        *,
        if_wanted: bool = False,
        hear: Hear | None = None,
        launched: trio.Event | None = None,
    ) -> str:
        """Start a container and return when its process runs (``launched`` is set then) and its post_start hooks have
        ended; ``hear`` is given what they write. Returns a warning when the container's end has cut one short. Raises
        LaunchError with what went wrong and where; one that is to be removed at its end is removed then. ``if_wanted``:
        raises AlreadyStarted for one that somebody has stopped since it was wanted."""
        container = self.containers.get(ref)
        try:
            async with taken(), container.busy:
                if if_wanted and not container.record.is_wanted:
                    raise AlreadyStarted(f"Container {container.name} has been stopped")
                await self._start(container)
        except ComposerError:
            if container.config.auto_remove and container.state.status in ("created", "exited"):
                await self.remove(container.id, volumes=True)
            raise
        if launched is not None:
            launched.set()
        return await self.hooks.after_start(container, hear)

    async def _start(self, container: Container) -> None:
        match container.state.status:
            case "running":
                raise AlreadyStarted(f"Container {container.name} is already running")
            case "paused":
                raise Conflict("cannot start a paused container, try unpause instead")
            case "removing" | "dead":
                raise Conflict("container is marked for removal and cannot be started")
            case "restarting":
                await self._end_pause(container)
            case _:
                pass
        container.update(is_wanted=True, is_manually_stopped=False, boot_id=self.boot_id)
        crash_point("core.start.wanted")
        try:
            shim = await self._launch(container, restart_count=0)
        except ComposerError as error:
            chronicle.tell_not_started(container, error)
            raise
        chronicle.tell_started(container)
        self._supervise(container, shim, last_delay=0.0)

    async def _stay_down(self, container: Container) -> None:
        """A restarting container is not started again. To be called with it ``busy``."""
        container.update(is_wanted=False, is_manually_stopped=True)
        await self._end_pause(container)

    async def _end_pause(self, container: Container) -> None:
        """End the back-off of a restarting container and wait until its task has let go."""
        container.ends_pause = True
        try:
            if container.pause_before_restart is not None:
                container.pause_before_restart.cancel()
            await container.status.wait_for(lambda status: status.status != "restarting")
        finally:
            container.ends_pause = False

    async def _launch(self, container: Container, *, restart_count: int) -> Shim:
        try:
            spec = await self.prepare(container)
            crash_point("core.start.prepared")
            streams = container.pending_attach[0].streams if container.pending_attach else None
            shim = await self.keeper.launch(spec, streams, is_secret=any(container.unrecorded))
            for pending in container.pending_attach[1:]:
                await shim.attach(pending.streams)
        except BaseException as error:
            crash_point("core.fail.seen")
            self._drop_attached(container)
            with trio.CancelScope(shield=True):
                await self.sandboxes.release(container)
            code = error.exit_code if isinstance(error, LaunchError) else 128
            if isinstance(error, Exception):
                container.update(is_wanted=False)
                container.set_status(
                    Status(
                        status="created" if container.state.status == "created" else "exited",
                        exit_code=code,
                        error=str(error),
                        started_at=container.state.started_at,
                        finished_at=time.time_ns(),
                        restart_count=restart_count,
                    )
                )
                crash_point("core.fail.recorded")
            raise
        crash_point("core.start.launched")
        self._drop_attached(container)
        container.shim = shim
        health = Health() if container.healthcheck else None
        container.set_status(
            Status(
                status="running",
                pid=shim.pid,
                started_at=shim.started_at,
                restart_count=restart_count,
                health=health,
            )
        )
        crash_point("core.start.recorded")
        uses.publish_begin(container, self.sandboxes.networks, self.events)
        self.events.publish("container", "start", container.id, container.attributes)
        return shim

    def _drop_attached(self, container: Container) -> None:
        """The shim has duplicates of the streams, or there is no shim: ours are done with."""
        for pending in container.pending_attach:
            pending.close()
        container.pending_attach.clear()

    def adopt(self, container: Container, shim: Shim) -> None:
        """Take up a container that ran on while there was no engine."""
        container.shim = shim
        old = container.state
        health = Health() if container.healthcheck else None
        if health is not None and old.started_at == shim.started_at:
            health = old.health or health  # the same run: what was known of it holds until the next probe
        container.set_status(
            Status(
                status="paused" if self.cgroups.is_frozen(container.id) else "running",
                pid=shim.pid,
                error=old.error if old.started_at == shim.started_at else "",
                started_at=shim.started_at,
                restart_count=old.restart_count,
                health=health,
            )
        )
        self._supervise(container, shim, last_delay=0.0)

    def settle(self, container: Container, exit_status: ExitStatus) -> None:
        """Take up a container that ended while there was no engine, and go on with its restart policy."""
        self.exits.note(container, exit_status, 0.0)
        self._supervise(container, None, last_delay=0.0)

    def resume(self, container: Container) -> None:
        """Take up a container that was waiting for its restart when there was no engine any more."""
        container.set_status(replace(container.state, status="exited"))
        self._supervise(container, None, last_delay=0.0)

    # Living

    def _supervise(self, container: Container, shim: Shim | None, *, last_delay: float) -> None:
        if self.nursery is None:
            raise ComposerError("the engine is not running")
        self.nursery.start_soon(self._live, container, shim, last_delay)

    async def _live(self, container: Container, shim: Shim | None, last_delay: float) -> None:
        """One container from its start to its last exit."""
        while True:
            try:
                if shim is not None:
                    exit_status = await self._until_exit(container, shim)
                    crash_point("core.exit.seen")
                    delay = self.exits.note(container, exit_status, last_delay)
                    crash_point("core.exit.recorded")
                    await self.sandboxes.release(container)
                    crash_point("core.exit.released")
                else:
                    delay = next_delay(container, container.state, last_delay)
                if delay is None:
                    break
                last_delay = delay
                if not await self._pause(container, delay):
                    return
                try:
                    crash_point("core.restart.waited")
                    shim = await self._launch(container, restart_count=container.state.restart_count + 1)
                finally:
                    container.busy.release()
            except Exception as error:
                level = logging.WARNING if isinstance(error, ComposerError) else logging.ERROR
                log.log(level, "container %s: %s", container.name, error, exc_info=level == logging.ERROR)
                shim = None
                if not self._may_retry(container):
                    break
        if container.config.auto_remove and not self.is_closing:
            try:
                await self.remove(container.id, force=False, volumes=True)
            except (NotFound, Conflict):
                pass  # somebody else removed it, or started it again
            except Exception:
                log.exception("container %s: it could not be removed", container.name)
                container.set_status(replace(container.state, status="dead"))

    def _may_retry(self, container: Container) -> bool:
        """A launch that failed counts as an exit: its policy decides (the status is already exited)."""
        if container.record.is_manually_stopped or container.config.restart.name == "no":
            return False
        container.update(is_wanted=True)
        return True

    async def _until_exit(self, container: Container, shim: Shim) -> ExitStatus:
        """Serve a running container; ends with its exit."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.sandboxes.serve, container, shim)
                if container.healthcheck is not None:
                    nursery.start_soon(self.prober.watch, container, shim)
                exit_status = await shim.wait()
                nursery.cancel_scope.cancel()
        finally:
            shim.close()
        return exit_status

    async def _pause(self, container: Container, delay: float) -> bool:
        """Wait before a restart, and take ``container.busy``; False when somebody who has it took over meanwhile."""
        with trio.CancelScope() as scope:
            container.pause_before_restart = scope
            if container.ends_pause:
                scope.cancel()
            container.set_status(replace(container.state, status="restarting"))
            await trio.sleep(delay)
            # Inside: who has it already, and waits for this pause to end, ends the waiting for it, too.
            await container.busy.acquire()
        container.pause_before_restart = None
        if scope.cancelled_caught:
            container.set_status(replace(container.state, status="exited"))
            return False
        return True

    # Ending

    async def stop(
        self, ref: str, timeout: float | None = None, signal: str = "", *, with_hooks: bool = True
    ) -> None:
        """Docker's stop: hooks, stop signal, grace, SIGKILL. Returns when the container has ended, or raises HookFailed
        when it runs on because a hook has failed.

        ``timeout`` seconds (None: the container's own, else 10; negative: for ever). A PID 1 that can neither catch
        nor wait for the signal is killed at once: waiting for it would be waiting for nothing.
        """
        container = self.containers.get(ref)
        await self.ending.cut_short(container, timeout)
        async with taken(), self.ending.turn(container, timeout):
            if container.state.status == "restarting":
                await self._stay_down(container)
                self.events.publish("container", "stop", container.id, container.attributes)
                return
            if not container.state.is_alive:
                if container.record.is_wanted:
                    container.update(is_wanted=False, is_manually_stopped=True)
                raise AlreadyStarted(f"Container {container.name} is not running")
            container.update(is_wanted=False, is_manually_stopped=True)
            crash_point("core.stop.recorded")
            try:
                if with_hooks and container.config.pre_stop:
                    container.ending.set("hooks")
                    await self._run_pre_stop(container)
                container.ending.set("signal")
                number = parse_signal(
                    signal or container.config.stop_signal or container.image.stop_signal or "SIGTERM"
                )
                await self.ending.end(container, number, grace_of(container, timeout))
            finally:
                container.ending.set("")
            await self.sandboxes.release(container)
        crash_point("core.stop.ended")
        self.events.publish("container", "stop", container.id, container.attributes)

    async def _run_pre_stop(self, container: Container) -> None:
        self.ending.thaw(container)  # nothing could run in it
        try:
            await self.hooks.before_stop(container)
        except BaseException:
            if container.state.is_alive:
                container.update(is_wanted=True, is_manually_stopped=False)
            raise

    async def kill(self, ref: str, signal: str = "SIGKILL") -> None:
        """Send a signal to PID 1; SIGKILL ends every process of the container. One that is about to be started again
        is not, whatever the signal."""
        container = self.containers.get(ref)
        number = parse_signal(signal)
        if container.state.status == "restarting":
            async with container.busy:
                if container.state.status == "restarting":
                    await self._stay_down(container)
                    return
        shim = container.shim
        if shim is None or not container.state.is_alive:
            raise Conflict(f"cannot kill container: {ref}: container {container.id} is not running")
        if number == SIGKILL:
            container.update(is_manually_stopped=True, is_wanted=False)
            await self.ending.force(container, shim)
            return
        if number == parse_signal(container.config.stop_signal or container.image.stop_signal or "SIGTERM"):
            container.update(is_manually_stopped=True)
        send(shim, number)
        self.events.publish(
            "container", "kill", container.id, {**container.attributes, "signal": str(number)}
        )
        self.ending.thaw(container)  # as Docker does: it was sent something, so it is to get it

    async def restart(self, ref: str, timeout: float | None = None, signal: str = "") -> None:
        """Stop (if it runs) and start."""
        container = self.containers.get(ref)
        try:
            await self.stop(container.id, timeout, signal)
        except AlreadyStarted:
            pass
        await self.start(container.id)
        self.events.publish("container", "restart", container.id, container.attributes)

    async def pause(self, ref: str) -> None:
        """Freeze every process of a running container."""
        container = self.containers.get(ref)
        async with container.busy:
            if container.state.status == "paused":
                raise Conflict(f"Container {container.name} is already paused")
            if container.state.status == "restarting":
                raise Conflict(
                    f"Container {container.name} is restarting, wait until the container is running"
                )
            if container.shim is None or container.state.status != "running":
                raise Conflict(f"Container {container.name} is not running")
            await trio.to_thread.run_sync(self.cgroups.freeze, container.id)
            container.set_status(replace(container.state, status="paused"))
        self.events.publish("container", "pause", container.id, container.attributes)

    async def unpause(self, ref: str) -> None:
        """Let a frozen container go on."""
        container = self.containers.get(ref)
        async with container.busy:
            if container.shim is None or container.state.status != "paused":
                raise Conflict(f"Container {container.name} is not paused")
            self.ending.thaw(container)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a stopped container (``force``: end it first), and its anonymous volumes if ``volumes``."""
        container = self.containers.get(ref)
        if force:
            await self.ending.cut_short(container, 0.0)
        async with taken(), self.ending.turn(container, 0.0 if force else math.inf):
            if container.is_removed.is_set():
                return
            if container.state.status in ("running", "paused", "restarting"):
                if not force:
                    raise Conflict(
                        f"cannot remove container {container.name}: container is {container.state.status}: "
                        "stop the container before removing or force remove"
                    )
                container.update(is_wanted=False, is_manually_stopped=True)
                if container.state.status == "restarting":
                    await self._end_pause(container)
                elif container.shim is not None:
                    await self.ending.force(container, container.shim)
            if volumes and container.record.anonymous:
                container.update(discards_volumes=True)
            with trio.CancelScope(shield=True):  # half of one is nothing that anybody could start again
                await self._remove(container)

    async def _remove(self, container: Container) -> None:
        container.set_status(replace(container.state, status="removing"))
        crash_point("core.remove.recorded")
        await self.sandboxes.release(container)
        crash_point("core.remove.released")
        await self.sandboxes.clean(container)
        crash_point("core.remove.cleaned")
        # The record goes last: whoever finds it after a crash does the rest.
        if container.record.discards_volumes:
            for name in container.record.anonymous:
                if not self.containers.volume_users(name):
                    await self.volumes.remove(name, force=True)
        crash_point("core.remove.emptied")
        self.containers.forget(container)
