"""The health of a container as a pure state machine (Docker's HEALTHCHECK rules), and when to probe next.

Docker's reference for HEALTHCHECK says: a container begins as *starting*; one success makes it *healthy*;
``retries`` failures in a row make it *unhealthy*; failures within ``start_period`` do not count until a first success.

Beyond Docker, a probe also runs when there is *news* (the container began to listen, wrote its first lines, or somebody
waits for it): such a probe can only make a container healthy, its failure never counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from composer.engine.model import Health, ProbeResult
from runtime.container.config import Healthcheck

SECOND = 1_000_000_000
KEPT_PROBES = 5
OUTPUT_LIMIT = 4096
"""Bytes of a probe's output that are kept."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A healthcheck with its defaults filled in. Seconds."""

    interval: float
    timeout: float
    start_period: float
    start_interval: float
    retries: int
    is_start_interval_given: bool = False


def schedule_of(check: Healthcheck) -> Schedule:
    """Docker's defaults: 30 s, 30 s, 0 s, 5 s, 3 retries."""
    return Schedule(
        interval=check.interval / SECOND or 30.0,
        timeout=check.timeout / SECOND or 30.0,
        start_period=check.start_period / SECOND,
        start_interval=check.start_interval / SECOND or 5.0,
        retries=check.retries or 3,
        is_start_interval_given=check.start_interval > 0,
    )


def merge_healthcheck(asked: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    """The check that holds: what was asked for, with the image's values where it is silent; None when there is none."""
    if asked is None:
        check = image
    elif image is None or asked.test == ("NONE",):
        check = asked
    else:
        check = Healthcheck(
            test=asked.test or image.test,
            interval=asked.interval or image.interval,
            timeout=asked.timeout or image.timeout,
            start_period=asked.start_period or image.start_period,
            start_interval=asked.start_interval or image.start_interval,
            retries=asked.retries or image.retries,
        )
    if check is None or not check.test or check.test[0] == "NONE":
        return None
    return check


def probe_command(check: Healthcheck, shell: tuple[str, ...]) -> tuple[str, ...]:
    """The argument vector of a probe; ``CMD-SHELL`` runs under the image's shell."""
    kind, *rest = check.test
    if kind == "CMD-SHELL":
        return (*(shell or ("/bin/sh", "-c")), *rest)
    if kind == "CMD":
        return tuple(rest)
    return tuple(check.test)


def after_probe(
    health: Health, result: ProbeResult, schedule: Schedule, *, since_start: float, is_scheduled: bool
) -> Health:
    """The health after one probe that ended ``since_start`` seconds after the container's start."""
    log = (*health.log, result)[-KEPT_PROBES:]
    if result.exit_code == 0:
        return Health(status="healthy", failing_streak=0, log=log)
    forgiven = not is_scheduled or (health.status == "starting" and since_start < schedule.start_period)
    streak = health.failing_streak + (0 if forgiven else 1)
    status = "unhealthy" if streak >= schedule.retries and not forgiven else health.status
    return Health(status=status, failing_streak=streak, log=log)


def next_scheduled(health: Health, schedule: Schedule, *, since_start: float) -> float:
    """Seconds from one probe that counts to the next: ``start_interval`` within the start period, else ``interval``."""
    if health.status == "starting" and since_start < schedule.start_period:
        return schedule.start_interval
    return schedule.interval


def next_extra(health: Health, schedule: Schedule) -> float | None:
    """Seconds between probes that do not count, for a ``start_interval`` that was given without a start period
    (Docker ignores it; people who write it want to know early)."""
    if health.status == "starting" and not schedule.start_period and schedule.is_start_interval_given:
        return schedule.start_interval
    return None


NEWS_GAPS = (0.0, 0.02, 0.05, 0.1, 0.2)
STEADY_GAP, LATE_GAP = 0.25, 1.0
STEADY_UNTIL, LATE_UNTIL = 40, 100
"""Failures since the last news after which the gaps grow to ``LATE_GAP``, and after which only the schedule counts."""
BUSY_SHARE = 4.0
"""A probe that takes long is given at least so many times its duration until the next early one."""


def next_early(failures: int, duration: float = 0.0) -> float | None:
    """Seconds after the last early probe until the next, after ``failures`` early failures since the last news.

    Only while somebody waits. ``duration`` is how long the last probe took, in seconds."""
    if failures >= LATE_UNTIL:
        return None
    if failures < len(NEWS_GAPS):
        gap = NEWS_GAPS[failures]
    else:
        gap = STEADY_GAP if failures < STEADY_UNTIL else LATE_GAP
    return max(gap, duration * BUSY_SHARE)


WATCH_GAPS = ((2.0, 0.005), (15.0, 0.01), (60.0, 0.05), (float("inf"), 0.25))
"""How often (s) to look for news, by how long (s) we have looked."""


def watch_gap(watched_for: float) -> float:
    """Seconds between two looks at what listens; the kernel has no event for it, so sample, with back-off."""
    return next(gap for limit, gap in WATCH_GAPS if watched_for < limit)
