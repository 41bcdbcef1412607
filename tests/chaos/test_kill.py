"""``kill -9`` of the core, the keeper and shims while a stack runs: containers run on, and nothing is lost."""

from __future__ import annotations

import itertools
import signal
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, is_gone, wait_for

COUNTING = """
services:
  count:
    image: composer.local/host
    init: true
    restart: unless-stopped
    command: sh -c 'i=0; while :; do echo line $$i; i=$$((i+1)); sleep 0.01; done'
  short:
    image: composer.local/host
    restart: on-failure:2
    command: sh -c 'sleep 1.5; exit 5'
  last:
    image: composer.local/host
    command: sh -c 'sleep 1.5; echo the last word; exit 6'
"""


def pid_of(composer: Composer, name: str) -> int:
    pid: int = composer.inspect(name)["State"]["Pid"]
    return pid


def is_answered(composer: Composer, words: list[str], directory: Path) -> bool:
    return composer.run(*words, cwd=directory, status=None).returncode == 0


def lines(composer: Composer, directory: Path) -> list[int]:
    out = composer.run("logs", "--no-log-prefix", "count", cwd=directory).stdout
    return [int(line.split()[1]) for line in out.splitlines()]


@pytest.mark.parametrize(
    "victims", [("composer-core",), ("composer-keeper",), ("composer-keeper", "composer-core")], ids="+".join
)
def test_killed_while_a_stack_runs(composer: Composer, project: Project, victims: tuple[str, ...]) -> None:
    directory = project.write(COUNTING)
    composer.run("up", "-d", cwd=directory)
    count = f"{project.name}-count-1"
    pid = pid_of(composer, count)
    for victim in victims:
        assert composer.kill(victim)

    # Nothing has happened to the container, and the next command finds it.
    assert not is_gone(pid)
    found = composer.run("ps", "-q", "count", cwd=directory).stdout.strip()
    assert found
    assert pid_of(composer, count) == pid

    # Every line is there, those too that were written while nobody looked after the container.
    seen = lines(composer, directory)
    assert seen == list(range(len(seen)))
    wait_for(lambda: len(lines(composer, directory)) > len(seen) + 10, "the log to go on")

    # The exit status of what ended meanwhile, its last words, and the restart policy.
    last, short = f"{project.name}-last-1", f"{project.name}-short-1"
    wait_for(lambda: composer.inspect(last)["State"]["Status"] == "exited", "the one-shot to end")
    assert composer.inspect(last)["State"]["ExitCode"] == 6
    assert composer.run("logs", "--no-log-prefix", "last", cwd=directory).stdout == "the last word\n"
    wait_for(lambda: composer.inspect(short)["RestartCount"] == 2, "two restarts")
    wait_for(lambda: composer.inspect(short)["State"]["Status"] == "exited", "the policy to give up")
    assert composer.inspect(short)["State"]["ExitCode"] == 5

    composer.run("exec", "-T", "count", "true", cwd=directory)
    composer.run("down", "-t", "1", cwd=directory)
    assert is_gone(pid)


def test_killed_again_and_again(composer: Composer, project: Project) -> None:
    directory = project.write(COUNTING)
    composer.run("up", "-d", "count", cwd=directory)
    pid = pid_of(composer, f"{project.name}-count-1")
    for victim in itertools.islice(itertools.cycle(("composer-core", "composer-keeper")), 6):
        composer.run("ps", cwd=directory)
        assert composer.kill(victim)
    seen = lines(composer, directory)
    assert seen == list(range(len(seen)))
    assert pid_of(composer, f"{project.name}-count-1") == pid
    composer.run("down", "-t", "1", cwd=directory)


def test_a_killed_shim_takes_its_container_along(composer: Composer, project: Project) -> None:
    directory = project.write(COUNTING)
    composer.run("up", "-d", "count", cwd=directory)
    name = f"{project.name}-count-1"
    pid = pid_of(composer, name)
    assert composer.kill("composer-shim")
    wait_for(lambda: is_gone(pid), "the container's process to end")
    # Its policy says that it runs. The engine may take it for running as long as it has not heard of the end.
    wait_for(lambda: pid_of(composer, name) not in (0, pid), "the container to be started again")
    assert composer.inspect(name)["State"]["Running"]
    composer.run("down", "-t", "1", cwd=directory)


def test_a_client_sees_a_pause_not_an_error(composer: Composer, project: Project) -> None:
    """The listening socket outlives the core."""
    directory = project.write(COUNTING)
    composer.run("up", "-d", "count", cwd=directory)
    composer.kill("composer-core")
    assert composer.run("ps", "-q", cwd=directory).stdout.count("\n") == 1
    composer.run("down", "-t", "1", cwd=directory)


def test_published_ports_and_names_work_after_a_kill(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  web:
    image: composer.local/host
    command: python3 -m http.server 8000
    ports: ["127.0.0.1::8000"]
  client:
    image: composer.local/host
    command: sleep infinity
""")
    composer.run("up", "-d", cwd=directory)
    for victim in ("composer-core", "composer-keeper"):
        composer.kill(victim)
        address = composer.run("port", "web", "8000", cwd=directory).stdout.strip()
        fetch = "import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=30).read()"
        ask = ["exec", "-T", "client", "python3", "-c", fetch, "http://web:8000/"]
        wait_for(partial(is_answered, composer, ask, directory), "the name to be resolved")
        with urllib.request.urlopen(f"http://{address}/", timeout=30) as answer:
            assert answer.status == 200
    composer.run("down", "-t", "0", cwd=directory)


def test_an_attached_up_goes_on_with_the_next_core(composer: Composer, project: Project) -> None:
    directory = project.write(
        "services:\n  count:\n    image: composer.local/host\n    stop_grace_period: 0s\n"
        "    command: sh -c 'i=0; while :; do echo $$i; i=$$((i+1)); sleep 0.1; done'\n"
    )
    attached = composer.start("up", "--no-log-prefix", cwd=directory)
    assert attached.stdout is not None
    assert attached.stdout.readline().startswith("Attaching to")
    seen = [int(attached.stdout.readline()) for _ in range(5)]
    composer.kill("composer-core")
    seen += [int(attached.stdout.readline()) for _ in range(40)]
    assert seen == list(range(45))
    attached.send_signal(signal.SIGINT)
    attached.communicate(timeout=60)
    assert attached.returncode == 130
    assert [found["State"] for found in composer.containers()] == ["exited"]
    composer.run("down", cwd=directory)
    assert "Traceback" not in composer.paths.engine_log.read_text()


def test_commands_that_say_what_is_to_be_go_on_with_the_next_core(
    composer: Composer, project: Project
) -> None:
    """Also those about single containers."""
    words = ("sh", "-c", "trap 'echo asked' TERM; echo begun; while :; do sleep 0.1; done")
    composer.run("container", "run", "-d", "--name", "slow", "composer.local/host", *words)
    wait_for(lambda: "begun" in composer.run("container", "logs", "slow").stdout, "the trap")
    stopping = composer.start("container", "stop", "-t", "3", "slow")
    wait_for(lambda: "asked" in composer.run("container", "logs", "slow").stdout, "the signal")
    composer.kill("composer-core")
    out, problem = stopping.communicate(timeout=60)
    assert (stopping.returncode, out, problem) == (0, "slow\n", "")
    assert composer.inspect("slow")["State"]["Status"] == "exited"

    composer.run("container", "start", "slow")
    wait_for(lambda: composer.run("container", "logs", "slow").stdout.count("begun") == 2, "the trap")
    before = composer.run("container", "logs", "slow").stdout.count("asked")
    stopping = composer.start("container", "stop", "-t", "600", "slow")
    wait_for(lambda: composer.run("container", "logs", "slow").stdout.count("asked") > before, "the signal")
    removing = composer.start("container", "rm", "-f", "slow")
    composer.kill("composer-core")
    out, problem = removing.communicate(timeout=60)
    assert (removing.returncode, out) == (0, "slow\n"), problem
    stopping.communicate(timeout=60)
    assert composer.containers() == []
