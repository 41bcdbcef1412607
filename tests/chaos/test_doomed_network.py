"""A network's bridge goes when all containers on it have been killed, while they are still ending."""

from __future__ import annotations

from pathlib import Path

from runtime.crash_points import ENVIRONMENT, Switchboard
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

STACK = """
services:
  web:
    image: composer.local/host
    command: sleep infinity
  db:
    image: composer.local/host
    command: ["sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"]
"""


def test_the_bridge_goes_while_a_killed_container_ends(
    composer: Composer, project: Project, tmp_path: Path
) -> None:
    switchboard = Switchboard(str(tmp_path / "points"))
    composer.environment[ENVIRONMENT] = str(tmp_path / "points")
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    bridge = Path(f"/sys/class/net/cmp-{composer.api('GET', f'/networks/{project.name}_default')['Id'][:10]}")
    assert bridge.exists()
    switchboard.arm("shim.exit.killed")
    process = composer.start("down", "-t", "0", cwd=directory)
    wait_for(lambda: switchboard.reached, "a container's end")
    wait_for(lambda: not bridge.exists(), "the end of the bridge")
    assert [c["State"] for c in composer.containers()].count("running") == 1
    switchboard.release()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert composer.containers() == []


def test_a_core_that_dies_then_is_followed_by_one_that_finds_its_way(
    composer: Composer, project: Project, tmp_path: Path
) -> None:
    switchboard = Switchboard(str(tmp_path / "points"))
    composer.environment[ENVIRONMENT] = str(tmp_path / "points")
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    switchboard.arm("core.network-rm.unbridged")
    process = composer.start("down", "-t", "0", cwd=directory)
    wait_for(lambda: switchboard.reached, "the bridge to be gone")
    composer.kill("composer-core")
    switchboard.release()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert composer.containers() == []
    composer.run("up", "-d", cwd=directory)
    composer.run("exec", "web", "getent", "hosts", "db", cwd=directory)
    composer.run("down", "-t", "0", cwd=directory)
