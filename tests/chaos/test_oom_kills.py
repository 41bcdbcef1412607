"""The kernel's OOM killer strikes in the cgroup that the engine is in (a session or a unit with a limit): that is said,
with the limit; containers run on, and what was begun comes to its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.memory_pressure import LIMIT, Pressure
from tests.e2e.conftest import Project
from tests.e2e.engine import COMMAND, Composer, is_gone, wait_for

STACK = """
services:
  count:
    image: composer.local/host
    restart: unless-stopped
    command: sh -c 'i=0; while :; do echo line $$i; i=$$((i+1)); sleep 0.01; done'
    stop_grace_period: 0s
  first:
    image: composer.local/host
    restart: unless-stopped
    command: sleep infinity
    stop_grace_period: 0s
    volumes: [".:/here"]
    healthcheck: {test: "test -e /here/healthy", interval: 1s, retries: 100000}
  second:
    image: composer.local/host
    command: sleep infinity
    stop_grace_period: 0s
    depends_on: {first: {condition: service_healthy}}
"""
TOO_LITTLE = 40 << 20
"""Bytes: a keeper and a shim have enough, a core has not, and grows larger than they are before it is killed."""
VICTIMS = ("composer-core", "composer-keeper", "composer-shim")


@pytest.fixture
def pressure(composer: Composer) -> Iterator[Pressure]:
    """The engine is in there."""
    made = Pressure()
    try:
        made.run([*COMMAND, "engine", "start"], composer.env)
        yield made
        composer.remove_everything()
    finally:
        composer.end_by_force()
        made.end()


def _reason(pressure: Pressure, limit: int = LIMIT) -> str:
    return (
        "the kernel killed it for want of memory (OOM killer): "
        f"{pressure.limit.name} of {pressure.place}, {limit} bytes, is reached"
    )


def _lines(composer: Composer, directory: Path) -> list[int]:
    out = composer.run("logs", "--no-log-prefix", "count", cwd=directory).stdout
    return [int(line.split()[1]) for line in out.splitlines()]


@pytest.mark.parametrize("victim", VICTIMS)
def test_while_containers_run(composer: Composer, project: Project, pressure: Pressure, victim: str) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", "count", cwd=directory)
    count = f"{project.name}-count-1"
    before = composer.inspect(count)
    (pid,) = composer.processes(victim)
    pressure.kill(pid)
    if victim == "composer-shim":
        wait_for(lambda: is_gone(before["State"]["Pid"]), "the container to end with its shim")
        wait_for(lambda: composer.inspect(count)["RestartCount"] == 1, "its restart policy")
        wait_for(lambda: composer.inspect(count)["State"]["Running"], "it to run again")
        # Of the container's own memory there was enough.
        assert not composer.inspect(count)["State"]["OOMKilled"]
    else:
        composer.run("ps", cwd=directory)
        assert composer.inspect(count)["State"] == before["State"]
        seen = _lines(composer, directory)
        assert seen == list(range(len(seen)))
    wait_for(lambda: _reason(pressure) in composer.paths.engine_log.read_text(), "the reason in the log")
    composer.run("exec", "-T", "count", "true", cwd=directory)
    composer.run("down", cwd=directory)


@pytest.mark.parametrize("victim", VICTIMS)
def test_while_an_up_is_in_progress(
    composer: Composer, project: Project, pressure: Pressure, victim: str
) -> None:
    directory = project.write(STACK)
    begun = composer.start("up", "-d", "first", "second", cwd=directory)
    first = f"{project.name}-first-1"
    wait_for(
        lambda: [c for c in composer.containers() if c["State"] == "running"], "the first container to run"
    )
    (pid,) = composer.processes(victim)
    pressure.kill(pid)
    (directory / "healthy").touch()
    _, said = begun.communicate(timeout=120)
    assert begun.returncode == 0, said
    states = {found["Names"][0]: found["State"] for found in composer.containers()}
    assert states == {f"/{first}": "running", f"/{project.name}-second-1": "running"}
    assert composer.inspect(first)["RestartCount"] == (victim == "composer-shim")
    composer.run("down", cwd=directory)


def test_there_is_not_enough_for_a_core(composer: Composer, project: Project, pressure: Pressure) -> None:
    """A command ends, and says why; when there is enough, the next one works."""
    directory = project.write(STACK)
    composer.run("up", "-d", "count", cwd=directory)
    before = composer.inspect(f"{project.name}-count-1")["State"]
    (keeper,), (core,) = composer.processes("composer-keeper"), composer.processes("composer-core")
    os.kill(keeper, signal.SIGSTOP)
    os.kill(core, signal.SIGKILL)
    wait_for(lambda: is_gone(core), "the core to end")
    pressure.limit.write_text(str(TOO_LITTLE))
    os.kill(keeper, signal.SIGCONT)
    done = composer.run("up", "-d", "count", cwd=directory, status=1)
    assert (
        f"the engine does not come up again: 3 times its core has died: {_reason(pressure, TOO_LITTLE)}"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    pressure.limit.write_text(str(LIMIT))
    composer.run("up", "-d", "count", cwd=directory)
    assert composer.processes("composer-keeper") == [keeper]
    assert composer.inspect(f"{project.name}-count-1")["State"] == before
    seen = _lines(composer, directory)
    assert seen == list(range(len(seen)))
    composer.run("down", cwd=directory)
