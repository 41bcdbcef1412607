"""A disk that is full: what is asked for fails with the reason, what runs goes on, and what frees space works."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.disks import small_disk, use_up_bytes
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, is_gone, parent_of, wait_for

STACK = """
services:
  store:
    image: composer.local/host
    command: sleep infinity
    volumes: ["data:/data", "/anonymous"]
  chatty:
    image: composer.local/host
    init: true
    command: sh -c 'i=0; while :; do echo line $$i; i=$$((i+1)); echo $$i > /dev/shm/count; sleep 0.01; done'
  ending:
    image: composer.local/host
    command: sh -c 'until test -e /dev/shm/end; do sleep 0.02; done; exit 6'
  again:
    image: composer.local/host
    restart: on-failure:2
    command: sh -c 'test -e /dev/shm/end && exit 5; touch /dev/shm/end; sleep infinity'
volumes: {data: {}}
"""


@pytest.fixture
def small(composer: Composer) -> Iterator[Path]:
    """The state root's lasting half, on a file system of 48 MiB."""
    with small_disk(composer, "size=48m") as lib:
        yield lib


def fill(lib: Path) -> Path:
    """Use up every byte, also of what the engine gives back meanwhile."""
    path = lib / "filler"

    def is_full() -> bool:
        use_up_bytes(path)
        return os.statvfs(lib).f_bavail == 0

    wait_for(is_full, "the disk to be full")
    return path


def count(composer: Composer, directory: Path) -> int:
    return int(composer.run("exec", "-T", "chatty", "cat", "/dev/shm/count", cwd=directory).stdout or 0)


def test_a_stack_on_a_full_disk(composer: Composer, project: Project, small: Path) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    filler = fill(small)

    # What runs runs on: its output is dropped, not waited for.
    before = count(composer, directory)
    wait_for(lambda: count(composer, directory) > before + 20, "the container to go on writing")

    # An exit is seen, with its status.
    ending = f"{project.name}-ending-1"
    Path(f"/proc/{composer.inspect(ending)['State']['Pid']}/root/dev/shm/end").touch()
    wait_for(lambda: composer.inspect(ending)["State"]["Status"] == "exited", "the exit to be seen")
    assert composer.inspect(ending)["State"]["ExitCode"] == 6

    # What needs space fails with the reason.
    with open(directory / "image.tar", "wb") as file:
        file.truncate(100 << 20)
    for words in (
        ["run", "-d", "store", "true"],
        ["up", "-d", "--scale", "again=2"],
        ["image", "load", "-i", "image.tar"],
        ["volume", "create", "more"],
    ):
        failed = composer.run(*words, cwd=directory, status=1)
        assert "No space left on device" in failed.stderr, failed
    failed = composer.run(
        "exec", "-T", "store", "dd", "if=/dev/zero", "of=/data/file", "count=99", cwd=directory, status=None
    )
    assert "No space left on device" in failed.stderr

    composer.run("stop", "-t", "1", "chatty", cwd=directory)
    composer.run("ps", "-a", cwd=directory)
    composer.run("logs", cwd=directory)
    assert filler.exists()
    composer.run("down", "-v", "-t", "0", cwd=directory)
    assert composer.containers() == []
    assert composer.api("GET", "/volumes")["Volumes"] == []


def test_the_engine_killed_on_a_full_disk(composer: Composer, project: Project, small: Path) -> None:
    """The next one opens its database, and learns the exit statuses of what ended meanwhile."""
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    fill(small)
    pids = [composer.inspect(f"{project.name}-{name}-1")["State"]["Pid"] for name in ("store", "ending")]
    (core,) = composer.processes("composer-core")
    shim = parent_of(pids[1])
    os.kill(core, signal.SIGSTOP)
    Path(f"/proc/{pids[1]}/root/dev/shm/end").touch()
    wait_for(lambda: is_gone(shim), "the container to end, and its shim")
    composer.kill("composer-core")
    ending = composer.inspect(f"{project.name}-ending-1")["State"]
    assert (ending["Status"], ending["ExitCode"], ending["Error"]) == ("exited", 6, "")
    assert composer.inspect(f"{project.name}-store-1")["State"]["Pid"] == pids[0]
    composer.run("ps", "-a", cwd=directory)
    fill(small)
    composer.run("rm", "-f", "ending", cwd=directory)
    composer.run("engine", "stop")
    fill(small)
    composer.run("up", "-d", "store", cwd=directory)
    composer.run("down", "-v", "-t", "0", cwd=directory)
    assert composer.containers() == []
