"""Starting an engine: keeper and core detached, one for all who ask, a clear word when it does not come up."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.container.bootstrap import connect, ensure_engine
from runtime.errors import ComposerError
from runtime.storage.paths import Paths

ROOT = Path(__file__).resolve().parents[3]
CORE = f"""
import os, sys, socket
sys.path.insert(0, {str(ROOT)!r})
import trio
from runtime.container.client import (inherit)
given = inherit()
async def main():
    await given.keeper.ready()
    listener = trio.socket.from_stdlib_socket(given.listener)
    while True:
        connection, _ = await listener.accept()
        word = await connection.recv(100)
        if word == b"stop":
            await given.keeper.end()
            return
        await connection.send(b"%d %d" % (os.getpid(), given.keeper.pid))
        connection.close()
trio.run(main)
"""


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Callable[[str], list[str]]]:
    """Writes a core's program; whatever was started is stopped at the end."""

    def write(program: str) -> list[str]:
        path = tmp_path / "core.py"
        path.write_text(program)
        return [sys.executable, str(path)]

    yield write
    paths = Paths(tmp_path / "lib", tmp_path / "run")
    if (connection := connect(paths)) is not None:
        pids = ask(connection)
        pidfds = [os.pidfd_open(pid) for pid in pids]
        stopping = connect(paths)
        assert stopping is not None
        stopping.sendall(b"stop")
        for pidfd in pidfds:
            wait_for_end(pidfd)
        stopping.close()
    assert not paths.socket.exists(), "the keeper ends with its core"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "lib", tmp_path / "run")


def ask(connection: socket.socket) -> tuple[int, int]:
    """Process ids of core and keeper."""
    with connection:
        connection.settimeout(60)
        connection.sendall(b"who")
        core_pid, keeper_pid = map(int, connection.recv(100).split())
    return core_pid, keeper_pid


def wait_for_end(pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(60_000), "the process does not end"
    os.close(pidfd)


def test_starts_and_is_found_again(paths: Paths, core: Callable[[str], list[str]]) -> None:
    argv = core(CORE)
    first = ask(ensure_engine(paths, argv))
    assert ask(ensure_engine(paths, argv)) == first
    for pid in first:
        assert os.getsid(pid) != os.getsid(0)
    parent = int(Path(f"/proc/{first[0]}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent == first[1], "the core is the keeper's child"


def test_a_slow_start_is_told_of_once(paths: Paths, core: Callable[[str], list[str]]) -> None:
    told: list[str] = []
    argv = core(CORE.replace("import trio\n", "import trio, time; time.sleep(1.2)\n"))
    ask(ensure_engine(paths, argv, lambda: told.append("slow")))
    assert told == ["slow"]
    ask(ensure_engine(paths, argv, lambda: told.append("again")))
    assert told == ["slow"]


def test_commands_at_once_start_one_engine(paths: Paths, core: Callable[[str], list[str]]) -> None:
    command = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from runtime.container.bootstrap import ensure_engine
from runtime.storage.paths import Paths
connection = ensure_engine(Paths(Path({str(paths.lib)!r}), Path({str(paths.run)!r})), {core(CORE)!r})
connection.sendall(b"who")
print(connection.recv(100).decode())
"""
    commands = [subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE) for _ in range(6)]
    found = {process.communicate(timeout=60)[0] for process in commands}
    assert [process.returncode for process in commands] == [0] * 6
    assert len(found) == 1
    assert len(found.pop().split()) == 2


def test_core_that_dies_while_it_starts(paths: Paths, core: Callable[[str], list[str]]) -> None:
    argv = core("raise SystemExit('disk on fire')")
    with pytest.raises(ComposerError, match="could not be started") as caught:
        ensure_engine(paths, argv)
    assert "disk on fire" in caught.value.hint
    assert connect(paths) is None


def test_core_is_started_again(paths: Paths, core: Callable[[str], list[str]]) -> None:
    argv = core(CORE)
    first, keeper = ask(ensure_engine(paths, argv))
    pidfd = os.pidfd_open(first)
    os.kill(first, signal.SIGKILL)
    wait_for_end(pidfd)
    second, same = ask(ensure_engine(paths, argv))
    assert second != first
    assert same == keeper


def test_program_that_is_missing(paths: Paths, core: Callable[[str], list[str]]) -> None:
    with pytest.raises(ComposerError, match="could not be started") as caught:
        ensure_engine(paths, ["/no/such/python"])
    assert "/no/such/python" in caught.value.hint
