"""``--ssh ID=KEY``: keys in files, looked after by an agent of OpenSSH (ssh-agent(1)) for the length of a build.

The agent is started with a command that ends when our end of a pipe does: it looks for that command every ten seconds,
so it ends with its keys however the engine ends. Keys reach it through a pipe: modes of their files do not count, as
with Docker.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from runtime.errors import ComposerError, InvalidArgument
from runtime.storage.files import read_regular

_KEY_LIMIT = 1 << 20
_PATIENCE = 10.0
"""Seconds for the agent to listen, and for it to take a key."""
_COMMAND = 'echo "$SSH_AGENT_PID"; exec cat > /dev/null'


@asynccontextmanager
async def agent_with(keys: Sequence[str], directory: Path, env: Mapping[str, str]) -> AsyncIterator[str]:
    """The socket, in ``directory`` (empty), of an agent that has ``keys``. Raises ComposerErrors."""
    programs = [shutil.which(name, path=env.get("PATH") or os.defpath) for name in ("ssh-agent", "ssh-add")]
    agent, add = programs
    if agent is None or add is None:
        raise ComposerError(
            "keys for --ssh need ssh-agent and ssh-add, which this machine does not have",
            hint="install OpenSSH's client, or name the socket of an agent that has the keys",
        )
    directory.chmod(0o700)
    surroundings = {"PATH": env.get("PATH") or os.defpath, "SSH_ASKPASS_REQUIRE": "never"}
    # In the directory: the names of sockets are short (unix(7)), those of state roots need not be.
    process = subprocess.Popen(
        [agent, "-a", "agent", "sh", "-c", _COMMAND],
        cwd=directory,
        env=surroundings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pid = 0
    try:
        pid = await _pid_of(process)
        for key in keys:
            await trio.to_thread.run_sync(partial(_add, add, key, directory, surroundings))
        yield str(directory / "agent")
    finally:
        if pid:
            os.kill(pid, signal.SIGTERM)  # a child of the command, which has not ended: the pid is its own
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(process.wait)


async def _pid_of(process: subprocess.Popen[bytes]) -> int:
    """The agent's, which listens then. Raises ComposerError."""
    assert process.stdout is not None
    line = b""
    with trio.move_on_after(_PATIENCE):
        while not line.endswith(b"\n"):
            await trio.lowlevel.wait_readable(process.stdout.fileno())
            if not (piece := os.read(process.stdout.fileno(), 64)):
                break
            line += piece
    if not line.strip().isdigit():
        raise ComposerError("ssh-agent cannot be started")
    return int(line)


def _add(program: str, key: str, directory: Path, env: Mapping[str, str]) -> None:
    """Give the agent a key. Blocking."""
    try:
        data = read_regular(os.path.realpath(key), limit=_KEY_LIMIT)
    except OSError as error:
        raise ComposerError(f"ssh key {key}: {os.strerror(error.errno or 0)}") from None
    try:
        done = subprocess.run(
            [program, "-q", "-"],
            cwd=directory,
            env={**env, "SSH_AUTH_SOCK": "agent"},
            input=data,
            capture_output=True,
            timeout=_PATIENCE,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise ComposerError(f"ssh key {key}: ssh-add does not end") from None
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise InvalidArgument(
            f"ssh key {key}: {told or 'it is no key, or it has a passphrase'}",
            hint=f"a key with a passphrase is for an agent of yours: ssh-add {key}, and --ssh default",
        )
