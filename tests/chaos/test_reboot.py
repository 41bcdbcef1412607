"""A simulated reboot: no process is left, the runtime directory is gone. The engine starts what policies ask for and
cleans the rest."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from tests.chaos.test_interrupted import stack
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

POLICIES = """
services:
  always: {image: composer.local/host, command: sleep infinity, restart: always}
  unless: {image: composer.local/host, command: sleep infinity, restart: unless-stopped, volumes: ["data:/data"]}
  stopped: {image: composer.local/host, command: sleep infinity, restart: unless-stopped}
  failure: {image: composer.local/host, command: sleep infinity, restart: on-failure}
  never: {image: composer.local/host, command: sleep infinity}
volumes: {data: {}}
"""


def states(composer: Composer, project: Project) -> dict[str, str]:
    found = composer.containers()
    return {
        one["Names"][0].removeprefix(f"/{project.name}-").removesuffix("-1"): one["State"] for one in found
    }


def test_policies_after_a_reboot(composer: Composer, project: Project) -> None:
    directory = project.write(POLICIES)
    composer.run("up", "-d", cwd=directory)
    composer.run(
        "exec", "-T", "unless", "sh", "-c", "echo kept > /data/file; echo kept > /file; sync", cwd=directory
    )
    composer.run("stop", "-t", "0", "stopped", cwd=directory)
    before = {found["Id"] for found in composer.containers()}

    composer.reboot()
    composer.run("ps", cwd=directory)

    wait_for(
        lambda: [states(composer, project)[name] for name in ("always", "unless")] == ["running", "running"],
        "the policies to be followed",
    )
    found = states(composer, project)
    assert {name: found[name] for name in ("stopped", "never")} == {"stopped": "exited", "never": "exited"}
    assert {one["Id"] for one in composer.containers()} == before
    kept = composer.run("exec", "-T", "unless", "cat", "/data/file", "/file", cwd=directory)
    assert kept.stdout == "kept\nkept\n"
    composer.run("up", "-d", "--wait", cwd=directory)
    assert set(states(composer, project).values()) == {"running"}
    assert {one["Id"] for one in composer.containers()} == before
    composer.run("down", "-v", "-t", "0", cwd=directory)


def reboot_with(composer: Composer, command: subprocess.Popen[str]) -> None:
    """The command ends as well, and starts no other engine in a directory that is just being removed."""
    command.send_signal(signal.SIGSTOP)
    composer.reboot()
    command.kill()
    command.wait(60)
    composer.reboot()  # what it had forked may have become an engine only then


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_reboot_in_the_middle_of_up(composer: Composer, project: Project, moment: float) -> None:
    directory = project.write(stack())
    process = composer.start("up", "-d", cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    reboot_with(composer, process)
    composer.run("up", "-d", "--wait", cwd=directory)
    assert [found["State"] for found in composer.containers()] == ["running"] * 5
    composer.run("down", "-v", "-t", "0", cwd=directory)
    assert composer.containers() == []


def test_a_reboot_in_the_middle_of_down(composer: Composer, project: Project) -> None:
    directory = project.write(stack())
    composer.run("up", "-d", "--wait", cwd=directory)
    process = composer.start(
        "down", "-v", cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(0.05)
    reboot_with(composer, process)
    composer.run("down", "-v", "-t", "0", cwd=directory)
    assert composer.containers() == []
    assert composer.api("GET", "/volumes")["Volumes"] == []
