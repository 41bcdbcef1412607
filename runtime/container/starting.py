"""The shim's part in making a container's first process: as a list of system calls that the core has written
(``runtime.container.launch_script``), or else as a fork of this interpreter (``runtime.container.launch``).

What fails as the one is done again as the other, which can say why. Standard library only.
"""

from __future__ import annotations

import os
import select
import socket
from dataclasses import dataclass, field
from typing import Any

from runtime.container import execute, launch, upper
from runtime.container.failure import Failure, step
from runtime.container.launch import Streams
from runtime.crash_points import crash_point, is_armed
from runtime.kernel import forking, mounts, namespaces, script, sockets, syscalls
from runtime.network import sandbox

# Of launch_script, which is the core's: no shim carries it.
_FIRST = 100
_REACHED = (0, 1)


@dataclass
class First:
    """The first process, once it has executed its program."""

    spec: dict[str, Any]
    pid: int = -1
    terminal: int = -1
    devices: dict[str, int] = field(default_factory=dict)
    """Descriptors from inside the network namespace, by name."""
    is_direct: bool = False
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
    has_network = False
    host_net = -1
    try:
        if table >= 0 and runner is not None and not is_armed("init."):
            if first.spec["namespaces"]["net"] == "new":
                host_net = namespaces.open_namespace("self", "net")
            _make_network(first)
            has_network = True
            if _run(first, table, streams, runner):
                return
            runner.show()
            syscalls.setns(host_pid, syscalls.CLONE_NEWPID)
            _leave_for(first.spec, again=True)
        _fork(first, for_container, streams, has_network=has_network)
    finally:
        if table >= 0:
            os.close(table)
        if host_net >= 0:
            syscalls.setns(host_net, syscalls.CLONE_NEWNET)
            os.close(host_net)
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


# As a list of system calls


def _make_network(first: First) -> None:
    """Make the network namespace and enter it. Raises Failure."""
    plan = first.spec["sandbox"]
    proc = None
    with step("network"):
        if first.spec["namespaces"]["net"] == "new":
            host = sandbox.HostHalf(plan)
            # In the host's the kernel finds settings among those of all other containers.
            proc = mounts.new_filesystem("proc")
            with step("namespaces"):
                syscalls.unshare(syscalls.CLONE_NEWNET)
                sandbox.prepare(plan, proc)
                netns = namespaces.open_namespace("self", "net")
            host.attach(netns)
            os.close(netns)
    with step("network"):
        inside = sandbox.configure(plan, proc)
        first.devices = dict(zip(plan.get("descriptors", []), inside, strict=False))
        if proc is not None:
            os.close(proc)


def _run(first: First, table: int, streams: Streams, runner: script.Runner) -> bool:
    """Whether it went well. Raises Failure when it was killed."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    opened = [theirs]
    try:
        overlay = first.spec["root"]
        if overlay:
            model = os.open(overlay["like"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.append(model)
            for path in (overlay["upper"], overlay["work"]):
                if not os.path.isdir(path):
                    upper.make_like(path, model)
        given = [theirs, *streams, -1]
        if first.spec["cgroup"]["version"] == 2:
            directory = first.spec["cgroup"]["directories"][0]
            given[-1] = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.append(given[-1])
        for number, fd in enumerate(given, _FIRST):
            if fd >= 0:
                os.dup2(fd, number, inheritable=False)
                opened.append(number)
        first.pid = runner.run_file(table)
        crash_point("shim.start.forked")
    except OSError:
        os.close(ours)
        return False
    finally:
        sockets.close_all(opened)
    with open(ours, "rb", buffering=0) as channel:
        news = channel.readall() or b""
    told = list(script.NEWS.iter_unpack(news[: len(news) // script.NEWS.size * script.NEWS.size]))
    if any(failed for failed, _ in told):
        os.waitpid(first.pid, 0)
        first.pid = -1
        return False
    if _REACHED not in told:
        raise Failure("launch", 0, "the container's first process was killed before it could start")
    first.is_direct = True
    return True


# As a fork


def _fork(first: First, for_container: bytes, streams: Streams, *, has_network: bool) -> None:
    channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    first.pid, is_in_cgroup = execute.fork(first.spec["cgroup"])
    if first.pid == 0:
        channel.close()
        launch.run(
            first.spec, for_container, theirs, streams, is_in_cgroup=is_in_cgroup, has_network=has_network
        )
    crash_point("shim.start.forked")
    theirs.close()
    _until_executed(first, channel, has_network=has_network)
    channel.close()


def _until_executed(first: First, channel: socket.socket, *, has_network: bool) -> None:
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
            if not has_network:
                first.devices = dict(zip(message["descriptors"], descriptors, strict=False))
            reached = True
    if not reached:
        raise Failure("launch", 0, "the container's first process was killed before it could start")
