"""A core that hangs: who asks for something gets it from another one; one that only slept a while goes on as before."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, free_port, is_gone, wait_for

PROBED = """
services:
  web:
    image: composer.local/host
    init: true
    command: sleep infinity
    healthcheck: {test: "true", interval: 500ms, timeout: 4s, retries: 1}
  failing:
    image: composer.local/host
    command: sh -c 'until test -e /dev/shm/end; do sleep 0.02; done; exit 5'
    restart: on-failure:1
"""

PUBLISHED = f"""
services:
  web:
    image: composer.local/host
    command: sleep infinity
    ports: ["127.41.7.1:{free_port()}:80"]
"""


def test_who_asks_a_hung_core_is_answered_by_the_next(composer: Composer, project: Project) -> None:
    directory = project.write(PROBED)
    composer.run("up", "-d", "--wait", "web", cwd=directory)
    web = f"{project.name}-web-1"
    pid = composer.inspect(web)["State"]["Pid"]
    (core,) = composer.processes("composer-core")
    os.kill(core, signal.SIGSTOP)
    out = composer.run("ps", "--format", "{{.Health}}", "web", cwd=directory).stdout
    assert out == "healthy\n"
    assert is_gone(core)
    assert composer.inspect(web)["State"]["Pid"] == pid
    assert "has not answered" in composer.run("engine", "logs").stdout
    composer.run("down", "-t", "0", cwd=directory)


def test_a_hung_core_does_not_keep_a_container_from_its_restart(composer: Composer, project: Project) -> None:
    """Nobody asks: the end of a shim is reason enough to look."""
    directory = project.write(PROBED)
    composer.run("up", "-d", cwd=directory)
    name = f"{project.name}-failing-1"
    pid = composer.inspect(name)["State"]["Pid"]
    (core,) = composer.processes("composer-core")
    os.kill(core, signal.SIGSTOP)
    with open(f"/proc/{pid}/root/dev/shm/end", "w"):
        pass
    wait_for(lambda: is_gone(core), "the keeper to notice")
    wait_for(lambda: composer.inspect(name)["RestartCount"] == 1, "the restart")
    composer.run("down", "-t", "0", cwd=directory)


def test_a_core_that_slept_while_nobody_asked(composer: Composer, project: Project) -> None:
    directory = project.write(PROBED)
    composer.run("up", "-d", "--wait", "web", cwd=directory)
    web = f"{project.name}-web-1"
    began = composer.inspect(web)["State"]["StartedAt"]
    (core,) = composer.processes("composer-core")
    time.sleep(2.5)  # no command is looked after any more
    before = time.time()
    os.kill(core, signal.SIGSTOP)
    time.sleep(5)  # longer than a probe may take
    woken = datetime.now(UTC).isoformat()
    os.kill(core, signal.SIGCONT)
    wait_for(lambda: probed(composer, web) > woken, "the next probe")
    state = composer.inspect(web)
    events = composer.run("events", "--json", "--since", f"{before:.3f}", "--until", "0s", cwd=directory)
    assert "health_status" not in events.stdout
    assert composer.processes("composer-core") == [core]
    assert (state["State"]["Health"]["Status"], state["State"]["Health"]["FailingStreak"]) == ("healthy", 0)
    assert (state["State"]["StartedAt"], state["RestartCount"]) == (began, 0)
    composer.run("down", "-t", "0", cwd=directory)


def probed(composer: Composer, name: str) -> str:
    """When the last probe began."""
    log = composer.inspect(name)["State"]["Health"]["Log"]
    return str(log[-1]["Start"]) if log else ""


def test_a_port_that_the_keeper_still_holds_is_waited_for(composer: Composer, project: Project) -> None:
    directory = project.write(PUBLISHED)
    composer.run("up", "-d", cwd=directory)
    name = f"{project.name}-web-1"
    (keeper,) = composer.processes("composer-keeper")
    os.kill(keeper, signal.SIGSTOP)
    try:
        restart = composer.start("container", "restart", "-t", "0", name)
        wait_for(lambda: composer.inspect(name)["State"]["Status"] == "exited", "the container to stop")
    finally:
        os.kill(keeper, signal.SIGCONT)
    _, problem = restart.communicate(timeout=60)
    assert (restart.returncode, problem) == (0, "")
    composer.run("down", "-t", "0", cwd=directory)


def test_an_engine_whose_keeper_hangs_can_be_stopped(composer: Composer) -> None:
    composer.run("ls")
    (keeper,) = composer.processes("composer-keeper")
    (core,) = composer.processes("composer-core")
    os.kill(keeper, signal.SIGSTOP)
    composer.run("engine", "stop")
    for pid in (keeper, core):
        wait_for(lambda pid=pid: is_gone(pid), f"process {pid} to end")  # type: ignore[misc]
    composer.run("ls")
