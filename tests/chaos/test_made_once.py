"""The engine dies while a command has a container made: the next engine makes it, and never a second one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from runtime.crash_points import ENVIRONMENT, POINTS, Switchboard
from tests.e2e.engine import Composer, is_gone, wait_for

IMAGE = "composer.local/host"
MADE = ("-v", "/anonymous", "-v", "named:/named")
COMMANDS = {
    "create": ("container", "create", *MADE, IMAGE, "true"),
    "create with a name": ("container", "create", "--name", "one", *MADE, IMAGE, "true"),
    "run": ("container", "run", *MADE, IMAGE, "sh", "-c", "exit 6"),
}


@pytest.mark.parametrize("kind", COMMANDS)
@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("core.create.")])
def test_a_container_is_made_once(composer: Composer, tmp_path: Path, kind: str, point: str) -> None:
    switchboard = Switchboard(str(tmp_path / "points"))
    composer.environment[ENVIRONMENT] = str(tmp_path / "points")
    composer.run("engine", "start")
    switchboard.arm(point)
    group, verb, *words = COMMANDS[kind]
    process = composer.start(group, verb, "--cidfile", str(tmp_path / "id"), *words)
    wait_for(lambda: switchboard.reached, f"{point} to be reached")
    core = switchboard.reached
    os.kill(core, signal.SIGKILL)
    wait_for(lambda: is_gone(core), "the core to end")
    switchboard.release()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (6 if kind == "run" else 0, "")
    (made,) = composer.containers()
    assert (tmp_path / "id").read_text() == made["Id"]
    assert kind == "run" or out == f"{made['Id']}\n"
    volumes = {volume["Name"] for volume in composer.api("GET", "/volumes")["Volumes"]}
    assert volumes == {mount["Name"] for mount in made["Mounts"]}
    assert len(volumes) == 2
    composer.run("container", "rm", "-v", made["Id"])
    composer.run("volume", "rm", "named")


def test_another_id_is_refused(composer: Composer) -> None:
    composer.run("engine", "start")
    with pytest.raises(AssertionError, match=r"400.*invalid container id"):
        composer.api("POST", "/containers/create?id=../../etc", {"Image": IMAGE})
