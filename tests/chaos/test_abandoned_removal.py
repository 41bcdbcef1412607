"""Who has asked for a removal is gone before it is done: it goes on to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.crash_points import ENVIRONMENT, POINTS, Switchboard
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

STACK = """
services:
  web:
    image: composer.local/host
    init: true
    command: sleep infinity
    volumes: [/anonymous]
"""


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("core.remove.")])
def test_a_down_is_killed(composer: Composer, project: Project, tmp_path: Path, point: str) -> None:
    switchboard = Switchboard(str(tmp_path / "points"))
    composer.environment[ENVIRONMENT] = str(tmp_path / "points")
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    switchboard.arm(point)
    process = composer.start("down", "-v", cwd=directory)
    wait_for(lambda: switchboard.reached, f"{point} to be reached")
    process.kill()
    process.communicate(timeout=60)
    switchboard.release()
    wait_for(lambda: not composer.containers(), "the end of the container")
    assert composer.api("GET", "/volumes")["Volumes"] == []
