"""No descriptors are left: the command at hand fails and says why, the engine stays, and works again later."""

from __future__ import annotations

import os
import resource
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

MANY = """
services:
  many:
    image: composer.local/host
    command: sh -c 'ulimit -Sn; ulimit -Hn; exec sleep infinity'
    scale: 12
"""


def test_a_low_soft_limit_is_the_containers_alone(composer: Composer, project: Project) -> None:
    directory = project.write(MANY)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))

    process = composer.start("up", "-d", cwd=directory, preexec_fn=limit)
    assert process.wait(60) == 0
    process.communicate()
    (core,), (keeper,) = composer.processes("composer-core"), composer.processes("composer-keeper")
    for pid in (core, keeper):
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (hard, hard)
    composer.kill("composer-keeper")
    wait_for(lambda: composer.processes("composer-keeper"), "another keeper")
    composer.kill("composer-core")
    composer.run("up", "-d", "--scale", "many=13", cwd=directory)

    def told() -> list[str]:
        return composer.run("logs", "--no-log-prefix", cwd=directory).stdout.split()

    wait_for(lambda: len(told()) == 26, "all to tell their limits")
    assert Counter(told()) == {"64": 13, str(hard): 13}
    composer.run("down", "-t", "0", cwd=directory)


# What is executed must not be in what is restarted: it would end with it.
BESIDE = """
  one:
    image: composer.local/host
    init: true
    command: sleep infinity
"""


@pytest.mark.parametrize("victim", ["composer-core", "composer-keeper"])
def test_none_are_left(composer: Composer, project: Project, victim: str) -> None:
    directory = project.write(MANY + BESIDE)
    composer.run("up", "-d", "--scale", "many=2", cwd=directory)
    (pid,) = composer.processes(victim)
    at_rest = len(os.listdir(f"/proc/{pid}/fd"))
    for free in (0, 1, 2, 3, 5, 8, 12):
        starve(composer, directory, pid, free)
        assert composer.processes(victim) == [pid]
        composer.run("up", "-d", "--scale", "many=5", "--remove-orphans", cwd=directory)
        states = [
            found["State"]
            for found in composer.containers()
            if found["Labels"]["com.docker.compose.oneoff"] == "False"
        ]
        assert states == ["running"] * 6
        composer.run("exec", "-T", "many", "true", cwd=directory)
        composer.run("up", "-d", "--scale", "many=2", "-t", "0", cwd=directory)
    composer.run("down", "-t", "0", "--remove-orphans", cwd=directory)
    assert composer.containers() == []
    wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= at_rest, "descriptors to be given back")


def starve(composer: Composer, directory: Path, pid: int, free: int) -> None:
    """Have it do all kinds of things while one of its processes can open only ``free`` descriptors more."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    before = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (before + free, limits[1]))
    commands = (
        ["up", "-d", "--scale", "many=5"],
        ["exec", "-T", "one", "true"],
        ["run", "--rm", "many", "true"],
        ["restart", "-t", "0", "many"],
    )
    told, waiting = [], []
    for words in commands:
        process = composer.start(*words, cwd=directory)
        try:
            told.append((words, process.communicate(timeout=1)[1], process.returncode))
        except subprocess.TimeoutExpired:
            waiting.append(
                (words, process)
            )  # an engine that cannot accept lets clients wait, as the kernel does
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    told += [(words, process.communicate(timeout=120)[1], process.returncode) for words, process in waiting]
    for words, err, status in told:
        assert "Traceback" not in err
        assert status == 0 or "Too many open files" in err, (words, err)
