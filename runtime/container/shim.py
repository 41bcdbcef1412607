"""The parent of one running container: a fork of the keeper that outlives keeper and core.

Makes the cgroup and the container's first process (``runtime.container.starting``), then owns
its output, terminal and log, serves ``shim.sock``, and writes the exit status before it ends. One thread, no
imports after the fork, standard library only. If it is killed, the kernel kills the container (parent-death signal).

Every connection (the one that came with the launch, and those to ``shim.sock``) speaks JSON packets:
``subscribe``, ``state``, ``attach``, ``resize``, ``close_stdin``, ``signal``, ``exec``, ``keep``.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import time
from typing import Any, NoReturn

from runtime.container import execute, process, starting, status
from runtime.container.direct import Direct
from runtime.container.failure import Failure, errno_of, reason_of, step
from runtime.container.logfile import LogWriter
from runtime.container.loop import GONE, Loop
from runtime.container.status import ExitStatus
from runtime.container.streams import Input, Output
from runtime.crash_points import crash_point
from runtime.kernel import cgroup_lifecycle, forking, script, sockets, syscalls
from runtime.kernel.page_sharing import Snapshot
from runtime.kernel.sockets import Message

PROTOCOL = 1
"""Of the messages on its connections. Cores of other versions ask shims that run since before an upgrade: fields are
added, never taken away, and who reads them does without; a message that means something else has another number."""
SETTLED = 1.0
"""Seconds without an event after which the pages that the last ones have copied are looked at."""
FLUSH_SECONDS = 10.0
"""How long readers that are behind may take, after the container has ended, to read the rest."""


def run(
    run_dir: str,
    connection: socket.socket,
    attach: Message | None,
    descriptors: list[int],
    snapshot: Snapshot | None = None,
    runner: script.Runner | None = None,
    table: int = -1,
) -> NoReturn:
    """The shim's whole life."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    syscalls.prctl(syscalls.PR_SET_NAME, b"composer-shim")
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    try:
        with step("read launch.json"), open(os.path.join(run_dir, "launch.json"), "rb") as file:
            for_shim, _, for_container = file.read().partition(b"\n")
            shim = Shim(json.loads(for_shim), connection, runner)
    except Failure as failure:
        _refuse(connection, failure)
        os._exit(1)
    try:
        crash_point("shim.start.begun")
        shim.start(attach, descriptors, for_container, table)
    except Failure as failure:
        shim.give_up(failure)
        os._exit(1)
    except BaseException as error:
        shim.give_up(Failure("shim", errno_of(error), reason_of(error)))
        os._exit(1)
    del for_shim, for_container
    gc.enable()
    try:
        shim.serve(snapshot)
    finally:
        os._exit(0)


def _refuse(connection: socket.socket, failure: Failure) -> None:
    sockets.tell(connection, {"failed": failure.as_message()})


class Shim:
    """State of one running container."""

    def __init__(self, spec: dict[str, Any], connection: socket.socket, runner: script.Runner | None) -> None:
        self.spec = spec
        self.loop = Loop()
        self.pidfd = -1
        self.started_at = 0
        self._began = self._up_since = 0.0
        self._first = starting.First(spec)
        self._runner = runner
        self._launcher = connection
        self._subscribers: list[socket.socket] = []
        self._outputs: dict[str, Output] = {}
        self._input: Input | None = None
        self._log: LogWriter | None = None
        self._has_output = False
        self._wait_status: int | None = None
        self._execs: dict[int, execute.Exec] = {}
        """Running execs by process id."""
        self._sessions: dict[socket.socket, execute.Exec] = {}
        """Which exec a connection is about; it stays so when the exec has ended."""
        self._lasting = execute.Lasting()
        self._starting = 0
        self._ended_early: dict[int, int] = {}
        """Wait statuses of children that nobody knew yet while an exec was starting."""
        self._listener: socket.socket | None = None
        self._direct = Direct(spec, runner)

    @property
    def pid(self) -> int:
        """Of the first process; -1 before there is one."""
        return self._first.pid

    # Starting

    def start(self, attach: Message | None, descriptors: list[int], for_container: bytes, table: int) -> None:
        """Start the container, whose first process makes the system calls in the file ``table`` or reads
        ``for_container``, and report it. Raises Failure; then :meth:`give_up`."""
        spec = self.spec
        state_dir, run_dir = spec["state_dir"], spec["run_dir"]
        with step("write"):
            os.makedirs(os.path.join(state_dir, "log"), 0o700, exist_ok=True)
            status.reserve(state_dir)
            if spec["log"]["driver"] != "none":
                self._log = LogWriter(
                    os.path.join(state_dir, "log"),
                    max_size=spec["log"]["max_size"],
                    max_files=spec["log"]["max_files"],
                )
        crash_point("shim.start.reserved")
        with step("cgroup"):
            cgroup_lifecycle.create(spec["cgroup"])
            crash_point("shim.start.grouped")
        self._listener = sockets.listen(os.path.join(run_dir, "shim.sock"), socket.SOCK_SEQPACKET)
        crash_point("shim.start.listening")
        ours, streams = starting.make_streams(spec)
        starting.begin(self._first, for_container, streams, table, self._runner)
        for fd in (streams.stdin, streams.stdout, streams.stderr):
            if fd >= 0:
                os.close(fd)
        self.pidfd = os.pidfd_open(self.pid)
        crash_point("shim.start.executed")
        self.started_at, self._began = time.time_ns(), time.monotonic()
        self._up_since = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._connect_streams(ours)
        if attach is not None:
            self._attach(attach, descriptors)
        self.loop.on_children(self._child_ended)
        self._listener.setblocking(False)
        self.loop.watch(self._listener.fileno(), self._accept)
        self._launcher.setblocking(False)
        if not self._subscribe(self._launcher):
            raise Failure("report", 0, "the engine that started this container is gone")
        crash_point("shim.start.reported")
        self._serve_connection(self._launcher)

    def give_up(self, failure: Failure) -> None:
        """Undo what was done for a container that could not be started, and say why."""
        crash_point("shim.fail.undoing")
        if self.pid > 0:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(self.pid, 0)
        with contextlib.suppress(Exception):
            cgroup_lifecycle.remove(self.spec["cgroup"])
        now = time.time_ns()
        ended = ExitStatus(
            failure.exit_code, finished_at=now, started_at=self.started_at, error=failure.message
        )
        status.write_any(ended, self.spec["state_dir"], self.spec["run_dir"])
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.spec["run_dir"], "shim.sock"))
        crash_point("shim.fail.written")
        self._launcher.setblocking(True)
        _refuse(self._launcher, failure)

    def _connect_streams(self, ours: dict[str, int]) -> None:
        once = self.spec["stdin_once"]
        if self._first.terminal >= 0:
            self._outputs["stdout"] = Output(
                self.loop, self._first.terminal, b"stdout", self._log, self._first_output
            )
            if self.spec["stdin_open"]:
                self._input = Input(self.loop, os.dup(self._first.terminal), is_terminal=True, once=once)
            return
        for name in ("stdout", "stderr"):
            self._outputs[name] = Output(self.loop, ours[name], name.encode(), self._log, self._first_output)
        if "stdin" in ours:
            self._input = Input(self.loop, ours["stdin"], is_terminal=False, once=once)

    def _first_output(self) -> None:
        if not self._has_output:
            self._has_output = True
            self._publish({"event": "output"})

    # Living

    def serve(self, snapshot: Snapshot | None) -> None:
        """Until the container has ended and everything it wrote is where it belongs."""
        is_settled = snapshot is None
        while self._wait_status is None:
            has_happened = self.loop.run_once(-1 if is_settled else SETTLED)
            if snapshot is not None:
                # What happens copies pages; when nothing has for a while, those that are as they were go back.
                is_settled = not has_happened
                if is_settled:
                    snapshot.give_back()
        self._finish(self._wait_status)

    def _child_ended(self, pid: int, wait_status: int) -> None:
        if pid == self.pid:
            self._wait_status = wait_status
        elif (session := self._execs.pop(pid, None)) is not None:
            session.ended(wait_status)
        elif self._starting:
            self._ended_early[pid] = wait_status

    def register(self, pid: int, session: execute.Exec) -> bool:
        """For :class:`execute.Exec`. Its process may have ended already: both are heard of in the same round."""
        if pid in self._ended_early:
            session.ended(self._ended_early.pop(pid))
        elif pid == self.pid or pid in self._execs or not forking.is_own_child(pid):
            return False
        else:
            self._execs[pid] = session
        return True

    def started(self) -> None:
        """For :class:`execute.Exec`."""
        self._starting -= 1
        if not self._starting:
            self._ended_early.clear()

    def _finish(self, wait_status: int) -> None:
        finished_at, ran_for = time.time_ns(), time.monotonic() - self._began
        crash_point("shim.exit.seen")
        cgroup = self.spec["cgroup"]
        oom_killed = False
        with contextlib.suppress(Exception):
            oom_killed = cgroup_lifecycle.oom_killed(cgroup)
        with contextlib.suppress(Exception):
            cgroup_lifecycle.kill(cgroup)
        crash_point("shim.exit.killed")
        for output in self._outputs.values():
            output.drain()
        if self._log is not None:
            self._log.close()
        crash_point("shim.exit.logged")
        code = os.waitstatus_to_exitcode(wait_status)
        ended = ExitStatus(
            exit_code=128 - code if code < 0 else code,
            signal=-code if code < 0 else 0,
            oom_killed=oom_killed,
            started_at=self.started_at,
            finished_at=finished_at,
            ran_for=ran_for,
        )
        directories = self.spec["state_dir"], self.spec["run_dir"]
        status.write_any(ended, *directories, is_settled=False)
        crash_point("shim.exit.written")
        with contextlib.suppress(Exception):
            cgroup_lifecycle.remove(cgroup)
        crash_point("shim.exit.ungrouped")
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.spec["run_dir"], "shim.sock"))
        crash_point("shim.exit.closed")
        self._publish({"event": "exited", "status": ended._asdict()})
        crash_point("shim.exit.told")
        status.settle(*directories)  # a disk takes milliseconds, and who has been told goes on
        deadline = time.monotonic() + FLUSH_SECONDS
        while not all(output.is_flushed for output in self._outputs.values()):
            left = deadline - time.monotonic()
            if left <= 0 or not self.loop.run_once(left):
                break

    # Serving

    def _publish(self, message: Message) -> None:
        for subscriber in list(self._subscribers):
            sockets.tell(subscriber, message)

    def _accept(self, _: int) -> None:
        assert self._listener is not None
        try:
            connection, _address = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._serve_connection(connection)

    def _serve_connection(self, connection: socket.socket) -> None:
        def ready(events: int) -> None:
            try:
                packet = sockets.receive_packet(connection)
            except BlockingIOError:
                if not events & GONE:
                    return
                packet = None
            except sockets.PacketLost as error:
                _refuse(connection, Failure("receive", errno_of(error), reason_of(error)))
                return
            except (OSError, ValueError):
                packet = None
            if packet is None:
                self._close_connection(connection)
            else:
                self._answer(connection, *packet)

        self.loop.watch(connection.fileno(), ready)

    def _close_connection(self, connection: socket.socket) -> None:
        self.loop.forget(connection.fileno())
        if connection in self._subscribers:
            self._subscribers.remove(connection)
        if (session := self._sessions.pop(connection, None)) is not None:
            session.forget_connection()
        connection.close()

    def _answer(self, connection: socket.socket, message: Message, descriptors: list[int]) -> None:
        try:
            match message.get("op"):
                case "subscribe":
                    self._subscribe(connection)
                case "state":
                    sockets.tell(connection, self.state())
                case "attach":
                    self._attach(message, descriptors)
                    descriptors = []
                    sockets.tell(connection, {"attached": True})
                case "resize":
                    self._resize(connection, int(message["rows"]), int(message["columns"]))
                    sockets.tell(connection, {"resized": True})
                case "close_stdin":
                    if self._input is not None:
                        self._input.close()
                    sockets.tell(connection, {"closed": True})
                case "signal":
                    self._signal(connection, int(message["signal"]))
                case "keep":
                    # Another of a name takes its place; cores to come get them with the rest.
                    given = dict(zip(message["names"], descriptors, strict=True))
                    descriptors = [self._first.devices[name] for name in given if name in self._first.devices]
                    self._first.devices |= given
                    sockets.tell(connection, {"kept": True})
                case "exec":
                    crash_point("shim.exec.asked")
                    session = execute.Exec(self.loop, connection, self.spec, self.pidfd, self, self._direct)
                    count = len(message["streams"])
                    session.start(message["spec"]["process"], message["streams"], descriptors[:count])
                    self._lasting.add(session, message, descriptors[count:])
                    del descriptors[count:]
                    self._sessions[connection] = session
                    self._starting += 1
                case "exec_again":
                    self._sessions[connection] = self._lasting.tell_again(message, connection)
                case "let_go":
                    self._sessions[connection].let_go()
                case unknown:
                    raise Failure("request", 22, f"unknown request {unknown!r}")
        except Failure as failure:
            _refuse(connection, failure)
        except Exception as error:
            _refuse(connection, Failure("request", errno_of(error), reason_of(error)))
        finally:
            sockets.close_all(descriptors)

    def _subscribe(self, connection: socket.socket) -> bool:
        """Report the container as started, with its descriptors; events follow on this connection."""
        self._subscribers.append(connection)
        names = {"pidfd": self.pidfd, **self._first.devices}
        message = {
            "protocol": PROTOCOL,
            "pid": self.pid,
            "shim_pid": os.getpid(),
            "started_at": self.started_at,
            "began": self._began,
            "up_since": self._up_since,
            "output": self._has_output,
            "remembers_execs": True,
            "is_direct": self._first.is_direct,
            "descriptors": list(names),
        }
        return sockets.tell(connection, message, list(names.values()))

    def state(self) -> Message:
        """For people who look into the engine."""
        return {
            "id": self.spec["id"],
            "name": self.spec["name"],
            "pid": self.pid,
            "shim_pid": os.getpid(),
            "started_at": self.started_at,
            "subscribers": len(self._subscribers),
            "execs": sorted(self._execs),
            "execs_without_fork": self._direct.begun,
            "is_direct": self._first.is_direct,
            "log_dropped": self._log.dropped if self._log else 0,
            "streams": {name: output.is_open for name, output in self._outputs.items()},
        }

    def _attach(self, message: Message, descriptors: list[int]) -> None:
        for name, fd in zip(message["streams"], descriptors, strict=True):
            if name == "stdin" and self._input is not None:
                self._input.add_source(fd)
            elif name in self._outputs and self._outputs[name].is_open:
                self._outputs[name].add_sink(fd, lossless=bool(message.get("lossless")))
            else:
                os.close(fd)

    def _resize(self, connection: socket.socket, rows: int, columns: int) -> None:
        if (session := self._sessions.get(connection)) is not None:
            session.resize(rows, columns)
            return
        if self._first.terminal >= 0 and self._outputs["stdout"].is_open:
            process.set_window_size(self._first.terminal, rows, columns)

    def _signal(self, connection: socket.socket, number: int) -> None:
        if (session := self._sessions.get(connection)) is not None:
            session.signal(number)
            return
        with contextlib.suppress(ProcessLookupError):
            syscalls.pidfd_send_signal(self.pidfd, number)
