"""A stack over its life: up, up again, a change, scale, stop, down; and that nothing is left."""

from __future__ import annotations

import itertools
import json
import select
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import PATIENCE, Composer, wait_for

STACK = """
services:
  one:
    image: composer.local/host
    command: sleep infinity
    volumes: [/anonymous]
    environment: {VALUE: first}
  two:
    image: composer.local/host
    command: sleep infinity
    depends_on: [one]
"""


def ids(composer: Composer) -> dict[str, str]:
    return {found["Names"][0].lstrip("/"): found["Id"] for found in composer.containers()}


def volumes(composer: Composer) -> list[str]:
    return [volume["Name"] for volume in composer.api("GET", "/volumes")["Volumes"] or []]


def test_a_second_up_changes_nothing(composer: Composer, project: Project) -> None:
    directory = project.write(STACK)
    first = composer.run("up", "-d", cwd=directory)
    assert f"Container {project.name}-one-1" in first.stderr
    before = ids(composer)
    second = composer.run("up", "-d", cwd=directory)
    assert ids(composer) == before
    assert f"Container {project.name}-one-1  Running" in second.stderr
    composer.run("up", "--wait", cwd=directory)
    assert f"Container {project.name}-one-1  Running" in composer.run("create", cwd=directory).stderr
    assert ids(composer) == before
    times: dict[str, list[float]] = {"ps": [], "up -d": []}
    for _ in range(5):
        for words, took in times.items():
            started = time.monotonic()
            composer.run(*words.split(), cwd=directory)
            took.append(time.monotonic() - started)
    assert min(times["up -d"]) < 5 * min(times["ps"]), times
    composer.run("down", cwd=directory)


def test_a_changed_service_is_recreated_alone(composer: Composer, project: Project) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    composer.run("exec", "-T", "one", "sh", "-c", "echo kept > /anonymous/file", cwd=directory)
    before = ids(composer)

    project.write(STACK.replace("VALUE: first", "VALUE: second"))
    composer.run("up", "-d", cwd=directory)

    after = ids(composer)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {f"{project.name}-one-1"}
    value = composer.run("exec", "-T", "one", "sh", "-c", "echo $VALUE; cat /anonymous/file", cwd=directory)
    assert value.stdout == "second\nkept\n"

    composer.run("up", "-d", "--force-recreate", "-V", cwd=directory)
    assert not set(ids(composer).values()) & set(after.values())
    composer.run("exec", "-T", "one", "test", "-e", "/anonymous/file", cwd=directory, status=1)
    composer.run("down", cwd=directory)


def test_every_command_tells_what_is_odd_about_the_file(composer: Composer, project: Project) -> None:
    directory = project.write("services: {one: {image: composer.local/host, command: 'sleep 1000$NOT_SET'}}")
    for line in (
        "up -d",
        "ps",
        "logs",
        "exec one true",
        "run --rm one true",
        "rm -f",
        "restart -t 0",
        "down -t 0",
    ):
        told = composer.run(*line.split(), cwd=directory).stderr
        assert told.count('The \\"NOT_SET\\" variable is not set') == 1, line


def test_scale_up_and_down(composer: Composer, project: Project) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", "--scale", "two=3", cwd=directory)
    before = ids(composer)
    assert sorted(before) == [f"{project.name}-{name}" for name in ("one-1", "two-1", "two-2", "two-3")]
    composer.run("scale", "two=1", cwd=directory)
    assert sorted(ids(composer)) == [f"{project.name}-one-1", f"{project.name}-two-1"]
    assert ids(composer).items() <= before.items()
    composer.run("down", cwd=directory)


def test_stop_start_restart_kill_rm(composer: Composer, project: Project) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    before = ids(composer)

    def states() -> dict[str, str]:
        return {
            found["Names"][0].rpartition(f"{project.name}-")[2]: found["State"]
            for found in composer.containers()
        }

    composer.run("stop", cwd=directory)
    assert states() == {"one-1": "exited", "two-1": "exited"}
    composer.run("start", cwd=directory)
    assert states() == {"one-1": "running", "two-1": "running"}
    pid = composer.inspect(before[f"{project.name}-one-1"])["State"]["Pid"]
    composer.run("restart", "one", cwd=directory)
    assert composer.inspect(before[f"{project.name}-one-1"])["State"]["Pid"] != pid
    composer.run("pause", "one", cwd=directory)
    assert states()["one-1"] == "paused"
    composer.run("unpause", "one", cwd=directory)
    assert states()["one-1"] == "running"
    composer.run("kill", "two", cwd=directory)
    wait_for(lambda: states()["two-1"] == "exited", "the killed container to have exited")
    assert composer.inspect(before[f"{project.name}-two-1"])["State"]["ExitCode"] == 137
    composer.run("rm", "-f", cwd=directory)
    assert states() == {"one-1": "running"}
    composer.run("down", cwd=directory)


def test_down_removes_what_up_made(composer: Composer, project: Project) -> None:
    directory = project.write(
        STACK
        + """
    volumes: ["named:/data"]
    networks: [default, back]
networks: {back: {}}
volumes: {named: {}}
"""
    )
    composer.run("up", "-d", cwd=directory)
    names = {network["Name"] for network in composer.api("GET", "/networks")}
    assert {f"{project.name}_default", f"{project.name}_back"} <= names
    composer.run("down", cwd=directory)
    assert composer.containers() == []
    assert {network["Name"] for network in composer.api("GET", "/networks")} <= {"bridge", "host", "none"}
    # Volumes stay, the anonymous one too, as under Docker Compose.
    assert f"{project.name}_named" in volumes(composer) and len(volumes(composer)) == 2
    composer.run("up", "-d", cwd=directory)
    assert len(volumes(composer)) == 3
    composer.run("down", "-v", cwd=directory)
    assert f"{project.name}_named" not in volumes(composer) and len(volumes(composer)) == 1
    composer.run("volume", "prune", "-f", cwd=directory)
    assert volumes(composer) == []
    assert list((composer.paths.run / "containers").glob("*")) == []
    assert list(composer.paths.container("x").parent.glob("*")) == []


def test_orphans(composer: Composer, project: Project) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    project.write(STACK.partition("  two:")[0])
    told = composer.run("up", "-d", cwd=directory)
    assert "two-1" in told.stderr and "--remove-orphans" in told.stderr
    composer.run("up", "-d", "--remove-orphans", cwd=directory)
    assert sorted(ids(composer)) == [f"{project.name}-one-1"]
    composer.run("down", cwd=directory)


def test_down_and_one_offs_that_go_by_themselves(composer: Composer, project: Project) -> None:
    """Both remove the same containers at the same time; whoever comes second has nothing to complain of."""
    directory = project.write(STACK)
    for _ in range(4):
        composer.run("run", "-d", "--rm", "--no-deps", "two", cwd=directory)
    core = composer.processes("composer-core")
    composer.run("down", "--remove-orphans", "-t", "0", cwd=directory)
    wait_for(lambda: not composer.containers(), "all to be gone")
    assert composer.processes("composer-core") == core


def test_down_of_nothing(composer: Composer, project: Project) -> None:
    directory = project.write(STACK)
    done = composer.run("down", cwd=directory)
    assert done.stdout == ""


def test_a_project_is_found_by_its_name_alone(composer: Composer, project: Project, tmp_path: Path) -> None:
    """With ``-p`` a file of something else that lies in the directory does not count."""
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.joinpath("compose.yaml").write_text("services: {other: {image: composer.local/host}}")
    name = ("-p", project.name)
    composer.run(*name, "stop", "-t", "0", "two", cwd=elsewhere)
    assert composer.run(*name, "ps", "--services", cwd=elsewhere).stdout == "one\n"
    composer.run(*name, "start", cwd=elsewhere)
    assert composer.run(*name, "ps", "--services", cwd=elsewhere).stdout == "one\ntwo\n"
    composer.run(*name, "down", "-t", "0", cwd=elsewhere)
    assert composer.containers() == []
    again = composer.run(*name, "down", cwd=elsewhere)
    assert f'No resource found to remove for project \\"{project.name}\\"' in again.stderr
    assert composer.run("-p", "nothing", "ps", "-q", cwd=tmp_path).stdout == ""


@pytest.mark.smoke
def test_limits_and_readings(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  one:
    image: composer.local/host
    command: python3 -c "import time; data = bytearray(30_000_000); time.sleep(1000)"
    mem_limit: 100m
    pids_limit: 20
    cpus: 0.5
""")
    composer.run("up", "-d", "--wait", cwd=directory)
    name = f"{project.name}-one-1"
    read = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true"
    assert composer.run("exec", "-T", "one", "sh", "-c", read, cwd=directory).stdout.split() == ["104857600"]
    wait_for(
        lambda: (
            composer.api("GET", f"/containers/{name}/stats?stream=0")["memory_stats"]["usage"] > 30_000_000
        ),
        "memory to be used",
    )
    stats = composer.api("GET", f"/containers/{name}/stats?stream=0&one-shot=1")
    assert stats["memory_stats"]["limit"] == 104857600
    assert stats["pids_stats"]["current"] >= 1
    assert stats["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    # More processes than it may have.
    forks = "i=0; while [ $i -lt 40 ]; do sleep 30 > /dev/null 2>&1 & i=$((i+1)); done"
    done = composer.run("exec", "-T", "one", "sh", "-c", forks, cwd=directory, status=None)
    assert done.returncode != 0
    assert "fork" in (done.stdout + done.stderr).lower()
    composer.run("down", "-t", "0", cwd=directory)


RELUCTANT = """
services:
  web:
    image: composer.local/host
    command: ["sh", "-c", "trap 'test -e /dev/shm/go && exit' TERM USR1; while :; do sleep 0.05; done"]
    environment: {CHANGE: "${CHANGE:-}"}
    stop_grace_period: 60s
"""


def test_who_waits_for_a_turn_acts_on_what_is_there_then(composer: Composer, project: Project) -> None:
    """`restart` comes while `up` is replacing the container: it restarts the new one."""
    directory = project.write(RELUCTANT)
    composer.run("up", "-d", cwd=directory)
    name = f"{project.name}-web-1"
    old = composer.inspect(name)
    env = {**composer.env, "CHANGE": "1"}
    up = composer.start("up", "-d", cwd=directory, env=env)
    assert up.stderr is not None
    assert any("Recreate" in line for line in iter(up.stderr.readline, ""))
    restart = composer.start("restart", "-t", "0", "web", cwd=directory, env=env)
    assert restart.stderr is not None
    first = restart.stderr.readline()
    assert "waiting for `composer up`" in first
    Path(f"/proc/{old['State']['Pid']}/root/dev/shm/go").touch()
    composer.run("container", "kill", "-s", "USR1", name, status=None)  # or TERM came after the file
    assert up.wait(60) == 0
    _, problem = restart.communicate(timeout=60)
    assert restart.returncode == 0, problem
    new = composer.inspect(name)
    assert new["Id"] != old["Id"]
    assert new["State"]["Running"]


def test_events_of_what_a_container_uses(composer: Composer, project: Project) -> None:
    """As Docker's: volumes and networks come and go with each run, and a probe is an exec."""
    directory = project.write("""
services:
  web:
    image: composer.local/host
    init: true
    command: sleep infinity
    volumes: ["data:/data:ro", "/more"]
    healthcheck: {test: "true", interval: 500ms}
volumes: {data: {}}
""")
    composer.run("create", cwd=directory)
    listener = composer.start("system", "events", "--format", "{{json .}}")
    assert listener.stdout is not None
    tries = itertools.count()

    def is_heard() -> bool:
        composer.run("volume", "create", f"told{next(tries)}")
        return bool(select.select([listener.stdout], [], [], 0.1)[0])

    wait_for(is_heard, "the listener")
    composer.run("up", "-d", "--wait", cwd=directory)
    composer.run("stop", cwd=directory)
    network = composer.inspect(f"{project.name}-web-1")["NetworkSettings"]["Networks"]
    assert list(network) == [f"{project.name}_default"]
    composer.run("down", "-v", cwd=directory)
    composer.run("volume", "prune", "-af")
    events = []
    bound = threading.Timer(PATIENCE, listener.kill)
    bound.start()
    for line in listener.stdout:
        events.append(json.loads(line))
        if events[-1]["Action"] == "destroy" and events[-1]["Actor"]["ID"] == "told0":
            break
    else:
        pytest.fail(f"the last event was not told within {PATIENCE} s, only {events}")
    bound.cancel()
    listener.kill()
    listener.communicate()
    actions = [(event["Type"], event["Action"]) for event in events]
    order = [
        ("network", "connect"),
        ("volume", "mount"),
        ("container", "start"),
        ("container", "exec_create: /bin/sh -c true"),
        ("container", "exec_start: /bin/sh -c true"),
        ("container", "exec_die"),
        ("container", "health_status: healthy"),
        ("container", "die"),
        ("network", "disconnect"),
        ("volume", "unmount"),
        ("container", "stop"),
    ]
    assert [actions.index(action) for action in order] == sorted(actions.index(action) for action in order)
    assert actions.count(("volume", "mount")) == actions.count(("volume", "unmount")) == 2
    mounted = {
        event["Actor"]["Attributes"]["destination"]: event["Actor"]["Attributes"]["read/write"]
        for event in events
        if event["Action"] == "mount"
    }
    assert mounted == {"/data": "false", "/more": "true"}


@pytest.mark.parametrize("words", [("rm", "-f"), ("stop", "-t", "1"), ("kill",)])
def test_who_is_less_patient_ends_a_long_stop(composer: Composer, words: tuple[str, ...]) -> None:
    script = "trap 'echo asked' TERM; echo begun; while :; do sleep 0.1; done"
    composer.run("container", "run", "-d", "--name", "slow", "composer.local/host", "sh", "-c", script)
    wait_for(lambda: "begun" in composer.run("container", "logs", "slow").stdout, "the trap")
    stopping = composer.start("container", "stop", "-t", "600", "slow")
    wait_for(lambda: "asked" in composer.run("container", "logs", "slow").stdout, "the signal")
    composer.run("container", *words, "slow")
    assert stopping.wait(30) == 0
    stopping.communicate()
    composer.run("container", "rm", "-f", "slow", status=None)
