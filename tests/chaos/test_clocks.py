"""The clock is set (a day, ten years, to 1970, again and again a little), or the machine has slept, under a stack that
is at work: nothing starts, ends, is lost or is told because of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.clocks import DAY, Clock
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

STACK = """
services:
  ticking:
    image: composer.local/host
    init: true
    command: sh -c 'i=0; while :; do echo $$i; i=$$((i+1)); sleep 0.1; done'
    logging: {options: {max-size: 2k, max-file: "1000"}}
  probed:
    image: composer.local/host
    init: true
    command: sh -c 'touch /dev/shm/well; sleep infinity'
    healthcheck: {test: test -e /dev/shm/well, interval: 500ms, retries: 2}
  again:
    image: composer.local/host
    restart: always
    command: sh -c 'until test -e /dev/shm/end; do sleep 0.05; done; exit 3'
  ending:
    image: composer.local/host
    command: sh -c 'until test -e /dev/shm/end; do sleep 0.05; done; exit 7'
"""
HOUR = 3600.0
AGE = r"(Less than a second|\d+ seconds?|About a minute|\d+ minutes|About an hour)"


def _little_steps(clock: Clock) -> None:
    for number in range(40):
        clock.set(0.7 if number % 3 else -0.9)
        time.sleep(0.02)


JUMPS: dict[str, Callable[[Clock], None]] = {
    "a day ahead": lambda clock: clock.set(DAY),
    "a day back": lambda clock: clock.set(-DAY),
    "ten years ahead": lambda clock: clock.set(3653 * DAY),
    "to 1970": lambda clock: clock.set(60 - time.time()),
    "little steps": _little_steps,
    "asleep": lambda clock: clock.sleep(HOUR),
}


class Follower:
    """A command that goes on, and what it has said."""

    def __init__(self, composer: Composer, place: Path, directory: Path, *words: str) -> None:
        self.words = words
        self._path = place / "-".join(word.strip("-") for word in words)
        with open(self._path, "wb") as output:
            self.process = composer.start(*words, cwd=directory, stdout=output, stderr=subprocess.STDOUT)

    def lines(self) -> list[str]:
        return self._path.read_text().splitlines()

    def hears(self, count: int = 1) -> None:
        """Wait for so many lines more."""
        wanted = len(self.lines()) + count
        wait_for(lambda: len(self.lines()) >= wanted, f"{count} lines of {self.words}")

    def end(self) -> int:
        return self.process.wait(60)


def _numbers(lines: list[str]) -> list[int]:
    return [int(line.split()[-1]) for line in lines if "exited with code" not in line]


@pytest.mark.parametrize("kind", JUMPS)
def test_a_stack_under_way(
    composer: Composer, clock: Clock, project: Project, tmp_path: Path, kind: str
) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", "--wait", "ticking", "probed", "again", cwd=directory)
    composer.run("up", "-d", "ending", cwd=directory)

    def follow(*words: str) -> Follower:
        return Follower(composer, tmp_path, directory, *words)

    def state(service: str) -> dict[str, object]:
        found: dict[str, object] = composer.inspect(f"{project.name}-{service}-1")["State"]
        return found

    def inside(service: str, name: str) -> Path:
        return Path(f"/proc/{state(service)['Pid']}/root/dev/shm/{name}")

    def health() -> object:
        found = state("probed")["Health"]
        assert isinstance(found, dict)
        return found["Status"]

    logs = [
        follow("logs", "-f", "--no-log-prefix", "--timestamps", "ticking"),
        follow("logs", "-f", "--no-log-prefix", "--since", "30m", "ticking"),
        follow("logs", "-f", "--no-log-prefix", "--tail", "1", "ticking"),
        follow("container", "logs", "-f", f"{project.name}-ticking-1"),
    ]
    waiting, events = follow("wait", "ending"), follow("events", "--json")
    for log in logs:
        log.hears(2)

    def is_heard() -> list[str]:
        composer.run("exec", "-T", "probed", "true", cwd=directory)
        return events.lines()

    wait_for(is_heard, "events to be heard")
    pids = {service: state(service)["Pid"] for service in ("ticking", "probed")}
    shown_before = max(_numbers(logs[0].lines()))

    JUMPS[kind](clock)

    for log in logs:
        log.hears(5)
    # An exit reaches its restart policy, once.
    first = state("again")["Pid"]
    inside("again", "end").touch()
    wait_for(lambda: state("again")["Running"] and state("again")["Pid"] not in (0, first), "a restart")
    # Health follows what is.
    inside("probed", "well").unlink()
    wait_for(lambda: health() == "unhealthy", "a container to be unhealthy")
    inside("probed", "well").touch()
    wait_for(lambda: health() == "healthy", "a container to be healthy")
    composer.run("up", "-d", "--wait", "--wait-timeout", "60", "probed", cwd=directory)
    # Who waits is told.
    inside("ending", "end").touch()
    assert waiting.end() == 7, waiting.lines()
    assert state("ending")["ExitCode"] == 7
    # Events come in their order.
    wait_for(lambda: any('"exitCode":"7"' in line for line in events.lines()), "the last event")
    events.process.send_signal(signal.SIGINT)
    events.end()
    told = [json.loads(line) for line in events.lines()]
    heard = [(one["service"], one["action"]) for one in told if not one["action"].startswith("exec")]
    assert [one for one in heard if one[0] == "again"] == [("again", "die"), ("again", "start")], heard
    assert [action for service, action in heard if service == "probed"] == [
        "health_status: unhealthy",
        "health_status: healthy",
    ]
    recent = composer.run("events", "--json", "--since", "20m", "--until", "0s", cwd=directory).stdout
    assert '"exitCode":"7"' in recent, recent
    # Ages are ages.
    for line in composer.run("ps", "-a", "--format", "{{.Status}}", cwd=directory).stdout.splitlines():
        assert re.fullmatch(rf"Up {AGE}( \(healthy\))?|Exited \(7\) {AGE} ago", line), line
    listed = composer.run("container", "ls", "--format", "{{.Status}}").stdout
    assert all(re.fullmatch(rf"Up {AGE}( \(healthy\))?", line) for line in listed.splitlines()), listed
    assert ("About an hour" in listed) == (kind == "asleep"), listed
    (running,) = re.findall(r"Running for: +(.*)", composer.run("engine", "status").stdout)
    assert re.fullmatch(AGE, running), running
    assert (running == "About an hour") == (kind == "asleep"), running
    # What was written just now is found by when it was.
    since = composer.run(
        "logs", "--no-log-prefix", "--since", "20m", "--until", "0s", "ticking", cwd=directory
    )
    seen = _numbers(since.stdout.splitlines())
    assert seen == list(range(seen[0], seen[-1] + 1))
    assert seen[0] <= shown_before + 3 < seen[-1]
    is_later = kind in ("a day ahead", "ten years ahead", "asleep")
    assert not is_later or seen[0] > shown_before - 1
    # The next commands find everything as it was; so does the next core.
    composer.run("up", "-d", "ticking", "probed", "again", cwd=directory)
    composer.kill("composer-core")
    composer.run("up", "-d", "ticking", "probed", "again", cwd=directory)
    assert {service: state(service)["Pid"] for service in pids} == pids
    assert composer.inspect(f"{project.name}-again-1")["RestartCount"] == 1
    for log in logs[:3]:  # Docker's command ends with the engine
        log.hears(5)
    composer.run("restart", "-t", "0", "probed", cwd=directory)
    wait_for(lambda: health() == "healthy", "a container to be healthy")
    composer.run("stop", "-t", "0", "ticking", cwd=directory)
    whole = _numbers(composer.run("logs", "--no-log-prefix", "ticking", cwd=directory).stdout.splitlines())
    composer.run("down", "-t", "0", cwd=directory)
    assert whole == list(range(len(whole)))
    for log in logs[:3]:
        assert log.end() == 0, log.lines()
        shown = _numbers(log.lines())
        assert shown == list(range(shown[0], len(whole))), log.words
    assert _numbers(logs[0].lines()) == whole


SAYING = """
services:
  saying:
    image: composer.local/host
    command: sh -c 'while :; do until rm /dev/shm/say 2>/dev/null; do sleep 0.05; done; echo said; done'
"""


@pytest.mark.parametrize("kind", ["a day back", "a day ahead", "to 1970"])
def test_followers_of_what_is_silent_when_the_clock_is_set_and_the_core_dies(
    composer: Composer, clock: Clock, project: Project, tmp_path: Path, kind: str
) -> None:
    """What the next engine is asked for is neither in its future nor shown already."""
    directory = project.write(SAYING)
    composer.run("up", "-d", cwd=directory)
    pid = composer.inspect(f"{project.name}-saying-1")["State"]["Pid"]

    def say() -> None:
        word = Path(f"/proc/{pid}/root/dev/shm/say")
        word.touch()
        wait_for(lambda: not word.exists(), "it to be said")

    say()
    logs = [
        Follower(composer, tmp_path, directory, "logs", "-f", "--no-log-prefix", *words)
        for words in ((), ("--since", "30m"), ("--tail", "1"), ("--tail", "0"))
    ]
    for log in logs[:3]:
        wait_for(log.lines, "what was said before")

    def is_heard() -> list[str]:
        say()
        return logs[3].lines()

    wait_for(is_heard, "what is said to be heard")
    count = len(composer.run("logs", "--no-log-prefix", cwd=directory).stdout.splitlines())
    for log in logs[:3]:
        wait_for(lambda log=log: len(log.lines()) == count, f"all of {log.words}")  # type: ignore[misc]
    heard = [len(log.lines()) for log in logs]
    JUMPS[kind](clock)
    for number in (1, 2):
        composer.kill("composer-core")
        composer.run("ps", cwd=directory)
        say()
        for log, before in zip(logs, heard, strict=True):
            wait_for(lambda log=log, n=before + number: len(log.lines()) >= n, f"more of {log.words}")  # type: ignore[misc]
    composer.run("down", "-t", "0", cwd=directory)
    for log, before in zip(logs, heard, strict=True):
        assert log.end() == 0, log.lines()
        assert [line for line in log.lines() if "exited with" not in line] == ["said"] * (before + 2), (
            log.words
        )
