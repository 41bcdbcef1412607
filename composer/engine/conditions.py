"""Whether what a dependent waits for has happened, will, or never can: ``depends_on`` conditions as pure decisions.

Source: the Compose specification, ``depends_on`` long syntax.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from composer.engine.model import Status

Condition = Literal[
    "service_started", "service_healthy", "service_completed_successfully", "running_or_healthy"
]


@dataclass(frozen=True, slots=True)
class Met:
    """The condition holds."""

    word: str
    """What progress shows: Started, Healthy, Exited."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Not yet."""

    waits_for: str


@dataclass(frozen=True, slots=True)
class Never:
    """It cannot hold any more without somebody's help."""

    reason: str
    exit_code: int = 1


def judge(
    condition: Condition, name: str, status: Status, *, has_healthcheck: bool, was_started: bool
) -> Met | Pending | Never:
    """Judge ``condition`` of container ``name``. ``was_started`` says that a start was made in this or an earlier run,
    so that a ``created`` container still counts as on its way only when it was not."""
    match condition:
        case "service_started":
            return _judge_started(name, status, was_started)
        case "service_healthy":
            return _judge_healthy(name, status, has_healthcheck)
        case "service_completed_successfully":
            return _judge_completed(name, status)
        case "running_or_healthy":
            return _judge_ready(name, status, has_healthcheck)


def _judge_started(name: str, status: Status, was_started: bool) -> Met | Pending | Never:
    if status.is_alive or was_started or status.status in ("exited", "restarting"):
        return Met("Started")
    if status.status == "dead":
        return Never(f"container {name} is dead: {status.error}")
    return Pending("to be started")


def _judge_healthy(name: str, status: Status, has_healthcheck: bool) -> Met | Pending | Never:
    if not has_healthcheck:
        return Never(f"container {name} has no healthcheck configured")
    if status.status in ("exited", "dead"):
        return Never(f"container {name} exited ({status.exit_code})", status.exit_code or 1)
    if status.health is not None and status.is_alive:
        if status.health.status == "healthy":
            return Met("Healthy")
        if status.health.status == "unhealthy":
            return Never(f"container {name} is unhealthy")
    return Pending("to be healthy")


def _judge_completed(name: str, status: Status) -> Met | Pending | Never:
    if status.status == "exited":
        if status.exit_code == 0:
            return Met("Exited")
        return Never(
            f"container {name} didn't complete successfully: exit {status.exit_code}", status.exit_code
        )
    if status.status == "dead":
        return Never(f"container {name} is dead: {status.error}")
    return Pending("to complete")


def _judge_ready(name: str, status: Status, has_healthcheck: bool) -> Met | Pending | Never:
    if status.status == "exited":
        if status.exit_code == 0:
            return Met("Exited")
        return Never(f"container {name} exited ({status.exit_code})", status.exit_code)
    if status.status == "dead":
        return Never(f"container {name} is dead: {status.error}")
    if not status.is_alive:
        return Pending("to be started")
    if not has_healthcheck:
        return Met("Started")
    return _judge_healthy(name, status, has_healthcheck)
