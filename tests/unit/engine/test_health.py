"""Health: Docker's rules, and that an early probe can help but never harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.engine.health import (
    KEPT_PROBES,
    Schedule,
    after_probe,
    merge_healthcheck,
    next_early,
    next_extra,
    next_scheduled,
    probe_command,
    schedule_of,
    watch_gap,
)
from composer.engine.model import Health, ProbeResult
from runtime.container.config import Healthcheck

SECOND = 1_000_000_000
PLAIN = Schedule(interval=30, timeout=30, start_period=0, start_interval=5, retries=3)
PATIENT = Schedule(interval=30, timeout=30, start_period=20, start_interval=2, retries=3)


def probe(exit_code: int) -> ProbeResult:
    return ProbeResult(start=1, end=2, exit_code=exit_code, output="")


def run(schedule: Schedule, *probes: tuple[int, float, bool]) -> Health:
    """Health after probes of (exit code, seconds since the start, is scheduled)."""
    health = Health()
    for exit_code, since_start, is_scheduled in probes:
        health = after_probe(
            health, probe(exit_code), schedule, since_start=since_start, is_scheduled=is_scheduled
        )
    return health


def test_defaults_are_dockers() -> None:
    assert schedule_of(Healthcheck(test=("CMD", "true"))) == Schedule(30.0, 30.0, 0.0, 5.0, 3)


def test_starting_until_the_first_success() -> None:
    assert run(PLAIN).status == "starting"
    assert run(PLAIN, (1, 30, True)).status == "starting"
    assert run(PLAIN, (1, 30, True), (0, 60, True)).status == "healthy"


def test_unhealthy_after_retries_failures_in_a_row() -> None:
    assert run(PLAIN, (1, 1, True), (1, 2, True)).status == "starting"
    assert run(PLAIN, (1, 1, True), (1, 2, True), (1, 3, True)).status == "unhealthy"
    broken_row = run(PLAIN, (1, 1, True), (1, 2, True), (0, 3, True), (1, 4, True), (1, 5, True))
    assert (broken_row.status, broken_row.failing_streak) == ("healthy", 2)


def test_failures_in_the_start_period_do_not_count_until_a_first_success() -> None:
    assert run(PATIENT, *[(1, second, True) for second in range(1, 10)]).failing_streak == 0
    after_success = run(PATIENT, (0, 1, True), (1, 2, True), (1, 3, True), (1, 4, True))
    assert after_success.status == "unhealthy"


def test_failures_count_from_the_end_of_the_start_period() -> None:
    late = [(1, 21.0, True), (1, 22.0, True), (1, 23.0, True)]
    assert run(PATIENT, (1, 5, True), *late[:2]).status == "starting"
    assert run(PATIENT, (1, 5, True), *late).status == "unhealthy"


def test_a_success_heals() -> None:
    assert run(PLAIN, *[(1, n, True) for n in range(3)], (0, 9, False)).status == "healthy"


@given(st.lists(st.tuples(st.integers(1, 255), st.floats(0, 1000)), max_size=30))
def test_early_failures_never_count(early: list[tuple[int, float]]) -> None:
    health = run(PLAIN, *[(code, at, False) for code, at in early])
    assert (health.status, health.failing_streak) == ("starting", 0)


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 100), st.booleans()), max_size=40))
def test_never_healthy_without_a_success_and_a_bounded_log(probes: list[tuple[int, float, bool]]) -> None:
    health = run(PATIENT, *probes)
    if health.status == "healthy":
        assert any(code == 0 for code, _, _ in probes)
    assert len(health.log) == min(len(probes), KEPT_PROBES)


def test_when_the_next_probe_is_due() -> None:
    assert next_scheduled(Health(), PLAIN, since_start=1) == 30
    assert next_scheduled(Health(), PATIENT, since_start=1) == 2
    assert next_scheduled(Health(), PATIENT, since_start=21) == 30
    assert next_scheduled(Health(status="healthy"), PATIENT, since_start=1) == 30


def test_early_probes_back_off_and_end() -> None:
    gaps = []
    while (gap := next_early(len(gaps))) is not None:
        gaps.append(gap)
    assert gaps[0] == 0
    assert gaps == sorted(gaps)
    assert 30 < sum(gaps) < 120
    assert next_early(0, duration=2.0) == 8.0
    assert [watch_gap(t) for t in (0, 10, 30, 600)] == sorted(watch_gap(t) for t in (0, 10, 30, 600))


def test_start_interval_without_start_period_gives_extra_probes() -> None:
    given_interval = schedule_of(Healthcheck(test=("CMD", "true"), start_interval=SECOND))
    assert next_extra(Health(), given_interval) == 1
    assert next_extra(Health(status="healthy"), given_interval) is None
    assert next_extra(Health(), PLAIN) is None


IMAGE = Healthcheck(test=("CMD", "image"), interval=7 * SECOND, retries=9)


@pytest.mark.parametrize(
    ("asked", "image", "expected"),
    [
        (None, None, None),
        (None, IMAGE, IMAGE),
        (Healthcheck(test=("NONE",)), IMAGE, None),
        (None, Healthcheck(test=("NONE",)), None),
        (Healthcheck(interval=SECOND), None, None),
        (
            Healthcheck(interval=SECOND),
            IMAGE,
            Healthcheck(test=("CMD", "image"), interval=SECOND, retries=9),
        ),
        (
            Healthcheck(test=("CMD", "own")),
            IMAGE,
            Healthcheck(test=("CMD", "own"), interval=7 * SECOND, retries=9),
        ),
    ],
)
def test_merging_with_the_image(
    asked: Healthcheck | None, image: Healthcheck | None, expected: Healthcheck | None
) -> None:
    assert merge_healthcheck(asked, image) == expected


def test_probe_commands() -> None:
    assert probe_command(Healthcheck(test=("CMD", "pg_isready", "-q")), ()) == ("pg_isready", "-q")
    shell = Healthcheck(test=("CMD-SHELL", "a && b"))
    assert probe_command(shell, ()) == ("/bin/sh", "-c", "a && b")
    assert probe_command(shell, ("/bin/bash", "-ec")) == ("/bin/bash", "-ec", "a && b")
