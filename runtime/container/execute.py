"""A process beside init: joins the running container, then becomes what was asked for.

Two forks. The first (A) is on the host, closes what is the shim's, takes the container's cgroup, all of its namespaces
but the one of pids, and the program's identity, capabilities and filter: nobody in the container can see it. The second
(B), a child of the shim as A is, is born in the pid namespace and executes the program. Whoever is in there and may
trace processes (of this container, or of another that shares the namespace) finds it no more than what it will be
(CVE-2016-9962). Where a filter of somebody's own does not allow what is needed in between (clone), B takes all of that
itself, unless the container has the right to trace.

Most execs need no fork of this interpreter for that: ``runtime.container.direct``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import Any, NoReturn, Protocol

from runtime.container import direct, launch, process
from runtime.container.failure import Failure, errno_of, reason_of, step
from runtime.container.loop import Loop
from runtime.container.toolbox import Toolbox
from runtime.crash_points import crash_point, is_armed
from runtime.kernel import (
    cgroup_lifecycle,
    forking,
    mounts,
    namespaces,
    null_device,
    script,
    sockets,
    syscalls,
)
from runtime.kernel.process_limits import reached_limit
from runtime.kernel.sockets import Message

REMEMBERED = 16
"""Execs that have ended and are still told of."""


class Owner(Protocol):
    """What an exec needs of its shim."""

    def register(self, pid: int, session: Exec) -> bool:
        """``session.ended`` is to be called when ``pid`` is reaped, at once if that has happened. False when it is no
        child that nobody has asked about yet."""

    def started(self) -> None:
        """The exec has got its process, or none."""


class Exec:
    """One exec, in the shim: from the request to the exit status, all on the connection that asked for it."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        spec: dict[str, Any],
        init: int,
        owner: Owner,
        way: direct.Direct,
    ) -> None:
        self._loop = loop
        self._connection: socket.socket | None = connection
        self._spec = spec
        self._init = init
        self._owner = owner
        self._way = way
        self._pid = -1
        self._terminal = -1
        self._failure: dict[str, Any] | None = None
        self._exit_code: int | None = None
        self._is_reported = False
        self._is_identified = False
        self._about: dict[str, Any] = {}
        self._kept: list[int] = []
        self._lets_go = False
        self._is_let_go = False

    def keep(self, about: dict[str, Any], descriptors: list[int], *, lets_go: bool) -> None:
        """What a core to come gets when this one dies: the other ends of the process's streams, owned from now on.
        ``lets_go``: this core says when it has read them. Another one has done so, as far as anybody can know, when it
        is told of the end: it may be killed before it hears of that."""
        self._about, self._kept, self._lets_go = about, descriptors, lets_go

    def start(self, program: dict[str, Any], numbers: list[int], descriptors: list[int]) -> None:
        """Make A. ``descriptors`` become the standard streams ``numbers``; the caller closes them."""
        by_number = dict(zip(numbers, descriptors, strict=True))
        streams = launch.Streams(by_number.get(0, -1), by_number.get(1, -1), by_number.get(2, -1))
        # Held until it is known that this goes well; otherwise a fork gets them.
        again = launch.Streams(*(fd if fd < 0 else os.dup(fd) for fd in streams))
        begun = None if is_armed("exec.exec.") else self._way.start(program, self._init, streams)
        if begun is None:
            self._fork(program, again)
        else:
            news = bytearray()
            self._loop.watch(begun, lambda _: self._hear_script(begun, news, program, again))
        crash_point("shim.exec.forked")

    def _hear_script(
        self, channel: int, news: bytearray, program: dict[str, Any], streams: launch.Streams
    ) -> None:
        """At its end it has executed, or was killed; or it has failed, and a fork tries again and can say why."""
        try:
            if data := os.read(channel, 16 * script.NEWS.size):
                news += data
                return
        except BlockingIOError:
            return
        self._loop.forget(channel)
        os.close(channel)
        told = list(script.NEWS.iter_unpack(news))
        if any(failed for failed, _ in told):
            try:
                self._fork(program, streams)
            except Exception as error:
                failure = (
                    error
                    if isinstance(error, Failure)
                    else Failure("exec", errno_of(error), reason_of(error))
                )
                self._failure = failure.as_message()
                self._report_start()
            return
        _close(streams)
        for _, pid in told:
            if self._pid < 0 and self._owner.register(pid, self):
                self._pid = pid
        self._report_start()

    def _fork(self, program: dict[str, Any], streams: launch.Streams) -> None:
        """Closes ``streams``."""
        self._way.step_aside()
        try:
            channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            helper, is_in_cgroup = fork(self._spec["cgroup"])
            if helper == 0:
                channel.close()
                run(self._spec, program, self._init, theirs, streams, is_in_cgroup=is_in_cgroup)
        finally:
            _close(streams)
        theirs.close()
        channel.setblocking(False)
        self._loop.watch(channel.fileno(), lambda _: self._hear(channel, program))

    def _hear(self, channel: socket.socket, program: dict[str, Any]) -> None:
        try:
            packet = sockets.receive_packet(channel)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            packet = None
        if packet is None:
            self._loop.forget(channel.fileno())
            channel.close()
            self._report_start()
            return
        message, descriptors = packet
        # It may be another one who speaks, when the process was traced: believed is what can be seen to be true, and
        # what was said before the process was there.
        if "pid" in message and self._pid < 0:
            pid = message["pid"]
            if isinstance(pid, int) and pid > 0 and self._owner.register(pid, self):
                self._pid = pid
        elif message.get("terminal") and descriptors and self._terminal < 0 and self._pid < 0:
            self._terminal = descriptors.pop(0)
        elif "identity" in message and not self._is_identified:
            self._is_identified = True
            self._way.remember(program, message)
        elif isinstance(message.get("failed"), dict) and self._failure is None:
            self._failure = message["failed"]
        sockets.close_all(descriptors)

    def _report_start(self) -> None:
        """The channel is closed: by execve, or because it failed."""
        if self._failure is None and self._pid < 0:
            self._failure = Failure("exec", 0, "the process was killed before it could start").as_message()
        if self._failure is not None:
            if self._failure["step"] == "fork" and self._failure["errno"] == errno.EAGAIN:
                limit = reached_limit(self._spec["cgroup"]["directories"])
                self._failure["message"] += f": {limit}" if limit else ""
            self._send({"failed": self._failure})
            self.let_go()
        elif self._terminal >= 0:
            self._send({"pid": self._pid}, [self._terminal])
        else:
            self._send({"pid": self._pid})
        crash_point("shim.exec.reported")
        self._is_reported = True
        self._owner.started()
        if self._exit_code is not None:
            self._report_end()

    def ended(self, wait_status: int) -> None:
        """Its process was reaped."""
        crash_point("shim.exec.ended")
        code = os.waitstatus_to_exitcode(wait_status)
        self._exit_code = 128 - code if code < 0 else code
        if self._is_reported:
            self._report_end()

    def _report_end(self) -> None:
        is_told = self._send({"event": "exited", "exit_code": self._exit_code})
        if (is_told and not self._lets_go) or self._is_let_go or not self._about:
            self.let_go()

    def let_go(self) -> None:
        """Nobody wants its streams any more."""
        self._is_let_go = True
        sockets.close_all(self._kept)
        self._kept = []
        if self._terminal >= 0 and self._exit_code is not None:
            os.close(self._terminal)
            self._terminal = -1

    def tell_again(self, connection: socket.socket, *, lets_go: bool) -> None:
        """To a core that did not start it. Raises Failure."""
        if not self._is_reported or self._failure is not None:
            raise Failure("exec", errno.ESRCH, "it has not been started")
        self._connection, self._lets_go = connection, lets_go
        streams = [self._terminal] if self._terminal >= 0 else self._kept
        self._send({"pid": self._pid, "about": self._about}, streams)
        if self._exit_code is not None:
            self._report_end()

    @property
    def is_over(self) -> bool:
        return self._exit_code is not None or self._failure is not None

    def _send(self, message: Message, descriptors: list[int] | None = None) -> bool:
        if self._connection is not None:
            try:
                sockets.send_packet(self._connection, message, descriptors or ())
                return True
            except OSError:
                self._connection = None
        return False

    def forget_connection(self) -> None:
        """Who asked is gone; the process runs on."""
        self._connection = None

    def resize(self, rows: int, columns: int) -> None:
        if self._terminal >= 0:
            process.set_window_size(self._terminal, rows, columns)

    def signal(self, number: int) -> None:
        if self._exit_code is None and self._pid > 0:
            os.kill(self._pid, number)


def _close(streams: launch.Streams) -> None:
    sockets.close_all([fd for fd in streams if fd >= 0])


def fork(cgroup: cgroup_lifecycle.Settings) -> tuple[int, bool]:
    """As ``cgroup_lifecycle.fork``. Raises Failure, which says what it has come up against."""
    try:
        with step("fork"):
            return cgroup_lifecycle.fork(cgroup)
    except Failure as failure:
        if failure.errno == errno.EAGAIN and (limit := reached_limit(cgroup["directories"])):
            failure.message += f": {limit}"
        raise


class Lasting:
    """Execs that a core to come may ask for: those of people, by id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Exec] = {}

    def add(self, session: Exec, message: Message, descriptors: list[int]) -> None:
        """``descriptors`` belong to it from now on."""
        if "id" not in message:
            sockets.close_all(descriptors)
            return
        over = [known for known, other in self._by_id.items() if other.is_over]
        for known in over[: max(0, len(over) - REMEMBERED + 1)]:
            self._by_id.pop(known).let_go()
        session.keep(message["about"], descriptors, lets_go=message.get("lets_go", False))
        self._by_id[message["id"]] = session

    def tell_again(self, message: Message, connection: socket.socket) -> Exec:
        """Raises Failure for what is not known."""
        if (session := self._by_id.get(message["id"])) is None:
            raise Failure("exec", errno.ENOENT, "it is not known")
        session.tell_again(connection, lets_go=message.get("lets_go", False))
        return session


def run(
    spec: dict[str, Any],
    program: dict[str, Any],
    init: int,
    channel: socket.socket,
    streams: launch.Streams,
    *,
    is_in_cgroup: bool = False,
) -> NoReturn:
    """In A and B. Never returns; failures go to ``channel``."""
    try:
        join(spec, program, init, channel, streams, is_in_cgroup)
    except Failure as failure:
        launch.report(channel, failure)
        os._exit(failure.exit_code)
    except BaseException as error:
        launch.report(channel, Failure("exec", errno_of(error), reason_of(error)))
        os._exit(125)
    os._exit(125)


def join(
    spec: dict[str, Any],
    program: dict[str, Any],
    init: int,
    channel: socket.socket,
    streams: launch.Streams,
    is_in_cgroup: bool,
) -> None:
    """Enter the container of ``init`` (a pidfd) and execute ``program`` there; returns only by raising."""
    os.umask(0o022)
    toolbox = Toolbox(program["tools"]) if program["tools"] else None
    process.forget_parent(
        (channel.fileno(), init, *streams, *(() if toolbox is None else toolbox.descriptors))
    )
    crash_point("exec.exec.born")
    if not is_in_cgroup:
        with step("cgroup"):
            cgroup_lifecycle.join(spec["cgroup"])
    with step("oom_score_adj"):
        launch.set_oom_score(program["confinement"]["oom_score_adj"])
    with step("security_opt"):
        launch.set_profile(program["confinement"]["apparmor"])
    with step("namespaces"):
        try:
            syscalls.setns(init, namespaces.to_enter(spec["namespaces"]))
        except ProcessLookupError:
            raise Failure("namespaces", errno.ESRCH, "the container has just ended") from None
        if spec["namespaces"]["pid"] != "host":
            syscalls.setns(init, syscalls.CLONE_NEWPID)
        os.close(init)
    if process.can_fork(program) or process.can_trace(program):
        prepare(spec, program, channel, streams, toolbox, is_leader=False)
        channel = socket.socket(fileno=process.CHANNEL)
        enter(channel)
        with step("terminal"):
            if program["tty"]:
                process.take_control()
    else:
        enter(channel)
        prepare(spec, program, channel, streams, toolbox, is_leader=True)
    crash_point("exec.exec.confined")
    process.execute(program["argv"], program["env"], program["image"])


def enter(channel: socket.socket) -> None:
    """Go on as a child in the container's pid namespace, leader of a session."""
    with step("fork"):
        crash_point("exec.exec.joined")
        inside = forking.fork_sibling()
    if inside:
        crash_point("exec.exec.forked")
        sockets.send_packet(channel, {"pid": inside})
        os._exit(0)
    os.setsid()
    crash_point("exec.exec.inside")


def prepare(
    spec: dict[str, Any],
    program: dict[str, Any],
    channel: socket.socket,
    streams: launch.Streams,
    toolbox: Toolbox | None,
    *,
    is_leader: bool,
) -> None:
    """Everything that needs neither the pid namespace nor (unless this is its leader) a session: terminal, streams,
    identity, confinement."""
    with step("keyring"):
        launch.join_keyring(spec["id"])
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    terminal = -1
    with step("terminal"):
        if program["tty"]:
            devpts = mounts.open_in_root(root, "/dev/pts", os.O_RDONLY | os.O_DIRECTORY)
            master, terminal = process.open_terminal(devpts, program.get("window", (0, 0)))
            sockets.send_packet(channel, {"terminal": True}, [master])
            os.close(master)
    null = open_null(root)
    if toolbox is not None:
        root = toolbox.enter(root, program)
    launch.take_stdio(streams, null, terminal)
    if terminal >= 0 and is_leader:
        process.take_control()
    identity = direct.look_up(program, root, channel)
    process.become(program, identity, channel=channel.fileno(), dies_with_parent=False)


def open_null(root: int) -> int:
    """The container's /dev/null. What else may be there is not opened, since this process could open more than the
    container can (a file of a user that its root may not read): then it is one of our own."""
    with step("/dev/null"):
        with contextlib.suppress(OSError):
            for flags in (os.O_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY):
                found = mounts.open_in_root(root, "/dev/null", flags)
                is_null = null_device.is_it(found)
                if is_null and flags != os.O_PATH:
                    return found
                os.close(found)
                if not is_null:
                    break
        return null_device.make()
