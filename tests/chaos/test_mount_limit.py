"""Engine and containers in a mount namespace that has as many mounts as it may: mount(2) says that no space is left on
the device, and no disk is full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.mount_crowd import Crowd, mount_crowd
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer

STACK = """
services:
  old:
    image: composer.local/host
    command: sh -c 'i=0; while :; do echo line $$i; i=$$((i+1)); sleep 0.1; done'
    stop_grace_period: 0s
  new:
    image: composer.local/host
    command: sleep infinity
    stop_grace_period: 0s
    configs: [{source: text, target: /etc/text}]
    volumes: ["kept:/kept", "/etc:/host:ro"]
configs: {text: {content: text}}
volumes: {kept: {}}
"""
ROOMS = (0, 1, 2, 5, 12, 20)
"""For the overlay itself, and for what is mounted in it."""


@pytest.fixture
def crowd(composer: Composer, tmp_path: Path) -> Iterator[Crowd]:
    """The engine of the test will be in there."""
    with mount_crowd(tmp_path / "crowd") as made:
        composer.namespace = made.namespace
        yield made
        composer.remove_everything()


def test_no_mount_is_left(composer: Composer, project: Project, crowd: Crowd) -> None:
    directory = project.write(STACK)
    crowd.leave_room_for(40)
    composer.run("up", "-d", cwd=directory)
    composer.run("rm", "-fs", "new", cwd=directory)
    state = composer.inspect(f"{project.name}-old-1")["State"]
    for room in ROOMS:
        crowd.leave_room_for(room)
        done = composer.run("up", "-d", cwd=directory, status=1)
        _names_the_limit(done)
        _names_the_limit(composer.run("run", "--rm", "-T", "new", "true", cwd=directory, status=1))
    # Without a mount.
    composer.run("exec", "-T", "old", "true", cwd=directory)
    composer.run("cp", "compose.yaml", "old:/tmp/there", cwd=directory)
    # Its root is mounted for the time of it.
    crowd.leave_room_for(0)
    _names_the_limit(composer.run("cp", "compose.yaml", "new:/tmp/there", cwd=directory, status=1))

    crowd.leave_room_for(40)
    composer.run("cp", "compose.yaml", "new:/tmp/there", cwd=directory)
    composer.run("up", "-d", cwd=directory)
    composer.run("exec", "-T", "new", "cat", "/etc/text", "/tmp/there", cwd=directory)
    assert [found["State"] for found in composer.containers()] == ["running"] * 2
    assert composer.inspect(f"{project.name}-old-1")["State"] == state
    lines = composer.run("logs", "--no-log-prefix", "old", cwd=directory).stdout.splitlines()
    assert lines == [f"line {number}" for number in range(len(lines))]
    composer.run("down", "-v", cwd=directory)
    assert "Traceback" not in composer.paths.engine_log.read_text()


def _names_the_limit(done: subprocess.CompletedProcess[str]) -> None:
    assert "no more mounts: this mount namespace has as many as sysctl fs.mount-max allows" in done.stderr, (
        done
    )
    assert "This is no full disk." in done.stderr
    for misleading in ("No space left", "prune", "Traceback"):
        assert misleading not in done.stderr, done
