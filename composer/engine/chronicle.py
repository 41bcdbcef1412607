"""What the engine's log says of containers: a line for each turn in the life of one, for whoever asks later why.

Starts, ends with their statuses, restarts with their pauses, health that changes for the worse or back, hooks that
fail. What succeeds again and again (probes) or fails again and again (a program that ends at once) is not told each
time: a log that nobody can read says nothing.
"""

from __future__ import annotations

import logging

from composer.engine.containers import Container
from composer.engine.model import Health, Status
from runtime.build.worker.labels import is_inner

log = logging.getLogger("composer.containers")

LONGEST_WORDS = 200
"""Characters of a command or of what it wrote."""
TOLD_RESTARTS = 10
"""Restarts in a row that are told one by one."""
LONG_PAUSE = 5.0
"""Seconds: restarts with a pause like this come seldom enough to be told."""
TOLD_EVERY = 100
"""Of restarts that follow each other quickly, after the first ones."""


def tell_started(container: Container) -> None:
    """It runs, because somebody wanted it to."""
    if log.isEnabledFor(_level(container)):
        state = container.state
        again = f", restart {state.restart_count}" if state.restart_count else ""
        log.log(_level(container), "container %s: started (pid %d%s)", container.name, state.pid, again)


def tell_not_started(container: Container, error: Exception) -> None:
    """Its start has failed."""
    log.warning("container %s: not started: %s", container.name, one_line(str(error)))


def tell_ended(container: Container, ended: Status, why: str, ran_for: float, pause: float | None) -> None:
    """A run has ended; ``why`` is "" where the status says all, ``pause`` the seconds until the next one, if any."""
    number = container.state.restart_count + 1
    if pause is not None and not is_told(number, pause) and not ended.oom_killed:
        return
    is_expected = pause is None and (ended.exit_code == 0 or container.record.is_manually_stopped)
    words = [f"exited with status {ended.exit_code} after {_seconds(ran_for)}"]
    if ended.oom_killed:
        words.append("killed because it ran out of memory")
    if why:
        words.append(one_line(why))
    if pause is not None:
        words.append(f"restart {number} in {_seconds(pause)} ({container.config.restart.name})")
    elif container.record.is_manually_stopped:
        words.append("it was to stop")
    level = _level(container, logging.INFO if is_expected else logging.WARNING)
    log.log(level, "container %s: %s", container.name, ", ".join(words))


def tell_health(container: Container, before: Health, after: Health) -> None:
    """Its health is another one."""
    if after.status == "unhealthy":
        probe = after.log[-1]
        said = one_line(probe.output) or "nothing"
        how = f"ended with {probe.exit_code}" if probe.exit_code >= 0 else "did not end in time"
        text = "container %s: unhealthy: its probe %s, %d in a row; it said: %s"
        log.warning(text, container.name, how, after.failing_streak, said)
    elif after.status == "healthy":
        again = " again" if before.status == "unhealthy" else ""
        log.info("container %s: healthy%s", container.name, again)


def tell_hook(container: Container, what: str, output: bytes) -> None:
    """One of its hooks has failed, ``what`` says how."""
    said = one_line(output.decode(errors="replace"))
    log.warning("container %s: %s%s", container.name, one_line(what), f"; it said: {said}" if said else "")


def is_told(number: int, pause: float) -> bool:
    """Whether the restart of this number since somebody started the container is worth a line."""
    return number <= TOLD_RESTARTS or pause >= LONG_PAUSE or number % TOLD_EVERY == 0


def one_line(text: str) -> str:
    """The end of a text, without what would make several lines of it."""
    words = " ".join(text.split())
    return words if len(words) <= LONGEST_WORDS else f"…{words[-LONGEST_WORDS:]}"


def _level(container: Container, level: int = logging.INFO) -> int:
    return logging.DEBUG if is_inner(container.config.labels) else level


def _seconds(duration: float) -> str:
    return f"{duration:.1f} s" if duration < 600 else f"{duration / 60:.0f} min"
