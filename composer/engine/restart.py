"""When an exited container is started again: Docker's restart policies, as a pure decision.

Source: Docker's documentation of ``--restart`` and the Compose specification's ``deploy.restart_policy``.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.container.config import RestartPolicy

FIRST_DELAY = 0.1
"""Seconds before the first restart."""
LONGEST_DELAY = 60.0
STEADY_AFTER = 10.0
"""A container that ran this long (seconds) starts again with the first delay."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Start again after ``delay`` seconds."""

    delay: float


def decide_restart(
    policy: RestartPolicy,
    *,
    exit_code: int,
    ran_for: float,
    restart_count: int,
    last_delay: float,
    is_manually_stopped: bool,
) -> Restart | None:
    """What to do after an exit; ``None`` leaves the container exited.

    ``ran_for`` seconds is how long the container lived, ``restart_count`` how often the policy has restarted it,
    ``last_delay`` the delay before this run (0 for the first).
    """
    if is_manually_stopped or not _wants_restart(policy, exit_code, restart_count):
        return None
    if policy.delay is not None:
        return Restart(policy.delay / 1e9)
    steady_after = policy.window / 1e9 if policy.window else STEADY_AFTER
    if last_delay == 0 or ran_for >= steady_after:
        return Restart(FIRST_DELAY)
    return Restart(min(last_delay * 2, LONGEST_DELAY))


def _wants_restart(policy: RestartPolicy, exit_code: int, restart_count: int) -> bool:
    match policy.name:
        case "always" | "unless-stopped":
            return policy.maximum_retry_count == 0 or restart_count < policy.maximum_retry_count
        case "on-failure":
            return exit_code != 0 and (
                policy.maximum_retry_count == 0 or restart_count < policy.maximum_retry_count
            )
        case _:
            return False


def is_started_with_engine(policy: RestartPolicy, *, was_running: bool, is_manually_stopped: bool) -> bool:
    """Whether a container is started when the engine comes up and finds it not running (after a reboot or a crash).

    ``always`` starts even after a manual stop, as Docker does; ``unless-stopped`` and ``on-failure`` only what was
    running when the engine last knew.
    """
    match policy.name:
        case "always":
            return was_running or is_manually_stopped
        case "unless-stopped" | "on-failure":
            return was_running and not is_manually_stopped
        case _:
            return False
