"""Limits that belong to the whole machine (sysctls): each is named when it is reached, with the way out; containers go
on, and the same command works when there is room again. Only where nobody else lives on the machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import engine
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer

pytestmark = pytest.mark.skipif(
    os.environ.get("COMPOSER_TEST_MACHINE") != "own", reason="needs a machine of its own: it sets its sysctls"
)
STACK = """
services:
  old: &talking
    image: composer.local/host
    # Without a process for each line: one that cannot be made is a shell's end.
    command: python3 -uc 'import itertools as i, time; [(print("line", n), time.sleep(0.1)) for n in i.count()]'
    stop_grace_period: 0s
  talking: *talking
  new: {image: composer.local/host, command: sleep infinity, stop_grace_period: 0s}
  typed: {image: composer.local/host, command: sleep infinity, stop_grace_period: 0s, tty: true}
"""
MISLEADING = ("No space left", "quota", "prune", "Traceback", "internal error")


@contextlib.contextmanager
def sysctl(name: str, value: int) -> Iterator[None]:
    path = Path("/proc/sys") / name.replace(".", "/")
    before = path.read_text()
    path.write_text(str(value))
    try:
        yield
    finally:
        path.write_text(before)


@pytest.fixture(scope="module")
def composer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composer]:
    """One engine for all: on an emulated machine its start takes longest, and may take longer than a command waits."""
    with engine.running(tmp_path_factory.mktemp("limits") / "root", {}, lambda: False) as made:
        for _ in range(9):
            if made.run("engine", "start", status=None).returncode == 0:
                break
        yield made


@pytest.fixture
def directory(composer: Composer, project: Project) -> Iterator[Path]:
    """Of a project of which ``old`` runs; at the end it must still do."""
    made = project.write(STACK)
    composer.run("up", "-d", "old", cwd=made)
    state = composer.inspect(f"{project.name}-old-1")["State"]
    yield made
    assert composer.inspect(f"{project.name}-old-1")["State"] == state
    lines = composer.run("logs", "--no-log-prefix", "old", cwd=made).stdout.splitlines()
    assert lines == [f"line {number}" for number in range(len(lines))]
    composer.run("down", cwd=made)
    assert "Traceback" not in composer.paths.engine_log.read_text()


def _says(done: subprocess.CompletedProcess[str], *words: str) -> None:
    for word in (*words, "llow more: `sysctl -w"):
        assert word in done.stderr, done
    for word in MISLEADING:
        assert word not in done.stderr, done


@pytest.mark.parametrize("kind", ["cgroup", "ipc", "mnt", "net", "pid", "uts"])
def test_namespaces(composer: Composer, directory: Path, kind: str) -> None:
    with sysctl(f"user.max_{kind}_namespaces", 1):
        done = composer.run("up", "-d", "new", cwd=directory, status=1)
        _says(
            done,
            f"no more {kind} namespaces: there are as many as sysctl user.max_{kind}_namespaces allows, 1",
        )
        composer.run("exec", "-T", "old", "true", cwd=directory)
    composer.run("up", "-d", "new", cwd=directory)


@pytest.mark.parametrize("kind", ["keys", "bytes"])
def test_keyrings(composer: Composer, directory: Path, kind: str) -> None:
    """Each container has one of its own."""
    with sysctl(f"kernel.keys.root_max{kind}", 1):
        done = composer.run("up", "-d", "new", cwd=directory, status=1)
        _says(done, f"no more keyrings: user 0 has as many as sysctl kernel.keys.root_max{kind} allows, 1")
    composer.run("up", "-d", "new", cwd=directory)


def test_terminals(composer: Composer, directory: Path) -> None:
    with sysctl("kernel.pty.max", 0):
        done = composer.run("up", "-d", "typed", cwd=directory, status=1)
        _says(done, "no more terminals: there are as many as sysctl kernel.pty.max allows, 0")
    composer.run("up", "-d", "typed", cwd=directory)


@pytest.mark.parametrize("kind", ["instances", "watches"])
def test_watched_files(composer: Composer, directory: Path, kind: str) -> None:
    """Logs are looked at then."""
    with sysctl(f"fs.inotify.max_user_{kind}", 0):
        composer.run("up", "-d", "talking", cwd=directory)
        following = composer.start("logs", "-f", "--no-log-prefix", "talking", cwd=directory)
        assert following.stdout is not None
        assert [following.stdout.readline() for _ in range(50)] == [
            f"line {number}\n" for number in range(50)
        ]
        composer.run("stop", "talking", cwd=directory)
        assert following.stdout.readline() == "line 50\n"
        following.communicate(timeout=60)
    said = f"no more files can be watched: user 0 has as many as sysctl fs.inotify.max_user_{kind} allows, 0"
    assert said in composer.paths.engine_log.read_text()


@pytest.mark.parametrize("name", ["threads-max", "pid_max"])
def test_processes(composer: Composer, directory: Path, name: str) -> None:
    made = composer.api(
        "POST", "/containers/create?name=more", {"Image": "composer.local/host", "Cmd": ["true"]}
    )
    threads = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    with sysctl(f"kernel.{name}", threads + 20 + (300 if name == "pid_max" else 0)):
        crowd = []
        with contextlib.suppress(BlockingIOError):
            while True:
                if (child := os.fork()) == 0:
                    with contextlib.suppress(BaseException):
                        os.execvp("sleep", ["sleep", "infinity"])
                    os._exit(1)
                crowd.append(child)
        try:  # without a process of its own
            with pytest.raises(AssertionError, match=rf"sysctl kernel\.{name}, \d+, is reached"):
                composer.api("POST", f"/containers/{made['Id']}/start")
        finally:
            for child in crowd:
                os.kill(child, 9)
                os.waitpid(child, 0)
    composer.run("container", "rm", "-f", "more")
    composer.run("up", "-d", "new", cwd=directory)


def test_cgroups(composer: Composer, directory: Path) -> None:
    base = Path("/sys/fs/cgroup") / composer.scope.name
    if not (most := base / "cgroup.max.descendants").exists():
        pytest.skip("needs cgroup v2")
    most.write_text("1")
    done = composer.run("up", "-d", "new", cwd=directory, status=1)
    assert f"no more cgroups: {base} has as many as its cgroup.max.descendants allows, 1" in done.stderr, done
    assert f"echo max > {base}/cgroup.max.descendants" in done.stderr
    most.write_text("max")
    composer.run("up", "-d", "new", cwd=directory)
