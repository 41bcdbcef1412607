"""Reaching the engine, starting it when it is not there. Standard library only: the CLI's first steps.

The keeper is started detached (double fork, session of its own, output to the engine's log) and says through a pipe
when its core serves (or has died), so that nobody has to ask again and again. Two commands at once start one engine:
the keeper's lock decides, and the loser waits for the winner's socket.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from runtime.container import keeper
from runtime.crash_points import crash_point
from runtime.errors import ComposerError
from runtime.kernel import sockets
from runtime.storage.paths import LASTING_MODE, Paths

TIMEOUT = 60.0
"""Seconds an engine may take until it listens."""
SLOW = 1.0
"""Seconds after which whoever waits for it is told so."""
NOTIFY_ENVIRONMENT = keeper.NOTIFY_ENVIRONMENT


def connect(paths: Paths) -> socket.socket | None:
    """A stream to a running engine, or None."""
    try:
        return sockets.connect(paths.socket, socket.SOCK_STREAM)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except PermissionError:
        raise ComposerError(
            f"permission denied while connecting to {paths.socket}",
            hint="the engine belongs to root: use sudo",
        ) from None


def check_host() -> None:
    """Raises ComposerError when this cannot work here: not Linux, not root, an old kernel."""
    if not sys.platform.startswith("linux"):
        raise ComposerError("composer runs containers with the Linux kernel; this is not Linux")
    if os.uname().machine not in ("x86_64", "aarch64"):
        raise ComposerError(f"composer runs on x86_64 and aarch64, not on {os.uname().machine}")
    release = os.uname().release
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers < (5, 10):
        raise ComposerError(f"composer needs Linux 5.10 or newer; this is {release}")
    if os.geteuid() != 0:
        raise ComposerError("starting the engine needs root", hint="run the command with sudo")


def ensure_engine(
    paths: Paths, core_argv: list[str], is_slow: Callable[[], None] = lambda: None
) -> socket.socket:
    """A stream connected to the engine, which is started when it does not run.

    ``core_argv`` is the core's command line, the interpreter's absolute path first. ``is_slow`` is called when it takes
    more than :data:`SLOW` seconds. Raises ComposerError."""
    if (connection := connect(paths)) is not None:
        return connection
    check_host()
    deadline = time.monotonic() + TIMEOUT
    while True:
        start_keeper(paths, core_argv, deadline, is_slow)
        if (connection := connect(paths)) is not None:
            return connection
        # Another command's keeper has the lock and does not listen yet, or an engine is just ending.
        if time.monotonic() > deadline:
            raise ComposerError("the engine does not start", hint=f"its log is {paths.engine_log}")
        time.sleep(0.01)


def start_keeper(paths: Paths, core_argv: list[str], deadline: float, is_slow: Callable[[], None]) -> None:
    """Start a keeper; returns when its core serves, or when another one has the lock.

    Raises ComposerError with what it wrote to the engine's log when it does not come up."""
    log = _open_log(paths)
    log_size = os.fstat(log).st_size
    reader, writer = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        raise ComposerError(f"the engine could not be started: fork: {error.strerror}") from error
    if child == 0:
        _detach(paths, core_argv, writer, log)
    os.close(writer)
    os.close(log)
    os.waitpid(child, 0)
    crash_point("cli.engine.forked")
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    try:
        if not poll.poll(SLOW * 1000):
            is_slow()
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise ComposerError("the engine does not start", hint=_last_lines(paths.engine_log, log_size))
        word = os.read(reader, 64)
    finally:
        os.close(reader)
    if word not in (keeper.READY, keeper.LOCKED):
        hint = f"{_last_lines(paths.engine_log, log_size)}\n`composer engine doctor` tells what this machine lacks"
        raise ComposerError("the engine could not be started", hint=hint)


def _open_log(paths: Paths) -> int:
    """The engine's log, and the directories that it needs. Raises ComposerError: where nothing can be written, nothing
    can be run."""
    path = paths.lib
    try:
        for path, mode in ((paths.lib, LASTING_MODE), (paths.run, 0o711)):
            os.makedirs(path, mode, exist_ok=True)
        path = paths.lib
        if os.stat(path).st_mode & 0o077:
            os.chmod(path, LASTING_MODE)  # made by an older version
        path = paths.engine_log
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        from runtime.storage.files import storage_error

        raise storage_error(error, "the engine could not be started: write", path) from error
    return log


def _detach(paths: Paths, core_argv: list[str], writer: int, log: int) -> NoReturn:
    """In the child: leave the terminal and the command's process tree, then be the keeper."""
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for target, fd in ((0, null), (1, log), (2, log)):
            os.dup2(fd, target)
        os.set_inheritable(writer, True)
        environment = clean_environment()
        environment[NOTIFY_ENVIRONMENT] = str(writer)
        argv = keeper_argv(paths, core_argv)
        os.execve(argv[0], argv, environment)
    finally:
        os._exit(127)


def keeper_argv(paths: Paths, core_argv: list[str]) -> list[str]:
    """The keeper's command line: no site-packages, nothing but the standard library and this package."""
    root = str(Path(__file__).resolve().parents[2])
    start = f"import sys; sys.path.insert(0, {root!r}); from runtime.container.keeper import main; main()"
    return [sys.executable, "-S", "-E", "-P", "-c", start, str(paths.run), *core_argv]


def clean_environment() -> dict[str, str]:
    """What the engine keeps of the environment of the command that happened to start it."""
    kept = ("PATH", "HOME", "USER", "LANG", "TMPDIR", "COMPOSER_ROOT", "SSL_CERT_FILE", "SSL_CERT_DIR")
    proxies = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or name in proxies or name.startswith(("COMPOSER_", "XDG_"))
    }


def replace_keeper(paths: Paths, core_argv: list[str], listener: int, lock: int) -> tuple[socket.socket, int]:
    """For a core whose keeper was killed: start another one that goes on in its place.

    ``listener`` and ``lock`` are the descriptors that the core inherited. Returns the core's end of the connection and
    the new keeper's process id, a child of this process; the old connection is of no more use. Spawned, not forked: a
    core has threads, and a fork of it could wait for ever for what one of them held."""
    import subprocess

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    descriptors = (theirs.fileno(), listener, lock)
    environment = dict(os.environ)
    environment.pop(keeper.CORE_ENVIRONMENT, None)
    environment[keeper.REPLACEMENT_ENVIRONMENT] = ",".join(map(str, (*descriptors, os.getpid())))
    argv = keeper_argv(paths, core_argv)
    with theirs:
        # Not posix_spawn(3): with glibc it leaves two signals ignored that containers would inherit.
        process = subprocess.Popen(argv, env=environment, pass_fds=descriptors, start_new_session=True)
    process.returncode = 0  # it is collected by whoever waits for the keeper's end
    return ours, process.pid


def _last_lines(log: Path, start: int) -> str:
    """The end of what was added to the log behind ``start``, for people."""
    try:
        with open(log, "rb") as file:
            file.seek(start)
            lines = file.read(1 << 20).decode(errors="replace").splitlines()
    except OSError:
        lines = []
    if not lines:
        return f"its log is {log}"
    return "\n".join([f"the end of its log ({log}):", *lines[-8:]])
