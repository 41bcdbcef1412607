"""The shim's part in making a container's first process: as a list of system calls that the core has written
(``runtime.container.launch_script``), or else as a fork of this interpreter (``runtime.container.launch``).

What fails as the one is done again as the other, which can say why. Standard library only.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import Any

from runtime.container import execute, launch, upper
from runtime.container.failure import Failure, step
from runtime.container.launch import Streams
from runtime.crash_points import crash_point, is_armed
from runtime.kernel import forking, namespaces, script, sockets, syscalls

# Of launch_script, which is the core's: no shim carries it.
_FIRST = 100
_REACHED = (0, 1)


class First:
    """The first process, once it has executed its program."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.pid = -1
        self.terminal = -1
        self.devices: dict[str, int] = {}
        """Descriptors from inside the network namespace, by name."""
        self.is_direct = False
        """It was no fork."""


def make_streams(spec: dict[str, Any]) -> tuple[dict[str, int], Streams]:
    """Pipes: our ends by name, and the container's."""
    if spec["tty"]:
        return {}, Streams(-1, -1, -1)
    stdout, stdout_end = os.pipe()
    stderr, stderr_end = os.pipe()
    ours = {"stdout": stdout, "stderr": stderr}
    stdin_end = -1
    if spec["stdin_open"]:
        stdin_end, ours["stdin"] = os.pipe()
    return ours, Streams(stdin_end, stdout_end, stderr_end)


def begin(
    first: First, for_container: bytes, streams: Streams, table: int, runner: script.Runner | None
) -> None:
    """Returns when it has executed its program. ``table`` is a file with its system calls, -1 for none; closed.

    Raises Failure; what there is of it by then is in ``first``."""
    host_pid = namespaces.open_namespace("self", "pid")
    _leave_for(first.spec)
    if table >= 0:
        is_begun = runner is not None and not is_armed("init.") and _run(first, table, streams, runner)
        os.close(table)
        if not is_begun and runner is not None:
            runner.show()
            syscalls.setns(host_pid, syscalls.CLONE_NEWPID)
            _leave_for(first.spec, again=True)
    if not first.is_direct:
        _fork(first, for_container, streams)
    # What is forked from now on begins on the host again; see execute.
    syscalls.setns(host_pid, syscalls.CLONE_NEWPID)
    os.close(host_pid)


def _leave_for(spec: dict[str, Any], *, again: bool = False) -> None:
    """Have children be born in the container's namespaces of pids and time; this process stays outside."""
    with step("pid namespace"):  # into one that others are in its first process goes when all is done
        if not isinstance(spec["namespaces"]["pid"], int):
            namespaces.bear_children_in(spec["namespaces"]["pid"])
    if spec["namespaces"]["time"] == "new" and not again:
        with step("time namespace"):
            # For all that is forked from here on, execs as well.
            syscalls.unshare(syscalls.CLONE_NEWTIME)


def _pass() -> None:
    crash_point("shim.start.forked")


# As a list of system calls


def _run(first: First, table: int, streams: Streams, runner: script.Runner) -> bool:
    """Whether it went well. Raises Failure when it was killed."""
    channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    opened = []
    try:
        if first.spec["root"]:
            _make_directories(first.spec["root"])
        given = [theirs.fileno(), *streams, -1]
        if first.spec["cgroup"]["version"] == 2:
            directory = first.spec["cgroup"]["directories"][0]
            given[-1] = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.append(given[-1])
        for number, fd in enumerate(given, _FIRST):
            if fd >= 0:
                os.dup2(fd, number, inheritable=False)
                opened.append(number)
        first.pid = runner.run_file(table)
    except OSError:
        channel.close()
        return False
    finally:
        theirs.close()
        sockets.close_all(opened)
    _pass()
    news = _hear(first, channel)
    channel.close()
    if any(failed for failed, _ in news):
        os.waitpid(first.pid, 0)
        first.pid = -1
        sockets.close_all(list(first.devices.values()))
        first.devices = {}
        return False
    if _REACHED not in news:
        raise Failure("launch", 0, "the container's first process was killed before it could start")
    first.is_direct = True
    return True


def _make_directories(root: dict[str, str]) -> None:
    model = os.open(root["like"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in (root["upper"], root["work"]):
            if not os.path.isdir(path):
                upper.make_like(path, model)
    finally:
        os.close(model)


def _hear(first: First, channel: socket.socket) -> list[tuple[int, int]]:
    """All until its execve closes its end."""
    news: list[tuple[int, int]] = []
    while True:
        data, descriptors, flags, _ = socket.recv_fds(channel, 4096, sockets.MAX_DESCRIPTORS)
        if not data:
            return news
        if flags & socket.MSG_CTRUNC:
            sockets.close_all(descriptors)
            raise Failure("network", errno.EMFILE, os.strerror(errno.EMFILE))
        if descriptors:
            names = first.spec["sandbox"].get("descriptors", [])
            first.devices = dict(zip(names, descriptors, strict=False))
            for fd in descriptors:
                os.set_inheritable(fd, False)
        else:
            news += script.NEWS.iter_unpack(data)


# As a fork


def _fork(first: First, for_container: bytes, streams: Streams) -> None:
    channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    first.pid, is_in_cgroup = execute.fork(first.spec["cgroup"])
    if first.pid == 0:
        channel.close()
        launch.run(first.spec, for_container, theirs, streams, is_in_cgroup=is_in_cgroup)
    _pass()
    theirs.close()
    _until_executed(first, channel)
    channel.close()


def _until_executed(first: First, channel: socket.socket) -> None:
    """Wait until the child's execve closes its end, and take what it has made. Raises Failure with what it reports.

    Until then this process does nothing: what it wrote would be copied once more, since the child has it all."""
    end = select.poll()
    end.register(channel, 0)
    end.poll()
    reached, born = False, first.pid
    while (packet := sockets.receive_packet(channel)) is not None:
        message, descriptors = packet
        if failed := message.get("failed"):
            raise Failure(**failed)
        if "pid" in message:
            if first.pid == born and forking.is_own_child(message["pid"]):
                first.pid = message["pid"]
                os.waitpid(born, 0)
        elif message.get("terminal") and first.terminal < 0:
            first.terminal = descriptors[0]
        elif not reached:
            first.devices = dict(zip(message["descriptors"], descriptors, strict=False))
            reached = True
    if not reached:
        raise Failure("launch", 0, "the container's first process was killed before it could start")
