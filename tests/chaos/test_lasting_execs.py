"""``exec`` while its engine is killed: the command goes on, its output is whole, and its exit status is told."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, is_gone, parent_of, wait_for

STACK = """
services:
  one: {image: composer.local/host, init: true, command: sleep infinity}
"""
WORK = "echo begin; until test -e /dev/shm/go; do sleep 0.05; done; seq 20000; echo end >&2; exit 5"
OUTPUT = "".join(f"{number}\n" for number in range(1, 20001))
KILLS: dict[str, Callable[[Composer], object]] = {
    "core": lambda composer: composer.kill("composer-core"),
    "core and keeper": Composer.kill_engine,
}


class Container:
    def __init__(self, composer: Composer, project: Project) -> None:
        self.composer = composer
        self.directory = project.write(STACK)
        self.name = f"{project.name}-one-1"
        composer.run("up", "-d", cwd=self.directory)
        self.pid: int = composer.inspect(self.name)["State"]["Pid"]

    def exec(self, script: str, *options: str, **streams: int) -> subprocess.Popen[str]:
        words = ("exec", *options, "one", "sh", "-c", script)
        return self.composer.start(*words, cwd=self.directory, **streams)

    def go(self, name: str = "go") -> None:
        Path(f"/proc/{self.pid}/root/dev/shm/{name}").touch()

    def process(self) -> int:
        """The one exec's."""
        (exec_id,) = self.composer.inspect(self.name)["ExecIDs"]
        pid: int = self.composer.api("GET", f"/exec/{exec_id}/json")["Pid"]
        return pid


@pytest.fixture
def container(composer: Composer, project: Project) -> Iterator[Container]:
    made = Container(composer, project)
    yield made
    composer.run("down", "-t", "0", cwd=made.directory)


@pytest.mark.parametrize("victims", KILLS)
def test_what_is_written_and_its_end(container: Container, victims: str) -> None:
    command = container.exec(WORK, "-T")
    assert command.stdout is not None
    assert command.stdout.readline() == "begin\n"
    KILLS[victims](container.composer)
    container.go()
    out, err = command.communicate(timeout=120)
    assert (command.returncode, err) == (5, "end\n")
    assert out == OUTPUT


def test_what_ends_while_there_is_no_engine(container: Container) -> None:
    command = container.exec(
        "echo begin; until test -e /dev/shm/go; do sleep 0.05; done; echo last; exit 6", "-T"
    )
    assert command.stdout is not None
    assert command.stdout.readline() == "begin\n"
    pid = container.process()
    command.send_signal(signal.SIGSTOP)
    container.composer.kill_engine()
    container.go()
    wait_for(partial(is_gone, pid), "the command to end")
    command.send_signal(signal.SIGCONT)
    assert (command.communicate(timeout=120), command.returncode) == (("last\n", ""), 6)


@pytest.mark.parametrize("tty", [False, True])
def test_what_ends_before_the_engine_that_is_killed_has_heard_of_it(container: Container, tty: bool) -> None:
    """It is told, and what was written is not read yet."""
    script = "echo begin; until test -e /dev/shm/go; do sleep 0.05; done; echo last; exit 6"
    master, slave = pty.openpty()
    try:
        streams = {"stdin": slave, "stdout": slave, "stderr": slave} if tty else {}
        command = container.exec(script, *([] if tty else ["-T"]), **streams)
        source = master if command.stdout is None else command.stdout.fileno()
        shown = b""
        while b"begin" not in shown:
            shown += os.read(source, 1000)
        pid = container.process()
        (core,) = container.composer.processes("composer-core")
        os.kill(core, signal.SIGSTOP)
        container.go()
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the shim to have collected the command")
        container.composer.kill_engine()
        assert command.wait(120) == 6
        os.set_blocking(source, False)
        shown += os.read(source, 1000)
        words = shown.split()  # a terminal is told that the engine takes a while to start
        assert (words[0], words[-1]) == (b"begin", b"last")
        command.communicate()
    finally:
        os.close(master)
        os.close(slave)


def test_a_terminal(container: Container) -> None:
    master, slave = pty.openpty()
    try:
        script = "echo begin; read word; echo got $word; exit 7"
        command = container.exec(script, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        seen = b""
        while b"begin" not in seen:
            seen += os.read(master, 1000)
        container.composer.kill_engine()

        def answer() -> bool:
            """What is typed while there is no engine is nobody's."""
            os.write(master, b"this\n")
            return command.poll() is not None

        wait_for(answer, "the command to end", 60)
        assert command.wait() == 7
        os.set_blocking(master, False)
        with contextlib.suppress(OSError):  # all is read
            while part := os.read(master, 1 << 20):
                seen += part
        assert b"got this" in seen
    finally:
        os.close(master)


def test_a_client_that_goes_away(container: Container) -> None:
    """Nobody keeps its output for it, neither the engine that it asked nor the next one's."""
    for kill in (lambda _: None, Composer.kill_engine):
        command = container.exec("echo begin; exec yes", "-T")
        assert command.stdout is not None
        assert command.stdout.readline() == "begin\n"
        pid = container.process()
        kill(container.composer)
        if kill is Composer.kill_engine:
            assert command.stdout.read(1 << 20)  # more than was on the way
            wait_for(lambda: container.composer.processes("composer-core"), "the next engine")
        command.kill()
        command.communicate()
        wait_for(partial(is_gone, pid), "the command to end")


def test_the_container_ends_as_well(container: Container) -> None:
    command = container.exec(WORK, "-T")
    assert command.stdout is not None
    assert command.stdout.readline() == "begin\n"
    command.send_signal(signal.SIGSTOP)
    container.composer.kill_engine()
    shim = parent_of(container.pid)  # as long as it is there, it can be asked
    os.kill(container.pid, signal.SIGKILL)
    wait_for(partial(is_gone, shim), "the container to end, and its shim")
    command.send_signal(signal.SIGCONT)
    _, err = command.communicate(timeout=120)
    assert command.returncode == 137
    assert "how the command ended is not known" in err


def test_input_that_was_cut_short_is_no_success(container: Container) -> None:
    """Half a dump, restored: the process finds the end of its input where the engine was killed, and ends with 0."""
    command = container.exec("echo begin; wc -c", "-T", stdin=subprocess.PIPE)
    assert command.stdin is not None and command.stdout is not None
    assert command.stdout.readline() == "begin\n"
    command.stdin.write("first\n")
    command.stdin.flush()
    container.composer.kill_engine()
    said = command.communicate("the rest\n", timeout=120)
    assert command.returncode == 1
    assert "may have been cut short" in said[1]
