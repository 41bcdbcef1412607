"""Restart policies, as Docker's documentation has them."""

from __future__ import annotations

import pytest

from composer.engine.restart import decide_restart, is_started_with_engine
from runtime.container.config import RestartPolicy

ALWAYS = RestartPolicy(name="always")


def delay(policy: RestartPolicy, **given: object) -> float | None:
    facts: dict[str, object] = {
        "exit_code": 1, "ran_for": 0.0, "restart_count": 0, "last_delay": 0.0, "is_manually_stopped": False,
    }  # fmt: skip
    decision = decide_restart(policy, **{**facts, **given})  # type: ignore[arg-type]
    return None if decision is None else decision.delay


@pytest.mark.parametrize(
    ("policy", "on_success", "on_failure"),
    [
        ("no", False, False),
        ("always", True, True),
        ("unless-stopped", True, True),
        ("on-failure", False, True),
    ],
)
def test_which_exits_are_followed_by_a_start(policy: str, on_success: bool, on_failure: bool) -> None:
    asked = RestartPolicy(name=policy)  # type: ignore[arg-type]
    assert (delay(asked, exit_code=0) is not None) == on_success
    assert (delay(asked, exit_code=3) is not None) == on_failure


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_a_manual_stop_is_respected(policy: str) -> None:
    asked = RestartPolicy(name=policy)  # type: ignore[arg-type]
    assert delay(asked, is_manually_stopped=True) is None


def test_on_failure_gives_up_after_its_retries() -> None:
    thrice = RestartPolicy(name="on-failure", maximum_retry_count=3)
    assert [delay(thrice, restart_count=n) is not None for n in range(5)] == [True, True, True, False, False]


def test_back_off_doubles_up_to_a_minute() -> None:
    delays: list[float] = []
    last = 0.0
    for _ in range(13):
        found = delay(ALWAYS, last_delay=last)
        assert found is not None
        delays.append(found)
        last = found
    assert delays[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert delays[-1] == 60.0 == max(delays)


def test_ten_good_seconds_begin_the_back_off_anew() -> None:
    assert delay(ALWAYS, last_delay=25.6, ran_for=9.9) == 51.2
    assert delay(ALWAYS, last_delay=25.6, ran_for=10.0) == 0.1


def test_delay_and_window_of_deploy() -> None:
    policy = RestartPolicy(name="on-failure", delay=5_000_000_000)
    assert [delay(policy, last_delay=d) for d in (0.0, 5.0)] == [5.0, 5.0]
    window = RestartPolicy(name="always", window=2_000_000_000)
    assert delay(window, last_delay=1.6, ran_for=3.0) == 0.1


@pytest.mark.parametrize(
    ("policy", "was_running", "stopped", "expected"),
    [
        ("no", True, False, False),
        ("always", True, False, True),
        ("always", False, True, True),
        ("always", False, False, False),
        ("unless-stopped", True, False, True),
        ("unless-stopped", False, True, False),
        ("on-failure", True, False, True),
    ],
)
def test_after_a_reboot(policy: str, was_running: bool, stopped: bool, expected: bool) -> None:
    asked = RestartPolicy(name=policy)  # type: ignore[arg-type]
    found = is_started_with_engine(asked, was_running=was_running, is_manually_stopped=stopped)
    assert found == expected
