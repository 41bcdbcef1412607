"""The kernel gives the engine's processes no further process or thread: what is asked for fails and says so, the engine
stays, nothing is left, and it works again once there may be more."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

PIDS = Path("/sys/fs/cgroup/pids")
STACK = """
services:
  one: {image: composer.local/host, init: true, command: sleep infinity}
  many: {image: composer.local/host, command: sleep infinity, scale: 2}
"""


class Limit:
    """A cgroup for processes that may not become more."""

    def __init__(self) -> None:
        self.place = PIDS / f"test-{uuid.uuid4().hex[:8]}"
        self.place.mkdir()

    def take(self, pid: int) -> None:
        (self.place / "cgroup.procs").write_text(str(pid))

    def set(self, further: int | None) -> None:
        now = int((self.place / "pids.current").read_text())
        (self.place / "pids.max").write_text("max" if further is None else str(now + further))

    def end(self) -> None:
        wait_for(self._is_removed, "the cgroup to be empty")

    def _is_removed(self) -> bool:
        for pid in (self.place / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                (PIDS / "cgroup.procs").write_text(pid)
        try:
            os.rmdir(self.place)
        except OSError as error:
            if error.errno != errno.EBUSY:  # what is ending counts until it is gone
                raise
            return False
        return True


@pytest.fixture
def limit() -> Iterator[Limit]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not PIDS.is_dir():
        pytest.skip("needs cgroup v1")
    made = Limit()
    try:
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("victim", ["composer-core", "composer-keeper"])
def test_no_process_is_left(composer: Composer, project: Project, limit: Limit, victim: str) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    pids = composer.processes(victim)
    for pid in pids:
        limit.take(pid)
    commands = (
        ["up", "-d", "--scale", "many=4"],
        ["exec", "-T", "one", "true"],
        ["run", "--rm", "many", "true"],
        ["cp", "compose.yaml", "one:/tmp/there"],
        ["restart", "-t", "0", "many"],
        ["ps", "-a"],
        ["logs"],
    )
    for further in (0, 1):
        limit.set(further)
        for words in commands:
            done = composer.run(*words, cwd=directory, status=None, timeout=120)
            assert "Traceback" not in done.stderr
            assert done.returncode == 0 or "emporarily unavailable" in done.stderr, (further, done)
            assert done.returncode == 0 or "pids.max" in done.stderr, (further, done)
        limit.set(None)
        assert composer.processes(victim) == pids
        composer.run("up", "-d", "--scale", "many=3", cwd=directory)
        for words in (["exec", "-T", "one", "true"], ["run", "--rm", "many", "true"]):
            composer.run(*words, cwd=directory)
        assert [found["State"] for found in composer.containers()] == ["running"] * 4
        composer.run("up", "-d", "--scale", "many=2", "-t", "0", cwd=directory)
    assert "Traceback" not in composer.paths.engine_log.read_text()
    composer.run("down", "-t", "0", cwd=directory)


def test_no_process_is_left_for_a_shim(composer: Composer, project: Project, limit: Limit) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", "one", cwd=directory)
    pid = composer.inspect(f"{project.name}-one-1")["State"]["Pid"]
    (shim,) = composer.processes("composer-shim")
    limit.take(shim)
    for further in (0, 1):
        limit.set(further)
        done = composer.run("exec", "-T", "one", "true", cwd=directory, status=None)
        if done.returncode == 0 and further:
            continue  # its first process had left the cgroup before the second one came
        assert done.returncode == 126, done
        assert "fork: Resource temporarily unavailable" in done.stderr
        most = (limit.place / "pids.max").read_text().strip()
        assert f"pids.max of {limit.place}, {most}, is reached" in done.stderr
        assert "No more processes may be made" in done.stderr
    limit.set(None)
    composer.run("exec", "-T", "one", "true", cwd=directory)
    assert composer.inspect(f"{project.name}-one-1")["State"]["Pid"] == pid
    composer.run("down", "-t", "0", cwd=directory)


def test_a_container_that_has_all_its_processes(composer: Composer, project: Project) -> None:
    service = "image: composer.local/host, pids_limit: 3, command: sh -c 'sleep 600 & sleep 600 & wait'"
    directory = project.write(f"services: {{one: {{{service}}}}}")
    composer.run("up", "-d", cwd=directory)
    name = f"{project.name}-one-1"
    wait_for(lambda: len(composer.api("GET", f"/containers/{name}/top")["Processes"]) == 3, "it to be full")
    done = composer.run("exec", "-T", "one", "true", cwd=directory, status=126)
    assert "the container's limit of 3 processes (pids_limit) is reached" in done.stderr
    composer.run("container", "update", "--pids-limit", "9", name)
    composer.run("exec", "-T", "one", "true", cwd=directory)
    composer.run("down", "-t", "0", cwd=directory)
