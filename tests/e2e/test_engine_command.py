"""``engine status`` and ``engine doctor``."""

from __future__ import annotations

import json
import os
import re

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

WAITING = """
services:
  slow:
    image: composer.local/host
    command: sleep infinity
    healthcheck: {test: [CMD, "false"], interval: 1s, retries: 1000}
  after:
    image: composer.local/host
    command: sleep infinity
    depends_on: {slow: {condition: service_healthy}}
"""


def test_status_tells_who_waits_for_what(composer: Composer, project: Project) -> None:
    directory = project.write(WAITING)
    up = composer.start("up", "-d", cwd=directory)
    expected = f"Waiting:     {project.name}-after-1 waits for service slow to be healthy"
    wait_for(lambda: expected in composer.run("engine", "status", status=None).stdout, "the wait to be shown")
    told = json.loads(composer.run("engine", "status", "--format", "json").stdout)["Waiting"]
    assert [one["Name"] for one in told] == [f"{project.name}-after-1"]
    composer.run("down", "-t", "0", cwd=directory)
    up.communicate(timeout=60)
    assert "Waiting" not in composer.run("engine", "status").stdout


def test_doctor_finds_a_machine_on_which_tests_run_good(composer: Composer) -> None:
    found = composer.run("engine", "doctor").stdout
    assert "ok       overlay: " in found
    assert "engine: not running" in found
    assert not composer.processes("composer-keeper"), "it starts no engine"
    composer.run("container", "run", "--rm", "composer.local/host", "true")
    lines = composer.run("engine", "doctor", "--format", "json").stdout.splitlines()
    checks = {line["Check"]: line for line in map(json.loads, lines)}
    assert {"system", "namespaces", "cgroups", "overlay", "network", "seccomp", "disk", "engine"} <= set(
        checks
    )
    assert checks["engine"]["Detail"].startswith("running, version")
    assert [line for line in checks.values() if line["Status"] == "missing"] == []


def test_an_engine_that_a_real_time_process_starts(composer: Composer) -> None:
    """Its containers are ordinary: cgroups of version 1 do not let others in."""
    words = ("container", "run", "--rm", "composer.local/host", "cat", "/proc/1/sched")
    own = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    except OSError as error:
        pytest.skip(f"needs the right to real time: {error}")
    try:
        begun = composer.start(*words)
    finally:
        os.sched_setscheduler(0, own, os.sched_param(0))
    shown, complaint = begun.communicate(timeout=300)
    assert begun.returncode == 0, complaint
    assert re.search(r"^policy\s+:\s+0$", shown, re.MULTILINE), shown


LIVES = """
services:
  steady:
    image: composer.local/host
    command: sleep infinity
    stop_grace_period: 0s
    healthcheck: {test: [CMD, "true"], interval: 100ms}
  sick:
    image: composer.local/host
    command: sleep infinity
    stop_grace_period: 0s
    healthcheck: {test: [CMD-SHELL, "echo refused; exit 1"], interval: 50ms, retries: 2}
  flaky:
    image: composer.local/host
    command: [sh, -c, "exit 3"]
    restart: on-failure:2
"""


def test_the_log_has_a_line_for_each_turn_in_the_life_of_a_container(
    composer: Composer, project: Project
) -> None:
    """And none for a probe that passes, or fails once more."""
    directory = project.write(LIVES)
    composer.run("up", "-d", cwd=directory)

    def lines(service: str) -> list[str]:
        about = f" composer.containers: container {project.name}-{service}-1: "
        log = composer.run("engine", "logs").stdout.splitlines()
        return [line.partition(" ")[2].replace(about, ": ") for line in log if about in line]

    wait_for(lambda: len(lines("flaky")) == 4, "two restarts")
    wait_for(lambda: any("unhealthy" in line for line in lines("sick")), "the probes to fail")
    wait_for(lambda: any("healthy" in line for line in lines("steady")), "the probes to pass")
    composer.run("down", cwd=directory)
    flaky = [re.sub(r"\d+\.\d s|pid \d+", "N", line) for line in lines("flaky")]
    assert flaky == [
        "INFO: started (N)",
        "WARNING: exited with status 3 after N, restart 1 in N (on-failure)",
        "WARNING: exited with status 3 after N, restart 2 in N (on-failure)",
        "WARNING: exited with status 3 after N",
    ]
    assert [line.partition(" (")[0] for line in lines("steady")[:2]] == ["INFO: started", "INFO: healthy"]
    (sick,) = (line for line in lines("sick") if "unhealthy" in line)
    assert sick == "WARNING: unhealthy: its probe ended with 1, 2 in a row; it said: refused"
    for service in ("steady", "sick"):
        assert len(lines(service)) == 3
        assert re.search(r"INFO: exited with status 137 after \d+\.\d s, it was to stop$", lines(service)[2])
