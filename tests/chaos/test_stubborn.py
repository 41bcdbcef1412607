"""Containers that do not want to end, or take all there is: a fork bomb, one that lives on after its stop signal, a
frozen one, one that runs out of memory. They end within the time that was asked for, and are told of as what they were.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, is_gone, wait_for

STUBBORN = """
services:
  bomb:
    image: composer.local/host
    pids_limit: 60
    command:
    - python3
    - -c
    - |
      import os, signal, time
      signal.signal(signal.SIGTERM, signal.SIG_IGN)
      while True:
          try:
              os.fork()
          except OSError:
              time.sleep(0.05)
  deaf:
    image: composer.local/host
    command: ["sh", "-c", "trap : TERM INT HUP; echo deaf; while :; do sleep 1; done"]
  frozen:
    image: composer.local/host
    command: sleep infinity
  other:
    image: composer.local/host
    init: true
    command: sleep infinity
"""


def members(composer: Composer, name: str) -> list[int]:
    """All processes of a container."""
    return [int(row[1]) for row in composer.api("GET", f"/containers/{name}/top")["Processes"]]


def group_of(pid: int) -> str:
    """The cgroup of a process (of somebody else's, where its number has been given again); "" when it has ended."""
    try:
        if is_gone(pid):
            return ""
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""


def test_each_ends_in_its_time(composer: Composer, project: Project) -> None:
    directory = project.write(STUBBORN)
    composer.run("up", "-d", cwd=directory)
    names = {service: f"{project.name}-{service}-1" for service in ("bomb", "deaf", "frozen")}
    wait_for(lambda: len(members(composer, names["bomb"])) >= 50, "the bomb to have forked")
    wait_for(lambda: "deaf" in composer.run("logs", "deaf", cwd=directory).stdout, "the trap to be set")
    # Nobody else is held up by it.
    composer.run("exec", "-T", "other", "true", cwd=directory)
    assert len(members(composer, names["bomb"])) <= 60
    pids = [pid for name in names.values() for pid in members(composer, name)]

    begun = time.monotonic()
    composer.run("stop", "-t", "1", "deaf", cwd=directory)
    assert time.monotonic() - begun >= 1
    assert composer.inspect(names["deaf"])["State"]["ExitCode"] == 137

    composer.run("pause", "frozen", cwd=directory)
    composer.run("container", "rm", "-f", names["frozen"])

    composer.run("kill", "bomb", cwd=directory)
    wait_for(lambda: not composer.inspect(names["bomb"])["State"]["Running"], "the bomb to be dead")
    assert composer.inspect(names["bomb"])["State"]["ExitCode"] == 137
    composer.run("up", "-d", cwd=directory)
    wait_for(lambda: len(members(composer, names["bomb"])) >= 50, "the bomb to have forked")
    pids += [pid for name in names.values() for pid in members(composer, name)]
    composer.run("pause", "bomb", "frozen", cwd=directory)
    composer.run("down", "-t", "1", cwd=directory)
    groups = {group_of(pid) for pid in pids} - {""}
    assert not [group for group in groups if composer.scope.name in group.split("/")], "processes are left"


MEMORY = """
services:
  hungry:
    image: composer.local/host
    mem_limit: 32m
    memswap_limit: 32m
    restart: on-failure:1
    command: ["python3", "-c", "import time; kept = [bytearray(1 << 20) for _ in range(256)]; time.sleep(99)"]
  child:
    image: composer.local/host
    mem_limit: 32m
    memswap_limit: 32m
    command: ["sh", "-c", "python3 -c 'kept = [bytearray(1 << 20) for _ in range(256)]'; exit 3"]
  other:
    image: composer.local/host
    mem_limit: 32m
    init: true
    command: sleep infinity
"""


def test_out_of_memory(composer: Composer, project: Project) -> None:
    directory = project.write(MEMORY)
    composer.run("up", "-d", cwd=directory)
    hungry, child = (f"{project.name}-{service}-1" for service in ("hungry", "child"))
    for name in (hungry, child):
        wait_for(lambda: composer.inspect(name)["State"]["Status"] == "exited", f"{name} to end")  # noqa: B023
    state = composer.inspect(hungry)
    assert (state["State"]["ExitCode"], state["State"]["OOMKilled"]) == (137, True)
    assert state["RestartCount"] == 1
    # Its first process lived on, and ended as it wanted; that something was killed is told all the same.
    state = composer.inspect(child)
    assert (state["State"]["ExitCode"], state["State"]["OOMKilled"]) == (3, True)
    composer.run("exec", "-T", "other", "true", cwd=directory)
    happened = composer.run("events", "--json", "--since", "1h", "--until", "0s", cwd=directory).stdout
    events = [json.loads(line) for line in happened.splitlines()]
    composer.run("down", "-t", "0", cwd=directory)
    told = [event["service"] for event in events if event["action"] == "oom"]
    assert sorted(told) == ["child", "hungry", "hungry"]
