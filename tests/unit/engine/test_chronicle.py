"""What the engine's log says of containers: one line for what somebody will ask about later, none for the rest."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from composer.engine import chronicle
from composer.engine.containers import Container
from composer.engine.model import Health, ProbeResult, Status
from runtime.container.config import ContainerConfig, RestartPolicy


@dataclass
class Record:
    is_manually_stopped: bool = False


@dataclass
class Fake:
    name: str = "shop-web-1"
    state: Status = field(default_factory=lambda: Status(status="running", pid=7))
    config: ContainerConfig = field(
        default_factory=lambda: ContainerConfig(image="i", restart=RestartPolicy(name="on-failure"))
    )
    record: Record = field(default_factory=Record)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{one.levelname} {one.getMessage()}" for one in caplog.records]


@pytest.mark.parametrize(
    ("ended", "why", "pause", "count", "is_stopped", "line"),
    [
        ({}, "", None, 0, False, "INFO container shop-web-1: exited with status 0 after 1.5 s"),
        ({"exit_code": 3}, "", None, 0, False, "WARNING container shop-web-1: exited with status 3 after 1.5 s"),
        (
            {"exit_code": 143}, "", None, 0, True,
            "INFO container shop-web-1: exited with status 143 after 1.5 s, it was to stop",
        ),
        (
            {"exit_code": 1}, "", 0.4, 2, False,
            "WARNING container shop-web-1: exited with status 1 after 1.5 s, restart 3 in 0.4 s (on-failure)",
        ),
        (
            {"exit_code": 137, "oom_killed": True}, "why\n it was", 0.1, 42, False,
            "WARNING container shop-web-1: exited with status 137 after 1.5 s, killed because it ran out of memory, "
            "why it was, restart 43 in 0.1 s (on-failure)",
        ),
    ],
)  # fmt: skip
def test_an_end(
    ended: dict[str, Any],
    why: str,
    pause: float | None,
    count: int,
    is_stopped: bool,
    line: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake = Fake(state=Status(restart_count=count), record=Record(is_stopped))
    with caplog.at_level(logging.INFO):
        chronicle.tell_ended(cast("Container", fake), Status(status="exited", **ended), why, 1.5, pause)
    assert told(caplog) == [line]


def test_a_program_that_ends_again_and_again_is_no_flood(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand restarts without a pause."""
    with caplog.at_level(logging.INFO):
        for count in range(1000):
            fake = cast("Container", Fake(state=Status(restart_count=count)))
            chronicle.tell_ended(fake, Status(status="exited", exit_code=1), "", 0.01, 0.0)
    assert len(told(caplog)) == chronicle.TOLD_RESTARTS + 10
    assert chronicle.is_told(57, chronicle.LONG_PAUSE), "what comes seldom is told"


def test_health(caplog: pytest.LogCaptureFixture) -> None:
    probe = ProbeResult(start=1, end=2, exit_code=1, output="refused\nreally\n")
    healthy, sick = Health(status="healthy"), Health(status="unhealthy", failing_streak=3, log=(probe,))
    with caplog.at_level(logging.INFO):
        for before, after in ((Health(), healthy), (healthy, sick), (sick, healthy)):
            chronicle.tell_health(cast("Container", Fake()), before, after)
    assert told(caplog) == [
        "INFO container shop-web-1: healthy",
        "WARNING container shop-web-1: unhealthy: its probe ended with 1, 3 in a row; it said: refused really",
        "INFO container shop-web-1: healthy again",
    ]


def test_a_line_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        chronicle.tell_hook(cast("Container", Fake()), "pre_stop hook exited", b"a\nb\x00\n" + b"x" * 999)
        chronicle.tell_not_started(cast("Container", Fake()), ValueError("no\n\n such program"))
    assert [line.count("\n") for line in told(caplog)] == [0, 0]
    assert max(map(len, told(caplog))) < 2 * chronicle.LONGEST_WORDS
    assert told(caplog)[1] == "WARNING container shop-web-1: not started: no such program"
