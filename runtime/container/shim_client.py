"""The core's side of the shims: trio, one packet a message, descriptors as SCM_RIGHTS.

A :class:`Shim` is one running container. Whoever runs ``await shim.wait()`` (the replica's task) drives its events;
all other methods may be called from other tasks meanwhile.
"""

from __future__ import annotations

import array
import contextlib
import errno
import logging
import os
import select
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any

import msgspec
import trio

from runtime.container import status as status_file
from runtime.container.status import ExitStatus as ExitStatus
from runtime.container.wire import ExecSpec
from runtime.errors import ComposerError
from runtime.kernel import oom_kills, sockets, syscalls
from runtime.kernel.exit_status import wait_status_of
from runtime.storage.files import hint_for

log = logging.getLogger(__name__)

SPOKEN = (0, 1)
"""Versions of the shims' protocol that this core speaks; 0 is of shims that did not say."""
OVERSLEPT = 1.0
"""Seconds by which this process is later than it wanted to be when it must have been stopped, or asleep."""


class ShimGone(ComposerError):
    """The container's shim has died or ended; its exit status is in ``wait()`` or on disk."""

    status = 409


_ABOUT = {"exec": "command", "user": "user", "working": "working_dir", "sysctl": "sysctls", "init": "init"}
"""The value of the configuration that a step of the launch is about."""


_ABSENT = (errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)


def is_of_the_machine(step: str, number: int) -> bool:
    """Whether a step of a launch has failed because this kernel, or what is around the engine, does not have it."""
    first = step.split(" ")[0]
    if first in ("overlay", "network", "cgroup", "namespaces", "pid", "confinement"):
        # The layer of an overlay is on the engine's own disk.
        return number in _ABSENT or number == errno.EPERM or (number == errno.EROFS and first != "overlay")
    return False


def is_of_what_is_short(step: str, number: int) -> bool:
    """Whether a step of a launch has failed for want of room on the disk, of processes, or of memory."""
    if number == errno.EROFS:
        return step in ("write", "overlay")
    return number in (errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.ENOMEM)


class LaunchError(ComposerError):
    """A container or an exec could not be started. ``exit_status`` is Docker's 125 (engine), 126 (cannot be
    executed) or 127 (not found)."""

    status = 400

    def __init__(self, step: str, errno: int, message: str, exit_code: int, hint: str = "") -> None:
        if not hint and is_of_the_machine(step, errno):
            hint = "`composer engine doctor` tells what this machine lacks"
        elif not hint and is_of_what_is_short(step, errno):
            hint = hint_for(errno)
        super().__init__(message, exit_status=exit_code, hint=hint)
        self.step = step
        self.errno = errno
        self.exit_code = exit_code
        self.about = _ABOUT.get(step.split(" ")[0], "")


class PacketSocket:
    """JSON packets with descriptors over a SEQPACKET socket."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._raw = connection
        self._socket = trio.socket.from_stdlib_socket(connection)

    async def send(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Raises OSError (EPIPE, ECONNRESET) when nobody is there any more."""
        data = sockets.encode_packet(dict(message))
        ancillary = []
        if descriptors:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        await self._socket.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)

    async def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next packet with its descriptors (close-on-exec), or None at end-of-file. Raises DescriptorsLost."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._raw.fileno() < 0:
                raise trio.ClosedResourceError
            try:
                packet = sockets.receive_packet(self._raw)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._raw)
            except ConnectionResetError:
                return None
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return packet

    def descriptor(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


@dataclass(frozen=True)
class AttachStreams:
    """Ends of pipes (or sockets) of the caller's, to be connected to a container's standard streams.

    ``stdin`` is read by the shim, ``stdout`` and ``stderr`` are written; None leaves that stream out. The shim gets
    duplicates: the caller closes its own. A reader that falls far behind is dropped (its stream ends) unless
    ``lossless``, which holds the container back instead, as a foreground ``run`` wants.
    """

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    lossless: bool = False

    def message(self) -> tuple[dict[str, Any], list[int]]:
        named = [(name, getattr(self, name)) for name in ("stdin", "stdout", "stderr")]
        present = [(name, fd) for name, fd in named if fd is not None]
        return {"streams": [name for name, _ in present], "lossless": self.lossless}, [
            fd for _, fd in present
        ]


@dataclass(frozen=True)
class ExecStreams:
    """Descriptors that become an exec's 0, 1 and 2; None is /dev/null. Unused with a terminal. The child gets
    duplicates: the caller closes its own."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


@dataclass(frozen=True)
class LastingExec:
    """An exec that outlives its core: whoever asks the shim for ``id`` gets the other two."""

    id: str
    about: Mapping[str, Any]
    streams: Sequence[int]
    """Our ends of the process's output, standard output first. The shim gets duplicates."""
    is_read: bool = True
    """Whether somebody reads them who calls :meth:`ExecSession.let_go` in the end."""


class ExecSession:
    """A process started in a running container."""

    def __init__(
        self, connection: PacketSocket, pid: int, terminal: int | None, *, lets_go: bool = False
    ) -> None:
        """``lets_go``: the shim keeps the streams beyond the end, until :meth:`let_go`."""
        self._connection = connection
        self._is_let_go = not lets_go
        self._has_ended = False
        self.pid = pid
        """As the host numbers it."""
        self.terminal = terminal
        """With ``tty``: the descriptor of the terminal's master end, to be owned (and closed) by the caller."""

    async def wait(self) -> int:
        """The exit status (128 + n for signal n). Closes the session. Raises ShimGone when the container ended with
        its shim before the process was waited for."""
        status = await self.wait_for(float("inf"))
        assert status is not None
        return status

    async def wait_for(self, seconds: float) -> int | None:
        """As :meth:`wait`, for so long at most: None when the process has taken longer.

        Not when its end is there and only this process was too late to see it in time; and one that was stopped itself
        (or slept, as a whole machine may) does not know what the other has been able to do: it gets its time again."""
        try:
            end = trio.current_time() + seconds
            while True:
                with trio.move_on_at(end) as scope:
                    await trio.lowlevel.wait_readable(self._connection.descriptor())
                if scope.cancelled_caught and not _is_readable(self._connection.descriptor()):
                    if trio.current_time() - end < OVERSLEPT:
                        return None
                    end = trio.current_time() + seconds
                    continue
                if (packet := await self._connection.receive()) is None:
                    raise ShimGone("the container ended")
                message, descriptors = packet
                sockets.close_all(descriptors)
                if message.get("event") == "exited":
                    self._has_ended = True
                    return int(message["exit_code"])
        finally:
            if self._is_let_go or not self._has_ended:
                self._connection.close()

    async def signal(self, number: int) -> None:
        await self._connection.send({"op": "signal", "signal": number})

    async def let_go(self) -> None:
        """Say that nobody wants its streams any more."""
        with contextlib.suppress(OSError, trio.ClosedResourceError):
            await self._connection.send({"op": "let_go"})
        self._is_let_go = True
        if self._has_ended:
            self._connection.close()

    async def resize(self, rows: int, columns: int) -> None:
        await self._connection.send({"op": "resize", "rows": rows, "columns": columns})

    def close(self) -> None:
        """Let go of the session; the process runs on."""
        self._connection.close()


class Shim:
    """One running container.

    ``pid`` is init's process id on the host. ``descriptors`` holds by name what came from inside: ``pidfd`` always,
    and with a network of its own ``udp`` and ``tcp`` (resolver sockets on 127.0.0.11) and ``sock_diag``; they belong
    to this object until :meth:`take`.
    """

    def __init__(
        self,
        connection: PacketSocket,
        run_dir: Path,
        state_dir: Path,
        message: dict[str, Any],
        fds: list[int],
    ) -> None:
        self._connection = connection
        self._run_dir = run_dir
        self._state_dir = state_dir
        self.pid = int(message["pid"])
        self.shim_pid = int(message["shim_pid"])
        self.started_at = int(message["started_at"])
        """Nanoseconds since the epoch."""
        self.protocol = int(message.get("protocol", 0))
        self._remembers_execs = bool(message.get("remembers_execs"))
        self.is_direct = bool(message.get("is_direct"))
        """Its first process was made of a list of system calls."""
        self._began, self._up_since = message.get("began"), message.get("up_since")
        self.descriptors: dict[str, int] = dict(zip(message["descriptors"], fds, strict=True))
        self.has_resolver = trio.Event()
        """Set when there are, or have been, the sockets on which the container asks for names."""
        if "udp" in self.descriptors:
            self.has_resolver.set()
        self.first_output = trio.Event()
        """Set when the container has written something (while :meth:`wait` runs somewhere)."""
        if message.get("output"):
            self.first_output.set()
        self._lock = trio.Lock()
        self._exit: ExitStatus | None = None

    @property
    def pidfd(self) -> int:
        return self.descriptors["pidfd"]

    @property
    def age(self) -> float:
        """Seconds since the container's start, whatever has been done to the clock meanwhile, and without those in
        which the machine slept: what it has had to get ready in."""
        if self._began is None:
            return max(0.0, (time.time_ns() - self.started_at) / 1e9)
        return time.monotonic() - float(self._began)

    @property
    def uptime(self) -> float:
        """As :attr:`age`, with the seconds in which the machine slept: what people are told."""
        if self._up_since is None:
            return self.age
        return time.clock_gettime(time.CLOCK_BOOTTIME) - float(self._up_since)

    def take(self, name: str) -> int | None:
        """Hand the descriptor ``name`` over to the caller; None when there is none (left)."""
        return self.descriptors.pop(name, None)

    async def wait(self) -> ExitStatus:
        """Until the container has ended, its status is on disk and nothing of it is left but its shim, which may still
        have something for readers that are behind.

        When the shim itself was killed the status is 137, ``error`` says so, and the container has been killed by the
        kernel; its cgroup may still hold processes that were not in its pid namespace."""
        async with self._lock:
            while self._exit is None:
                packet = await self._connection.receive()
                if packet is None:
                    self._exit = status_file.read_any(self._state_dir, self._run_dir) or self._without_shim()
                    break
                message, descriptors = packet
                sockets.close_all(descriptors)
                if message.get("event") == "output":
                    self.first_output.set()
                elif message.get("event") == "exited":
                    # Also where the status could not be written (a full disk).
                    self._exit = status_file.from_fields(message["status"])
            return self._exit

    def _without_shim(self) -> ExitStatus:
        """The shim was killed. Init had ended by itself before, and the kernel may still tell how; or it is killed now,
        also where it has lost its parent-death signal when it executed a set-user-id program."""
        pidfd = self.descriptors.get("pidfd")
        how = wait_status_of(pidfd) if pidfd is not None else None
        with contextlib.suppress(ProcessLookupError):
            self.signal(SIGKILL)
        if how is None or os.waitstatus_to_exitcode(how) == -SIGKILL:
            ended = status_file.killed(self.started_at, oom_kills.watch().reason())
            log.warning("container %s: %s", os.path.basename(self._run_dir), ended.error)
            return ended
        return status_file.seen_by_another(self.started_at, os.waitstatus_to_exitcode(how))

    def signal(self, number: int) -> None:
        """Signal init. Raises ProcessLookupError when it is gone."""
        pidfd = self.descriptors.get("pidfd")
        if pidfd is None:
            raise ProcessLookupError(errno.ESRCH, "the container has ended")
        syscalls.pidfd_send_signal(pidfd, number)

    async def exec(
        self, spec: ExecSpec, streams: ExecStreams | None = None, lasting: LastingExec | None = None
    ) -> ExecSession:
        """Start a process in the container. Raises LaunchError (126, 127 with Docker's texts) and ShimGone."""
        if self.protocol not in SPOKEN:
            raise LaunchError(
                "shim",
                0,
                f"the container was started by another version of composer (shim protocol {self.protocol}): "
                "restart the container to run commands in it",
                125,
            )
        streams = streams or ExecStreams()
        present = [
            (number, fd)
            for number, fd in enumerate((streams.stdin, streams.stdout, streams.stderr))
            if fd is not None
        ]
        connection = self._connect()
        try:
            message = {
                "op": "exec",
                "spec": msgspec.to_builtins(spec),
                "streams": [number for number, _ in present],
            }
            descriptors = [fd for _, fd in present]
            lets_go = False
            if lasting is not None and self._remembers_execs:
                lets_go = lasting.is_read
                message |= {"id": lasting.id, "about": lasting.about, "lets_go": lets_go}
                descriptors += lasting.streams
            await self._send(connection, message, descriptors)
            reply, descriptors = await self._reply(connection)
            terminal = descriptors[0] if descriptors else None
            return ExecSession(connection, int(reply["pid"]), terminal, lets_go=lets_go)
        except BaseException:
            connection.close()
            raise

    async def exec_again(self, exec_id: str) -> tuple[ExecSession, LastingExec]:
        """A process that an earlier core has started; its streams are the caller's. Raises LaunchError, ShimGone."""
        if not self._remembers_execs:
            raise LaunchError("exec", errno.ENOENT, "it is not known", 125)
        connection = self._connect()
        try:
            await self._send(connection, {"op": "exec_again", "id": exec_id, "lets_go": True}, [])
            reply, descriptors = await self._reply(connection)
            session = ExecSession(connection, int(reply["pid"]), None, lets_go=True)
            return session, LastingExec(exec_id, reply["about"], descriptors)
        except BaseException:
            connection.close()
            raise

    async def attach(self, streams: AttachStreams) -> None:
        """Connect ``streams`` to the container from now on. Raises ShimGone."""
        message, descriptors = streams.message()
        await self._ask({"op": "attach", **message}, descriptors)

    async def resize(self, rows: int, columns: int) -> None:
        """Tell the container's terminal its size; without a terminal nothing happens."""
        await self._ask({"op": "resize", "rows": rows, "columns": columns})

    async def close_stdin(self) -> None:
        """End-of-file on the container's standard input."""
        await self._ask({"op": "close_stdin"})

    async def keep(self, descriptors: Mapping[str, int]) -> None:
        """More descriptors from inside the network namespace: the shim has them for the next core from now on, and this
        object owns them. Raises ShimGone, and LaunchError where the shim of an older version keeps nothing."""
        await self._ask({"op": "keep", "names": list(descriptors)}, list(descriptors.values()))
        self.descriptors |= descriptors
        if "udp" in descriptors:
            self.has_resolver.set()

    async def state(self) -> dict[str, Any]:
        """What the shim says of itself, for ``engine dump``."""
        return await self._ask({"op": "state"})

    def close(self) -> None:
        """Close the connection and the descriptors; the container runs on."""
        self._connection.close()
        sockets.close_all(list(self.descriptors.values()))
        self.descriptors.clear()

    def _connect(self) -> PacketSocket:
        try:
            return PacketSocket(sockets.connect(self._run_dir / "shim.sock", socket.SOCK_SEQPACKET))
        except sockets.NOBODY as error:
            raise ShimGone("the container is not running") from error

    @staticmethod
    async def _send(connection: PacketSocket, message: dict[str, Any], descriptors: Sequence[int]) -> None:
        try:
            await connection.send(message, descriptors)
        except OSError as error:
            raise ShimGone("the container is not running") from error

    @staticmethod
    async def _reply(connection: PacketSocket) -> tuple[dict[str, Any], list[int]]:
        packet = await connection.receive()
        if packet is None:
            raise ShimGone("the container is not running")
        if failure := packet[0].get("failed"):
            sockets.close_all(packet[1])
            raise launch_error(failure)
        return packet

    async def _ask(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        connection = self._connect()
        try:
            await self._send(connection, message, descriptors)
            reply, got = await self._reply(connection)
            sockets.close_all(got)
            return reply
        finally:
            connection.close()


def launch_error(failure: Mapping[str, Any]) -> LaunchError:
    return LaunchError(
        str(failure.get("step", "")),
        int(failure.get("errno", 0)),
        str(failure.get("message", "")),
        int(failure.get("exit_code", 125)),
        str(failure.get("hint", "")),
    )


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
