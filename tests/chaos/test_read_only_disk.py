"""A state root that can only be read: no engine starts there, and one that runs loses nothing that runs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.disks import Ext4, ext4_disk
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, is_gone, wait_for

STACK = """
services:
  store: {image: composer.local/host, command: sleep infinity}
  other: {image: composer.local/host, init: true, command: sleep infinity}
  ending:
    image: composer.local/host
    command: sh -c 'until test -e /dev/shm/end; do sleep 0.02; done; exit 6'
"""


def test_an_engine_is_not_started(composer: Composer, project: Project) -> None:
    directory = project.write(STACK)
    lib = composer.paths.lib
    lib.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=700", "tmpfs", lib], check=True)
    try:
        failed = composer.run("up", "-d", cwd=directory, status=1)
        assert f"write {lib}/engine.log: Read-only file system" in failed.stderr
        assert "set COMPOSER_ROOT to a directory that can be written" in failed.stderr
        assert composer.run("engine", "status", status=3).stdout.startswith("The engine is not running")
    finally:
        subprocess.run(["umount", lib], check=True)
    composer.run("up", "-d", cwd=directory)
    composer.run("down", "-t", "0", cwd=directory)


@pytest.fixture
def ext4(composer: Composer, tmp_path: Path) -> Iterator[Ext4]:
    with ext4_disk(composer, tmp_path / "image") as made:
        yield made


def test_a_file_system_that_turns_read_only(composer: Composer, project: Project, ext4: Ext4) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    pid = composer.inspect(f"{project.name}-store-1")["State"]["Pid"]
    ext4.fail()

    composer.run("exec", "-T", "store", "true", cwd=directory)
    composer.run("stop", "-t", "0", "other", cwd=directory)
    assert composer.inspect(f"{project.name}-other-1")["State"]["Status"] == "exited"
    assert "cannot be written" in composer.run("engine", "status").stdout
    composer.run("ps", "-a", cwd=directory)
    failed = composer.run("up", "-d", cwd=directory, status=1)
    assert "Read-only file system" in failed.stderr
    failed = composer.run("rm", "-f", "other", cwd=directory, status=1)
    assert "Read-only file system" in failed.stderr

    # The next core has to do with what it finds, also of what ended when there was none.
    ending = f"{project.name}-ending-1"
    last = composer.inspect(ending)["State"]["Pid"]
    (core,) = composer.processes("composer-core")
    os.kill(core, signal.SIGSTOP)
    Path(f"/proc/{last}/root/dev/shm/end").touch()
    wait_for(partial(is_gone, last), "the container to end")
    wait_for(lambda: len(composer.processes("composer-shim")) == 1, "its shim to end")
    composer.kill("composer-core")
    wait_for(lambda: composer.inspect(ending)["State"]["Status"] == "exited", "the next core to know")
    assert composer.inspect(ending)["State"]["ExitCode"] == 6
    assert composer.inspect(f"{project.name}-store-1")["State"]["Pid"] == pid
    composer.run("exec", "-T", "store", "true", cwd=directory)
    composer.run("stop", "-t", "0", cwd=directory)
    composer.run("engine", "stop")

    ext4.umount()
    ext4.mount()
    composer.run("container", "ls", "-a")
    assert composer.inspect(ending)["State"]["ExitCode"] == 6
    composer.run("down", "-t", "0", cwd=directory)
    assert composer.containers() == []
    assert list((ext4.place / "containers").iterdir()) == []
