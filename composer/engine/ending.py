"""How a running container is ended: its signal, the time it may take, SIGKILL."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from msgspec.structs import replace

from composer.engine.containers import Container
from composer.engine.events import Events
from runtime.container.shim_client import Shim
from runtime.crash_points import crash_point
from runtime.errors import ComposerError
from runtime.kernel.cgroups import Cgroups
from runtime.kernel.signals import can_receive

KILL_BOUND = 10.0
"""Seconds after SIGKILL in which a container has to be gone; longer means a process stuck in the kernel."""
DEFAULT_GRACE = 10.0
"""Seconds between the stop signal and SIGKILL for a container that has no time of its own."""
SIGKILL = 9


@dataclass
class Ending:
    """Ends containers whose tasks see to the rest."""

    events: Events
    cgroups: Cgroups

    async def end(self, container: Container, number: int, grace: float) -> None:
        """Send the signal, wait for at most ``grace`` seconds, then :meth:`force`."""
        shim = container.shim
        if shim is None:
            return
        if number != SIGKILL:
            is_worth_waiting = grace > 0 and can_receive(shim.pid, number, is_init=_is_init(container))
            send(shim, number)
            crash_point("core.stop.signalled")
            self.events.publish(
                "container", "kill", container.id, {**container.attributes, "signal": str(number)}
            )
            self.thaw(container)
            if is_worth_waiting:
                with trio.move_on_after(grace):
                    await container.status.wait_for(lambda status: not status.is_alive)
                    return
        await self.force(container, shim)

    async def force(self, container: Container, shim: Shim) -> None:
        """SIGKILL; returns when the container has ended. Raises ComposerError when it does not."""
        self.events.publish(
            "container", "kill", container.id, {**container.attributes, "signal": str(SIGKILL)}
        )
        send(shim, SIGKILL)
        crash_point("core.stop.killed")
        self.thaw(container)
        # Whoever asked may go away meanwhile: nobody is to take a container for running that is dead already.
        with trio.move_on_after(KILL_BOUND, shield=True):
            await container.status.wait_for(lambda status: not status.is_alive)
            return
        raise ComposerError(
            f"container {container.name} did not end within {KILL_BOUND:.0f} s of SIGKILL",
            hint="a process in it is stuck in the kernel (state D): see `composer top`",
        )

    @asynccontextmanager
    async def turn(self, container: Container, timeout: float | None) -> AsyncIterator[None]:
        """Be alone with a container that is to end (``busy``). Whoever comes first, and stops it, is hurried."""
        try:
            container.busy.acquire_nowait()
        except trio.WouldBlock:
            await self._wait_for_turn(container, timeout)
        try:
            yield
        finally:
            container.busy.release()

    async def _wait_for_turn(self, container: Container, timeout: float | None) -> None:
        is_ours = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.hurry, container, timeout)
                await container.busy.acquire()
                is_ours = True
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if is_ours:
                container.busy.release()
            for error in group.exceptions:
                if isinstance(error, ComposerError):
                    raise error from None
            raise

    async def hurry(self, container: Container, timeout: float | None) -> None:
        """:meth:`cut_short`, once somebody stops it."""
        await container.ending.wait_for(bool)
        await self.cut_short(container, timeout)

    async def cut_short(self, container: Container, timeout: float | None) -> None:
        """Whoever stops it already may be more patient than ``timeout`` (as :func:`grace_of` has it).

        Who says how many seconds means these, whatever is done in them; a container's own time (None) begins when its
        pre_stop hooks have ended, as it does for who runs them."""
        if not container.ending.value:
            return
        if timeout is None:
            await container.ending.wait_for(lambda what: what != "hooks")
        with trio.move_on_after(grace_of(container, timeout)):
            await container.status.wait_for(lambda status: not status.is_alive)
        if container.ending.value and container.state.is_alive and container.shim is not None:
            await self.force(container, container.shim)

    def thaw(self, container: Container) -> None:
        """Let a paused container go on: frozen, a process takes no signal, not even SIGKILL on cgroup v1."""
        if container.state.status == "paused":
            self.cgroups.thaw(container.id)
            container.set_status(replace(container.state, status="running"))
            self.events.publish("container", "unpause", container.id, container.attributes)


def grace_of(container: Container, timeout: float | None) -> float:
    """Seconds that a container gets to end. ``timeout``: what was asked for (None: nothing; negative: for ever)."""
    if timeout is None:
        own = container.config.stop_timeout
        timeout = DEFAULT_GRACE if own is None else float(own)
    return math.inf if timeout < 0 else timeout


def _is_init(container: Container) -> bool:
    """Whether the container's first process is the init of a pid namespace, which signals do not end by default."""
    return not container.config.pid_mode


def send(shim: Shim, number: int) -> None:
    """Signal the container's first process, if it is still there."""
    try:
        shim.signal(number)
    except ProcessLookupError:
        pass  # it is ending by itself
