"""Runs healthchecks: when there is news and somebody waits, and on schedule."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from msgspec.structs import replace

from composer.engine.chronicle import tell_health
from composer.engine.containers import Container
from composer.engine.events import Events
from composer.engine.health import (
    OUTPUT_LIMIT,
    Schedule,
    after_probe,
    next_early,
    next_extra,
    next_scheduled,
    probe_command,
    schedule_of,
    watch_gap,
)
from composer.engine.model import Health, ProbeResult
from runtime.container.shim_client import Shim
from runtime.network.diag import listening

KILLED = 137
"""Exit code of a probe that SIGKILL has ended."""
ENDING = 0.5
"""Seconds in which a container's own end is heard of."""
RunProbe = Callable[[Container, tuple[str, ...], float], Awaitable[tuple[int, bytes]]]
"""Run a command in the container for at most so many seconds: exit code (-1 when it took too long) and output."""


@dataclass
class Prober:
    """Watches the health of containers. ``run_probe`` executes, everything else decides."""

    events: Events
    run_probe: RunProbe
    log_size: Callable[[Container], int]
    """Bytes in the container's log: a cheap way to see that it wrote something."""

    async def watch(self, container: Container, shim: Shim) -> None:
        """Probe until cancelled. Only one probe runs at a time."""
        check = container.healthcheck
        if check is None:
            return
        await _Watch(
            self, container, shim, schedule_of(check), probe_command(check, container.image.shell)
        ).run()


class _Watch:
    """One container's probing: what is due next, and why."""

    def __init__(
        self, prober: Prober, container: Container, shim: Shim, schedule: Schedule, command: tuple[str, ...]
    ) -> None:
        self.prober = prober
        self.container = container
        self.shim = shim
        self.schedule = schedule
        self.command = command
        self.started = trio.current_time() - shim.age
        self.last_scheduled = trio.current_time()
        self.last_probe = trio.current_time()
        self.early_failures = 0
        self.last_duration = 0.0
        self.seen: tuple[frozenset[tuple[str, int]], int] = (frozenset(), 0)

    @property
    def health(self) -> Health:
        return self.container.state.health or Health()

    async def run(self) -> None:
        while True:
            is_scheduled = await self._until_due()
            if self.container.state.status == "paused":
                await self.container.status.wait_for(lambda status: status.status != "paused")
                continue
            await self._probe(is_scheduled=is_scheduled)

    async def _until_due(self) -> bool:
        """Wait for the next probe's moment; True when it is one that counts."""
        while True:
            now = trio.current_time()
            counted = self.last_scheduled + next_scheduled(
                self.health, self.schedule, since_start=now - self.started
            )
            if now >= counted:
                return True
            if self.health.status == "starting" and self.container.waiters:
                early = next_early(self.early_failures, self.last_duration)
                if early is not None and now >= self.last_probe + early:
                    return False
                due = min(counted, self.last_probe + early if early is not None else counted)
                with trio.move_on_after(max(0.0, due - now)):
                    await self._until_news()
                    self.early_failures = 0
                    return False
                continue
            extra = next_extra(self.health, self.schedule)
            if extra is not None and now >= self.last_probe + extra:
                return False
            due = min(counted, self.last_probe + extra) if extra is not None else counted
            self.container.wanted_news = trio.Event()
            with trio.move_on_after(max(0.0, due - now)):
                await self.container.wanted_news.wait()

    async def _until_news(self) -> None:
        """Return when the container listens on something new or has written to its log."""
        while True:
            now = trio.current_time()
            look = (self._listening(), self.prober.log_size(self.container))
            if look != self.seen:
                self.seen = look
                return
            await trio.sleep(watch_gap(now - self.started))

    def _listening(self) -> frozenset[tuple[str, int]]:
        sock_diag = self.shim.descriptors.get("sock_diag")
        return listening(sock_diag) if sock_diag is not None else frozenset()

    async def _probe(self, *, is_scheduled: bool) -> None:
        begun = time.time_ns()
        clock = trio.current_time()
        code, output = await self.prober.run_probe(self.container, self.command, self.schedule.timeout)
        if code == KILLED:
            # With its container, maybe: the kernel kills what is in it first, and the rest is heard of in a moment.
            # Nobody watches it then.
            await trio.sleep(ENDING)
        now = trio.current_time()
        self.last_probe = now
        self.last_duration = now - clock
        if is_scheduled:
            self.last_scheduled = now
        if code:
            self.early_failures += 1
        result = ProbeResult(
            start=begun,
            end=time.time_ns(),
            exit_code=code,
            output=output[:OUTPUT_LIMIT].decode("utf-8", "replace"),
        )
        before = self.health
        after = after_probe(
            before, result, self.schedule, since_start=now - self.started, is_scheduled=is_scheduled
        )
        if not self.container.state.is_alive:
            return
        is_news = after.status != before.status
        self.container.set_status(replace(self.container.state, health=after), is_lasting=is_news)
        if is_news:
            tell_health(self.container, before, after)
            self.prober.events.publish(
                "container", f"health_status: {after.status}", self.container.id, self.container.attributes
            )
