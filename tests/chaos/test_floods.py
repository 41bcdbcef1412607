"""More than anybody reads: logs of 200 MB with followers that have stalled, and healthchecks that print for ever, leave
processes behind, or never end. The engine answers meanwhile, memory stays bounded, and nothing is mixed up."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, is_gone, wait_for

LINES = 2_500_000
"""Of 80 bytes."""
FOLLOWERS = 50
FLOOD = f"""
services:
  flood:
    image: composer.local/host
    init: true
    command: sh -c 'until test -e /dev/shm/go; do sleep 0.02; done; seq -f %079.0f 1 {LINES}'
    logging: {{driver: json-file, options: {{max-size: 4m, max-file: "3"}}}}
  other:
    image: composer.local/host
    init: true
    command: sleep infinity
"""
MORE_MEMORY = 300 << 20
"""Bytes that the engine may take at most for all of it."""


def resident(pids: list[int]) -> int:
    """Bytes of memory of processes, as far as they are there."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


@contextlib.contextmanager
def stalled_followers(composer: Composer, name: str) -> Iterator[list[socket.socket]]:
    """Connections that ask for the log, and never read it."""
    followers = []
    try:
        for _ in range(FOLLOWERS):
            follower = socket.socket(socket.AF_UNIX)
            followers.append(follower)
            follower.connect(str(composer.paths.socket))
            path = f"/containers/{name}/logs?stdout=1&follow=1"
            follower.sendall(f"GET {path} HTTP/1.1\r\nHost: engine\r\n\r\n".encode())
            follower.settimeout(30)
            assert follower.recv(12).endswith(b"200")
        yield followers
    finally:
        for follower in followers:
            follower.close()


def test_a_flood_with_followers_that_have_stalled(composer: Composer, project: Project) -> None:
    directory = project.write(FLOOD)
    composer.run("up", "-d", cwd=directory)
    name = f"{project.name}-flood-1"
    pids = [pid for comm in ("core", "keeper", "shim") for pid in composer.processes(f"composer-{comm}")]
    (core,) = composer.processes("composer-core")
    with stalled_followers(composer, name):
        before = most = resident(pids)
        slowest = 0.0
        Path(f"/proc/{composer.inspect(name)['State']['Pid']}/root/dev/shm/go").touch()
        while composer.inspect(name)["State"]["Running"]:
            began = time.monotonic()
            assert composer.run("exec", "-T", "other", "echo", "here", cwd=directory).stdout == "here\n"
            slowest = max(slowest, time.monotonic() - began)
            most = max(most, resident(pids))
        assert composer.inspect(name)["State"]["ExitCode"] == 0
        assert most - before < MORE_MEMORY, f"{(most - before) >> 20} MiB more"
        # Who waited for one that has stalled would wait for ever.
        assert slowest < 30, f"{slowest:.1f} s for an exec"
    assert composer.processes("composer-core") == [core]
    # What is kept is the end, in order, without a gap, and not more than was allowed.
    log = composer.paths.container(composer.inspect(name)["Id"]) / "log"
    assert sum(path.stat().st_size for path in log.iterdir()) <= (3 * 4 << 20) + (1 << 20)
    kept = composer.run("logs", "--no-log-prefix", "flood", cwd=directory).stdout.split("\n")
    assert kept.pop() == ""
    numbers = [int(line) for line in kept]
    assert all(len(line) == 79 for line in kept)
    assert numbers == list(range(LINES - len(kept) + 1, LINES + 1))
    assert len(kept) > 4 << 13
    composer.run("down", "-t", "0", cwd=directory)


PROBES = """
services:
  floods:
    image: composer.local/host
    init: true
    command: sleep infinity
    healthcheck: {test: "touch /dev/shm/begun; yes flood", interval: 200ms, timeout: 1s, retries: 1}
  never:
    image: composer.local/host
    init: true
    command: sleep infinity
    healthcheck: {test: "sleep 7777 & sleep 7777", interval: 200ms, timeout: 500ms, retries: 1}
  prints:
    image: composer.local/host
    init: true
    command: sleep infinity
    healthcheck: {test: "head -c 3000000 /dev/zero | tr '\\\\0' x; echo; sleep 7777 &", interval: 200ms}
"""


def sleepers(composer: Composer, name: str) -> list[int]:
    """Processes in a container that wait for ever."""
    top = composer.api("GET", f"/containers/{name}/top?ps_args=-o%20pid,args")
    return [int(row[0]) for row in top["Processes"] if re.match("sleep 7777", row[-1])]


def test_healthchecks_that_flood_fork_and_never_end(composer: Composer, project: Project) -> None:
    directory = project.write(PROBES)
    composer.run("up", "-d", cwd=directory)
    names = {service: f"{project.name}-{service}-1" for service in ("floods", "never", "prints")}

    def health(service: str) -> dict[str, object]:
        found: dict[str, object] = composer.inspect(names[service])["State"]["Health"]
        return found

    for service, status in (("floods", "unhealthy"), ("never", "unhealthy"), ("prints", "healthy")):
        wait_for(lambda: health(service)["Status"] == status, f"{service} to be {status}")  # noqa: B023
    for service in ("floods", "never"):
        last = health(service)["Log"][-1]  # type: ignore[index]
        assert last["ExitCode"] == -1
        assert last["Output"].startswith("Health check exceeded timeout"), last["Output"][:100]
    for service in names:
        assert all(len(one["Output"]) <= 4096 for one in health(service)["Log"])  # type: ignore[attr-defined]
    # One probe at a time; what was killed for taking too long is gone with what it had started.
    never = sleepers(composer, names["never"])
    wait_for(lambda: all(is_gone(pid) for pid in never), "a probe's processes to be killed")
    wait_for(lambda: len(sleepers(composer, names["never"])) <= 2, "one probe at a time")
    composer.run("down", "-t", "0", cwd=directory)
    assert "Traceback" not in composer.paths.engine_log.read_text()


def test_what_a_command_leaves_behind_holds_nobody_up(composer: Composer, project: Project) -> None:
    """Its standard output is still open when the first process of an exec, or of a container, has ended."""
    directory = project.write(FLOOD)
    composer.run("up", "-d", "other", cwd=directory)
    words = ["sh", "-c", "sleep 7777 & echo said"]
    assert composer.run("exec", "-T", "other", *words, cwd=directory).stdout == "said\n"
    assert composer.run("run", "--rm", "-T", "other", *words, cwd=directory).stdout == "said\n"
    # The shell may have ended before the one that it has forked is what it will be.
    wait_for(
        lambda: len(sleepers(composer, f"{project.name}-other-1")) == 1, "what was left behind to be seen"
    )
    composer.run("down", "-t", "0", cwd=directory)
    assert json.dumps(composer.containers()) == "[]"
