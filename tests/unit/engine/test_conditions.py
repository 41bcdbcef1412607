"""``depends_on`` conditions: what holds, what may yet, and what never will."""

from __future__ import annotations

import pytest

from composer.engine.conditions import Condition, Met, Never, Pending, judge
from composer.engine.model import Health, Status

CREATED = Status()
RUNNING = Status(status="running", pid=7)
STARTING = Status(status="running", pid=7, health=Health())
HEALTHY = Status(status="running", pid=7, health=Health(status="healthy"))
UNHEALTHY = Status(status="running", pid=7, health=Health(status="unhealthy"))
RESTARTING = Status(status="restarting", exit_code=1)
DONE = Status(status="exited", exit_code=0)
FAILED = Status(status="exited", exit_code=3)


def kind(
    condition: Condition, status: Status, *, has_healthcheck: bool = False, was_started: bool = False
) -> type:
    verdict = judge(condition, "db-1", status, has_healthcheck=has_healthcheck, was_started=was_started)
    return type(verdict)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(CREATED, Pending), (RUNNING, Met), (DONE, Met), (FAILED, Met), (RESTARTING, Met)],
)
def test_started(status: Status, expected: type) -> None:
    assert kind("service_started", status) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (CREATED, Pending),
        (STARTING, Pending),
        (HEALTHY, Met),
        (UNHEALTHY, Never),
        (RESTARTING, Pending),
        (DONE, Never),
        (FAILED, Never),
    ],
)
def test_healthy(status: Status, expected: type) -> None:
    assert kind("service_healthy", status, has_healthcheck=True) is expected


def test_healthy_needs_a_healthcheck() -> None:
    verdict = judge("service_healthy", "db-1", RUNNING, has_healthcheck=False, was_started=True)
    assert isinstance(verdict, Never)
    assert verdict.reason == "container db-1 has no healthcheck configured"


@pytest.mark.parametrize(
    ("status", "expected"),
    [(CREATED, Pending), (RUNNING, Pending), (RESTARTING, Pending), (DONE, Met), (FAILED, Never)],
)
def test_completed(status: Status, expected: type) -> None:
    assert kind("service_completed_successfully", status) is expected


def test_a_failed_one_shot_passes_its_exit_code_on() -> None:
    verdict = judge(
        "service_completed_successfully", "migrate-1", FAILED, has_healthcheck=False, was_started=True
    )
    assert verdict == Never("container migrate-1 didn't complete successfully: exit 3", 3)


@pytest.mark.parametrize(
    ("status", "has_healthcheck", "expected"),
    [
        (CREATED, False, Pending),
        (RUNNING, False, Met),
        (STARTING, True, Pending),
        (HEALTHY, True, Met),
        (UNHEALTHY, True, Never),
        (DONE, False, Met),
        (DONE, True, Met),
        (FAILED, False, Never),
    ],
)
def test_wait_takes_a_finished_one_shot_as_success(
    status: Status, has_healthcheck: bool, expected: type
) -> None:
    assert kind("running_or_healthy", status, has_healthcheck=has_healthcheck) is expected
