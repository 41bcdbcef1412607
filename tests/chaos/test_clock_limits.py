"""What has a limit in seconds takes so many, whatever is done to the clock meanwhile; and a machine that sleeps, or an
engine that is stopped, has not been waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.chaos.clocks import DAY, Clock
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

LIMITED = """
services:
  never:
    image: composer.local/host
    init: true
    command: sleep infinity
    healthcheck: {test: "false", interval: 1h, start_period: 1h}
  deaf:
    image: composer.local/host
    command: sh -c 'trap true TERM; touch /dev/shm/deaf; while :; do sleep 0.1; done'
    stop_grace_period: 4s
  ending:
    image: composer.local/host
    command: "true"
    restart: always
  slow:
    image: composer.local/host
    init: true
    command: sleep infinity
    healthcheck: {test: touch /dev/shm/probing; sleep infinity, interval: 300ms, timeout: 4s, retries: 1}
  saying:
    image: composer.local/host
    init: true
    command: sh -c 'echo said; sleep infinity'
"""
SECONDS = 4
"""Of each limit."""
AT_MOST = 60
JUMPS = {
    "ahead": lambda clock: clock.set(3653 * DAY),
    "back": lambda clock: clock.set(-DAY),
    "asleep": lambda clock: clock.sleep(DAY),
}


def _state(composer: Composer, project: Project, service: str) -> dict[str, object]:
    found: dict[str, object] = composer.inspect(f"{project.name}-{service}-1")["State"]
    return found


def _inside(composer: Composer, project: Project, service: str, name: str) -> Path:
    return Path(f"/proc/{_state(composer, project, service)['Pid']}/root/dev/shm/{name}")


@pytest.mark.parametrize("kind", JUMPS)
def test_limits_are_seconds(composer: Composer, clock: Clock, project: Project, kind: str) -> None:
    directory = project.write(LIMITED)
    composer.run("up", "-d", "deaf", "ending", "saying", cwd=directory)
    wait_for(_inside(composer, project, "deaf", "deaf").exists, "one that does not hear")

    def restarts() -> int:
        return int(composer.inspect(f"{project.name}-ending-1")["RestartCount"])

    wait_for(lambda: restarts() >= 4, "the back-off to grow")
    until = f"{time.time() + SECONDS:.3f}"
    began = time.monotonic()
    commands = {
        "up": composer.start("up", "-d", "--wait", "--wait-timeout", str(SECONDS), "never", cwd=directory),
        "stop": composer.start("stop", "deaf", cwd=directory),
        "exec": composer.start("exec", "-T", "saying", "sleep", str(SECONDS), cwd=directory),
        "logs": composer.start("logs", "-f", "--no-log-prefix", "--until", until, "saying", cwd=directory),
        "events": composer.start("events", "--until", until, cwd=directory),
        "probe": composer.start("up", "-d", "--wait", "slow", cwd=directory),
    }
    # All of them are at it.
    wait_for(lambda: len(composer.containers()) == 5, "the containers")
    wait_for(lambda: _state(composer, project, "slow")["Pid"], "the one with the slow probe")
    wait_for(_inside(composer, project, "slow", "probing").exists, "the probe")
    assert commands["logs"].stdout is not None
    assert commands["logs"].stdout.readline() == "said\n"
    before = {name: command.poll() for name, command in commands.items()}

    JUMPS[kind](clock)

    counted = time.monotonic()
    count = restarts()
    ends: dict[str, float] = {}

    def are_over() -> bool:
        for name in commands.keys() - ends.keys():
            if commands[name].poll() is not None:
                ends[name] = time.monotonic() - began
        return len(ends) == len(commands)

    try:
        wait_for(are_over, "all of them to end", AT_MOST)
    finally:
        print(ends)
    statuses = {name: command.returncode for name, command in commands.items()}
    assert statuses == {"up": 1, "stop": 0, "exec": 0, "logs": 0, "events": 0, "probe": 1}, {
        name: command.communicate() for name, command in commands.items()
    }
    if not any(status is not None for status in before.values()):  # on a machine that is not very slow
        assert min(ends.values()) > SECONDS - 0.1, ends
    # From 0.1 s on the delays double: from the fifth restart on there is one at most in 1.6, 4.8, 11.2 ... seconds.
    more = restarts() - count
    passed = time.monotonic() - counted
    assert more <= 1 + sum(passed > 1.6 * (2**n - 1) for n in range(1, 10)), (count, more, passed)
    composer.run("down", "-t", "0", cwd=directory)


PROBED = """
services:
  web:
    image: composer.local/host
    init: true
    command: sleep infinity
    healthcheck:
      test: touch /dev/shm/probing; sleep 0.3; rm /dev/shm/probing
      interval: 300ms
      timeout: 2s
      retries: 1
"""


def test_an_engine_that_is_stopped_while_it_probes(composer: Composer, project: Project) -> None:
    """The probe ends in time, and nobody is there to see it until its time is over."""
    directory = project.write(PROBED)
    composer.run("up", "-d", "--wait", cwd=directory)
    (core,) = composer.processes("composer-core")
    web = f"{project.name}-web-1"
    began = composer.inspect(web)["State"]["StartedAt"]
    probing = _inside(composer, project, "web", "probing")
    with _events(composer, directory) as events:
        for _ in range(2):
            time.sleep(2.5)  # no command is looked after any more
            wait_for(lambda: not probing.exists(), "no probe")
            wait_for(probing.exists, "the next probe")
            os.kill(core, signal.SIGSTOP)
            wait_for(lambda: not probing.exists(), "the probe to end")
            time.sleep(2.5)  # more than a probe may take
            os.kill(core, signal.SIGCONT)
            wait_for(lambda: not probing.exists(), "no probe")
            wait_for(probing.exists, "the next probe")
        events.send_signal(signal.SIGINT)
        told, _ = events.communicate(timeout=60)
    assert "health_status" not in told
    state = composer.inspect(web)["State"]
    assert composer.processes("composer-core") == [core]
    assert (state["Health"]["Status"], state["Health"]["FailingStreak"]) == ("healthy", 0)
    assert state["StartedAt"] == began
    composer.run("down", "-t", "0", cwd=directory)


def _events(composer: Composer, directory: Path) -> subprocess.Popen[str]:
    return composer.start("events", cwd=directory)
