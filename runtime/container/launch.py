"""A container's first process, from fork to execve: namespaces, root, network, identity, program.

Runs in a fork of the shim. Talks to it over a SEQPACKET pair: sends what it has made (terminal, descriptors) or
why it failed; that the pair is closed by a successful execve tells the shim that the container has started.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
from typing import Any, NamedTuple, NoReturn

from runtime.container import init, process
from runtime.container.failure import NOT_FOUND, Failure, errno_of, reason_of, step
from runtime.container.rootfs import Root
from runtime.container.toolbox import Toolbox
from runtime.crash_points import crash_point
from runtime.kernel import apparmor, cgroup_lifecycle, forking, kernel_limits, namespaces, sockets, syscalls
from runtime.network import sandbox

JOINABLE = ("ipc", "uts", "net")
EVERY_SIGNAL = signal.valid_signals()


class Streams(NamedTuple):
    """The container's ends of its standard streams; -1 is /dev/null. Unused with a terminal."""

    stdin: int
    stdout: int
    stderr: int


def run(
    spec: dict[str, Any],
    further: bytes,
    channel: socket.socket,
    streams: Streams,
    *,
    is_in_cgroup: bool = False,
) -> NoReturn:
    """Become the container. Never returns: what fails is reported on ``channel``. ``further`` is what the shim could
    do without: read here, it makes none of the shim's memory its own."""
    try:
        launch(spec | json.loads(further), channel, streams, is_in_cgroup)
    except Failure as failure:
        report(channel, failure)
        os._exit(failure.exit_code)
    except BaseException as error:
        report(channel, Failure("launch", errno_of(error), reason_of(error)))
        os._exit(125)
    os._exit(125)


def report(channel: socket.socket, failure: Failure) -> None:
    """Tell the shim; if it is gone there is nobody to tell.

    The channel is where it was, or (closed there) where :func:`process.become` has moved it."""
    for moved in (False, True):
        with contextlib.suppress(OSError):
            way = socket.socket(fileno=process.CHANNEL) if moved else channel
            sockets.send_packet(way, {"failed": failure.as_message()})
            return


def launch(spec: dict[str, Any], channel: socket.socket, streams: Streams, is_in_cgroup: bool) -> None:
    """All steps in order; returns only by raising."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    os.umask(0o022)
    program = spec["process"]
    toolbox = Toolbox(program["tools"]) if program["tools"] else None
    process.forget_parent((channel.fileno(), *streams, *(() if toolbox is None else toolbox.descriptors)))
    crash_point("init.start.born")
    if not is_in_cgroup:
        with step("cgroup"):
            cgroup_lifecycle.join(spec["cgroup"])
    with step("oom_score_adj"):
        set_oom_score(program["confinement"]["oom_score_adj"])
    with step("security_opt"):
        set_profile(program["confinement"]["apparmor"])
    crash_point("init.start.grouped")

    def configure_network() -> None:
        inside = sandbox.configure(spec["sandbox"], root.proc)
        sockets.send_packet(channel, {"descriptors": spec["sandbox"].get("descriptors", [])}, inside)
        sockets.close_all(inside)
        crash_point("init.start.configured")

    is_guest = isinstance(spec["namespaces"]["pid"], int)
    if is_guest:
        with step("pid namespace"):
            namespaces.bear_children_in(spec["namespaces"]["pid"])
    root = Root(spec["state_dir"], configure_network)
    enter_namespaces(spec, root)
    crash_point("init.start.isolated")
    root.execute(spec["operations"])
    with step("keyring"):
        join_keyring(spec["id"])
    terminal = -1
    with step("terminal"):
        if program["tty"]:
            master, terminal = process.open_terminal(root.devpts, program["window"])
            root.bind_console(terminal)
            sockets.send_packet(channel, {"terminal": True}, [master])
            os.close(master)
        null = root.open_null()
    memory = init.make_memory() if spec["init"] else -1
    with step("pivot_root"):
        root.enter("/" if toolbox else program["cwd"])
    crash_point("init.start.entered")
    inside = root.root if toolbox is None else toolbox.enter(root.root, program)
    identity = process.identify(program, inside)
    take_stdio(streams, null, terminal)
    if not is_guest and memory < 0 and terminal >= 0:
        process.take_control()
    process.become(program, identity, channel=channel.fileno(), keep=(memory,) if memory >= 0 else ())
    crash_point("init.start.confined")
    if is_guest:
        enter_pid_namespace()
        if memory < 0 and terminal >= 0:
            process.take_control()
    if memory >= 0:
        run_under_init(program, has_terminal=terminal >= 0)
    process.execute(program["argv"], program["env"], program["image"])


def take_stdio(streams: Streams, null: int, terminal: int) -> None:
    """Terminal, pipes or /dev/null as 0, 1 and 2."""
    with step("stdio"):
        if terminal >= 0:
            streams = Streams(terminal, terminal, terminal)
        stdin, stdout, stderr = (
            null if fd < 0 else fd for fd in (streams.stdin, streams.stdout, streams.stderr)
        )
        process.take_streams((stdin, stdout, stderr))


def enter_pid_namespace() -> None:
    """Go on as a child in the pid namespace that another container has, a child of the shim as well. Whoever is in
    there may be allowed to trace it: everything else has been done, and it is no more than its program will be."""
    channel = socket.socket(fileno=process.CHANNEL)
    with step("fork"):
        inside = forking.fork_sibling()
    if inside:
        sockets.send_packet(channel, {"pid": inside})
        os._exit(0)
    os.setsid()
    process.die_with(channel)
    channel.detach()


def run_under_init(program: dict[str, Any], *, has_terminal: bool) -> NoReturn:
    """Fork: the child goes on to be the program, this process executes the init that waits for it as PID 1. Both are
    confined; the memory for the init is behind the channel.

    The program waits until that has happened. Signals are blocked when init begins, as it expects; what came before, it
    finds pending or as a child to reap."""
    memory = process.CHANNEL + 1
    with step("init"):
        init.prepare()
        signal.pthread_sigmask(signal.SIG_BLOCK, EVERY_SIGNAL)
        executed, executing = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
    if child == 0:
        os.close(executing)
        os.read(executed, 1)  # the end of file: the other end is closed by execve
        os.close(executed)
        os.setsid()
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if has_terminal:
            with step("terminal"):
                process.take_control()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        process.execute(program["argv"], program["env"], program["image"])
    crash_point("init.start.doubled")
    with step("init"):
        init.fill(memory, child)
        os.chdir("/")
        syscalls.execveat(memory, [b"composer-init"], [])
    raise Failure("init", 0, "init: not executed", NOT_FOUND)


def set_oom_score(value: int) -> None:
    """Written through the host's /proc, before the container's is there to be trusted."""
    if value:
        fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(fd, b"%d" % value)
        except PermissionError:
            own = os.pread(fd, 16, 0).decode().strip()
            raise OSError(
                errno.EACCES,
                f"{value} is not permitted: the engine's own is {own}, and less takes CAP_SYS_RESOURCE",
            ) from None
        finally:
            os.close(fd)


def set_profile(profile: str) -> None:
    """Have the program's execve put it under an AppArmor profile: said here, through the host's /proc, and kept across
    fork (security/apparmor/lsm.c: apparmor_task_alloc). Later that /proc would have to be carried along to where a
    process of the container can open what this one has (CVE-2016-9962)."""
    if profile:
        apparmor.execute_under(profile)


def enter_namespaces(spec: dict[str, Any], root: Root) -> None:
    """Join what is shared, make what is new."""
    wanted = spec["namespaces"]
    for kind in JOINABLE:
        if isinstance(wanted[kind], int):
            with step(f"join {kind} namespace of {wanted[kind]}"):
                fd = namespaces.open_namespace(wanted[kind], kind)
                syscalls.setns(fd, namespaces.FLAGS[kind])
                os.close(fd)
    root.make_proc(spec["operations"], wanted["pid"])
    if wanted["net"] == "new":
        make_network(spec["sandbox"], root.proc)
    crash_point("init.start.networked")
    with step("namespaces"):
        flags = syscalls.CLONE_NEWNS
        for kind in ("ipc", "uts", "cgroup"):
            if wanted[kind] == "new":
                flags |= namespaces.FLAGS[kind]
        syscalls.unshare(flags)


def make_network(plan: dict[str, Any], proc: int) -> None:
    """A network namespace with its interfaces, whose other ends are the host's. Done before anything of the container
    is reached: what is open to the host's network here ends here. ``proc`` is the container's /proc."""
    with step("network"):
        host = sandbox.HostHalf(plan)
    with step("namespaces"):
        syscalls.unshare(syscalls.CLONE_NEWNET)
        sandbox.prepare(plan, proc)
        netns = namespaces.open_namespace("self", "net")
    with step("network"):
        host.attach(netns)
    os.close(netns)


def join_keyring(container_id: str) -> None:
    """Kernels without keyrings have none that could leak."""
    try:
        syscalls.join_session_keyring(b"_ses." + container_id.encode())
    except OSError as error:
        if error.errno not in syscalls.WITHOUT_KEYRINGS:
            raise kernel_limits.of_keyrings(error) from None
