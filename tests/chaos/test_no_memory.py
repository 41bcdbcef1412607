"""The kernel gives a process of the engine no further memory (ENOMEM, not the OOM killer): what is asked for fails and
says so, containers and their logs go on, and it works again when there is some."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

STACK = """
services:
  talks:
    image: composer.local/host
    command: sh -c 'i=0; while :; do echo line $$i; i=$$((i+1)); sleep 0.01; done'
  floods:
    image: composer.local/host
    command: sh -c 'until test -e /dev/shm/go; do sleep 0.05; done; seq 300000; touch /dev/shm/done; sleep infinity'
"""
COMMANDS = (
    ["exec", "-T", "talks", "true"],
    ["run", "--rm", "talks", "true"],
    ["up", "-d", "--scale", "talks=2"],
    ["ps", "-a"],
    ["logs", "--tail", "5"],
)


def _size(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def _limit(pids: list[int], further: int | None) -> None:
    """Let processes have so many bytes of addresses more than now."""
    for pid in pids:
        most = resource.RLIM_INFINITY if further is None else _size(pid) + further
        resource.prlimit(pid, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


@pytest.mark.parametrize("victim", ["composer-core", "composer-keeper", "composer-shim"])
def test_no_memory_is_left(composer: Composer, project: Project, victim: str) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    states = [composer.inspect(f"{project.name}-{name}-1")["State"] for name in ("talks", "floods")]
    talks, shm = states[0]["Pid"], Path(f"/proc/{states[1]['Pid']}/root/dev/shm")
    pids = composer.processes(victim)
    # What it has already may do: whoever needs more is refused, and nobody waits for it.
    _limit(pids, 0)
    (shm / "go").touch()
    for words in COMMANDS:
        done = composer.run(*words, cwd=directory, status=None, timeout=120)
        if done.returncode:
            assert "annot allocate memory" in done.stderr, done
            assert "There is no more memory" in done.stderr, done
            assert "Traceback" not in done.stderr
    assert set(pids) <= set(composer.processes(victim))
    _limit(pids, None)
    assert "Traceback" not in composer.paths.engine_log.read_text()

    composer.run("up", "-d", "--scale", "talks=1", "-t", "0", cwd=directory)
    for words in COMMANDS[:2]:
        composer.run(*words, cwd=directory)
    assert composer.inspect(f"{project.name}-talks-1")["State"]["Pid"] == talks
    seen = composer.run("logs", "--no-log-prefix", "talks", cwd=directory).stdout.splitlines()
    assert seen == [f"line {number}" for number in range(len(seen))]
    wait_for((shm / "done").exists, "all to be written")
    seen = composer.run("logs", "--no-log-prefix", "floods", cwd=directory).stdout.splitlines()
    assert seen == [str(number) for number in range(1, 300001)]
    composer.run("down", "-t", "0", cwd=directory)
