"""Signals in great number, at commands and at the engine: commands end without a traceback, the engine ends in order,
containers go on, and the next command works."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, is_gone, wait_for

STACK = """
services:
  web:
    image: composer.local/host
    command: ["sh", "-c", "trap 'exit 0' TERM; echo began; while :; do sleep 0.1; done"]
  worker:
    image: composer.local/host
    init: true
    command: sleep infinity
    scale: 2
"""
ROOT = Path(__file__).resolve().parents[2]
STORM = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def storm(process: subprocess.Popen[str], numbers: tuple[signal.Signals, ...], seconds: float = 1.0) -> None:
    """As many as a process gets in a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        time.sleep(0.002)


COMMANDS = (["up", "-d"], ["up"], ["logs", "-f"], ["restart"], ["run", "--rm", "worker"], ["down", "-t", "0"])


def test_at_commands(composer: Composer, project: Project) -> None:
    directory = project.write(STACK)
    composer.run("engine", "start")
    for words in COMMANDS:
        for delay in (0.0, 0.05, 0.15):
            process = composer.start(*words, cwd=directory)
            time.sleep(delay)  # so that different places are hit
            storm(process, STORM[:2] if delay else STORM)
            _, err = process.communicate(timeout=60)
            assert "Traceback" not in err or f'File "{ROOT}' not in err, err  # Python's own start is not ours
    composer.run("up", "-d", "--remove-orphans", cwd=directory)
    running = [one["Labels"]["com.docker.compose.service"] for one in composer.containers(everything=False)]
    assert [service for service in sorted(running) if service == "web"] == ["web"]
    composer.run("down", "-t", "1", "--remove-orphans", cwd=directory)
    assert composer.containers() == []


def test_at_an_attached_one(composer: Composer, project: Project) -> None:
    """The first is graceful, the second forces, more do not matter."""
    directory = project.write(STACK)
    process = composer.start("up", cwd=directory)
    assert process.stdout is not None
    while "began" not in process.stdout.readline():
        assert process.poll() is None
    storm(process, (signal.SIGINT,))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err, err
    wait_for(lambda: not composer.containers(everything=False), "all to be stopped")
    composer.run("down", "-t", "1", cwd=directory)


def test_at_the_engine(composer: Composer, project: Project) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    pids = [composer.inspect(one["Id"])["State"]["Pid"] for one in composer.containers()]
    (core,), (keeper,) = composer.processes("composer-core"), composer.processes("composer-keeper")
    for _ in range(100):
        os.kill(core, signal.SIGHUP)
    composer.run("ps", cwd=directory)
    assert composer.processes("composer-core") == [core]
    # Told to end, again and again, while somebody asks: in order, and what runs goes on.
    asking = composer.start("restart", "-t", "1", cwd=directory)
    for _ in range(100):
        with contextlib.suppress(ProcessLookupError):
            os.kill(core, signal.SIGTERM)
            os.kill(core, signal.SIGINT)
    wait_for(lambda: is_gone(core), "the core to end")
    wait_for(lambda: is_gone(keeper), "the keeper to end")
    assert "Traceback" not in asking.communicate(timeout=60)[1]
    log = composer.paths.engine_log.read_text()
    assert "Traceback" not in log
    assert "containers go on" in log
    composer.run("up", "-d", cwd=directory)
    now = [composer.inspect(one["Id"])["State"] for one in composer.containers()]
    assert all(state["Running"] for state in now)
    assert len(now) == len(pids)
    # Signals to the keeper end it, as SIGKILL does; to shims they are nothing.
    (keeper,) = composer.processes("composer-keeper")
    for shim in composer.processes("composer-shim"):
        for number in STORM:
            os.kill(shim, number)
    for number in STORM:
        with contextlib.suppress(ProcessLookupError):
            os.kill(keeper, number)
    composer.run("ps", cwd=directory)
    wait_for(lambda: composer.processes("composer-keeper") not in ([], [keeper]), "another keeper")
    assert [composer.inspect(one["Id"])["State"]["Pid"] for one in composer.containers()] == [
        state["Pid"] for state in now
    ]
    composer.run("down", "-t", "1", cwd=directory)
