"""The core or the keeper killed in the middle of ``up`` and ``down``, at many moments: the command goes on with the
next one, and ``down`` leaves nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from tests import leaks
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, free_port, is_gone, wait_for

MOMENTS = [0.0, 0.01, 0.02, 0.04, 0.06, 0.09, 0.13, 0.18, 0.25, 0.4]
"""Seconds after the command began."""


def stack() -> str:
    return f"""
services:
  store:
    image: composer.local/host
    command: sleep infinity
    volumes: ["data:/data", "/anonymous"]
    healthcheck: {{test: "true", interval: 1s}}
  web:
    image: composer.local/host
    command: sleep infinity
    ports: ["127.0.0.1:{free_port()}:80"]
    networks: [default, back]
    depends_on: {{store: {{condition: service_healthy}}}}
    scale: 1
  worker:
    image: composer.local/host
    command: sleep infinity
    scale: 3
    networks: [back]
    depends_on: [store]
networks: {{back: {{}}}}
volumes: {{data: {{}}}}
"""


def interrupt(composer: Composer, victim: str, moment: float, *words: str, cwd: Path) -> None:
    """Run a command, and kill ``victim`` so many seconds into it: not what it has just forked, which still has its
    name."""
    wait_for(lambda: composer.processes(victim), f"a {victim}")
    victims = composer.processes(victim)
    process = composer.start(*words, cwd=cwd)
    time.sleep(moment + random.random() * 0.01)  # the point is to hit different places
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    for pid in victims:  # or it would be taken for the victim of the next command
        wait_for(partial(is_gone, pid), f"the {victim} ({pid}) to end")


@pytest.mark.parametrize("victim", ["composer-core", "composer-keeper"])
def test_the_command_goes_on(composer: Composer, project: Project, victim: str) -> None:
    """Both kinds are interrupted one after the other: what one of them leaves is what the next begins with."""
    directory = project.write(stack())
    composer.run("ls")  # the engine runs: killing its start is another test
    for up_moment, down_moment in zip(MOMENTS, [*MOMENTS[:6], *[None] * 4], strict=True):
        interrupt(composer, victim, up_moment, "up", "-d", "--wait", cwd=directory)
        running = [found for found in composer.containers() if found["State"] == "running"]
        assert len(running) == len(composer.containers()) == 5
        if down_moment is not None:
            interrupt(composer, victim, down_moment, "down", "-v", "-t", "0", cwd=directory)
        else:
            composer.run("down", "-v", "-t", "0", cwd=directory)
        assert composer.containers() == []
        assert composer.api("GET", "/volumes")["Volumes"] == []
        wait_for(lambda: not things_left(composer), "everything to be gone")


def test_an_attached_one_goes_on(composer: Composer, project: Project) -> None:
    """Also while nothing is shown yet: the next core brings up the rest."""
    directory = project.write(stack())
    composer.run("ls")
    for moment in (0.02, 0.06, 0.13):
        (core,) = composer.processes("composer-core")
        process = composer.start("up", cwd=directory)
        time.sleep(moment)  # the point is to hit different places
        os.kill(core, signal.SIGKILL)
        assert process.stdout is not None
        assert any("Attaching to" in line for line in iter(process.stdout.readline, "")), (
            process.communicate()
        )
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        composer.run("down", "-v", "-t", "0", cwd=directory)


def things_left(composer: Composer) -> list[str]:
    """What is there besides the engine itself."""
    own = ("process", "namespace", "nftables")
    return [thing for thing in leaks.observe([composer.scope]) if not thing.startswith(own)]


def test_an_interrupted_start_of_the_engine(composer: Composer, project: Project) -> None:
    directory = project.write(stack())
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for moment in (0.0, 0.03, 0.06, 0.1, 0.2):
        process = composer.start("up", "-d", cwd=directory, **quiet)
        time.sleep(moment)
        for victim in ("composer-keeper", "composer-core"):
            composer.kill(victim)
        process.wait(60)
    composer.run("up", "-d", "--wait", cwd=directory)
    composer.run("down", "-v", "-t", "0", cwd=directory)


def test_an_engine_that_is_ended_on_purpose_is_not_asked_again(composer: Composer, project: Project) -> None:
    directory = project.write(NEVER_HEALTHY)
    up = composer.start("up", "-d", "--wait", cwd=directory)
    assert up.stderr is not None
    assert any("Waiting" in line for line in iter(up.stderr.readline, ""))
    composer.run("engine", "stop")
    _, said = up.communicate(timeout=60)
    assert up.returncode == 1
    assert "died" not in said
    composer.run("down", "-t", "0", cwd=directory)


NEVER_HEALTHY = """
services:
  web:
    image: composer.local/host
    command: sleep infinity
    healthcheck: {test: "false", interval: 1s, retries: 100}
"""
