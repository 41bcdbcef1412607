"""The core's side of the keeper and of the shims: trio, one packet a message, descriptors as SCM_RIGHTS.

A :class:`Shim` is one running container. Whoever runs ``await shim.wait()`` (the replica's task) drives its events;
all other methods may be called from other tasks meanwhile.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any

import msgspec
import trio

from runtime.container import status as status_file
from runtime.container.baselayer import make_base_layer
from runtime.container.operations import Overlay
from runtime.container.spec import ExecSpec, LaunchSpec
from runtime.container.status import ExitStatus as ExitStatus
from runtime.errors import ComposerError
from runtime.kernel import sockets, syscalls
from runtime.storage.files import storage_error

ENVIRONMENT = "COMPOSER_KEEPER"
"""What the keeper leaves in the core's environment: descriptors of its socket, the API listener and the lock, and
its process id, separated by commas."""


class KeeperGone(ComposerError):
    """The keeper has died; ``runtime.container.bootstrap.replace_keeper`` makes another one."""


class ShimGone(ComposerError):
    """The container's shim has died or ended; its exit status is in ``wait()`` or on disk."""

    status = 409


class LaunchError(ComposerError):
    """A container or an exec could not be started. ``exit_status`` is Docker's 125 (engine), 126 (cannot be
    executed) or 127 (not found)."""

    status = 400

    def __init__(self, step: str, errno: int, message: str, exit_code: int) -> None:
        super().__init__(message, exit_status=exit_code)
        self.step = step
        self.errno = errno
        self.exit_code = exit_code


class PacketSocket:
    """JSON packets with descriptors over a SEQPACKET socket."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = trio.socket.from_stdlib_socket(connection)

    async def send(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Raises OSError (EPIPE, ECONNRESET) when nobody is there any more."""
        data = sockets.encode_packet(dict(message))
        ancillary = []
        if descriptors:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        await self._socket.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)

    async def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next packet with its descriptors (close-on-exec), or None at end-of-file."""
        try:
            data, ancillary, _, _ = await self._socket.recvmsg(
                sockets.MAX_PACKET, socket.CMSG_SPACE(4 * sockets.MAX_DESCRIPTORS), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return None
        descriptors = sockets.descriptors_in(ancillary)
        if not data:
            sockets.close_all(descriptors)
            return None
        return json.loads(data), descriptors

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


class ExecSession:
    """A process started in a running container."""

    def __init__(self, connection: PacketSocket, pid: int, terminal: int | None) -> None:
        self._connection = connection
        self.pid = pid
        """As the host numbers it."""
        self.terminal = terminal
        """With ``tty``: the descriptor of the terminal's master end, to be owned (and closed) by the caller."""

    async def wait(self) -> int:
        """The exit status (128 + n for signal n). Closes the session. Raises ShimGone when the container ended with
        its shim before the process was waited for."""
        try:
            while (packet := await self._connection.receive()) is not None:
                message, descriptors = packet
                sockets.close_all(descriptors)
                if message.get("event") == "exited":
                    return int(message["exit_code"])
            raise ShimGone("the container ended")
        finally:
            self._connection.close()

    async def signal(self, number: int) -> None:
        await self._connection.send({"op": "signal", "signal": number})

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
        self.descriptors: dict[str, int] = dict(zip(message["descriptors"], fds, strict=True))
        self.first_output = trio.Event()
        """Set when the container has written something (while :meth:`wait` runs somewhere)."""
        if message.get("output"):
            self.first_output.set()
        self._lock = trio.Lock()
        self._exit: ExitStatus | None = None
        self._told: ExitStatus | None = None
        """What the shim says: counts where it could not write (a full disk)."""

    @property
    def pidfd(self) -> int:
        return self.descriptors["pidfd"]

    def take(self, name: str) -> int | None:
        """Hand the descriptor ``name`` over to the caller; None when there is none (left)."""
        return self.descriptors.pop(name, None)

    async def wait(self) -> ExitStatus:
        """Until the container has ended, its status is on disk and its shim is done.

        When the shim itself was killed the status is 137, ``error`` says so, and the container has been killed by the
        kernel; its cgroup may still hold processes that were not in its pid namespace."""
        async with self._lock:
            while self._exit is None:
                packet = await self._connection.receive()
                if packet is None:
                    self._exit = status_file.read(self._state_dir) or self._told or self._without_shim()
                    break
                message, descriptors = packet
                sockets.close_all(descriptors)
                if message.get("event") == "output":
                    self.first_output.set()
                elif message.get("event") == "exited":
                    self._told = status_file.from_fields(message["status"])
            return self._exit

    def _without_shim(self) -> ExitStatus:
        """The shim was killed. Init has lost its parent-death signal when it executed a set-user-id program."""
        with contextlib.suppress(ProcessLookupError, KeyError):
            self.signal(SIGKILL)
        return status_file.killed(self.started_at)

    def signal(self, number: int) -> None:
        """Signal init. Raises ProcessLookupError when it is gone."""
        syscalls.pidfd_send_signal(self.pidfd, number)

    async def exec(self, spec: ExecSpec, streams: ExecStreams | None = None) -> ExecSession:
        """Start a process in the container. Raises LaunchError (126, 127 with Docker's texts) and ShimGone."""
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
            await self._send(connection, message, [fd for _, fd in present])
            reply, descriptors = await self._reply(connection)
            return ExecSession(connection, int(reply["pid"]), descriptors[0] if descriptors else None)
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
        except OSError as error:
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
    )


class KeeperClient:
    """The keeper, as the core sees it. Requests are answered one after the other, each within a millisecond or two."""

    def __init__(self, connection: socket.socket, keeper_pid: int) -> None:
        self._connection = PacketSocket(connection)
        self._lock = trio.Lock()
        self.pid = keeper_pid
        try:
            self._pidfd: int | None = os.pidfd_open(keeper_pid)
        except ProcessLookupError:
            self._pidfd = None

    async def launch(self, spec: LaunchSpec, attach: AttachStreams | None = None) -> Shim:
        """Start the container of ``spec``; returns when its process has been executed.

        ``attach`` is connected before the first byte can be written. Raises LaunchError, KeeperGone. Cancelled or
        failed, nothing is left of the container's processes."""
        run_dir = Path(spec.run_dir)
        prepare(spec)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection = PacketSocket(ours)
        try:
            message: dict[str, Any] = {"op": "launch", "run_dir": spec.run_dir}
            descriptors = [theirs.fileno()]
            if attach is not None:
                message["attach"], streams = attach.message()
                descriptors += streams
            try:
                await self._request(message, descriptors)
            finally:
                theirs.close()
            packet = await connection.receive()
            if packet is None:
                ended = status_file.read(Path(spec.state_dir))
                raise LaunchError("shim", 0, ended.error if ended else "the container's shim was killed", 125)
            reply, fds = packet
            if failure := reply.get("failed"):
                sockets.close_all(fds)
                await connection.receive()
                raise launch_error(failure)
            return Shim(connection, run_dir, Path(spec.state_dir), reply, fds)
        except BaseException:
            connection.close()
            raise

    async def store(self, name: str, descriptors: Sequence[int]) -> None:
        """Keep duplicates of ``descriptors`` under ``name`` (in place of what was there) for a core to come."""
        await self._request({"op": "store", "name": name}, descriptors)

    async def fetch(self, name: str) -> list[int]:
        """Duplicates of what was stored under ``name``; empty when nothing was."""
        return (await self._request({"op": "fetch", "name": name}))[1]

    async def drop(self, name: str) -> None:
        await self._request({"op": "drop", "name": name})

    async def names(self) -> list[str]:
        """What is stored."""
        return list((await self._request({"op": "names"}))[0]["names"])

    async def ready(self) -> None:
        """Say that this core serves: the command that started the engine goes on, and from now on the keeper starts
        another core when this one dies. A keeper that is gone has nobody to tell."""
        with contextlib.suppress(KeeperGone):
            await self._request({"op": "ready"})

    async def end(self) -> None:
        """Say that the core is about to end on purpose: the keeper will end too and not start another one."""
        await self._request({"op": "end"})

    async def wait_gone(self) -> None:
        """Until the keeper has died."""
        if self._pidfd is not None:
            await trio.lowlevel.wait_readable(self._pidfd)

    def replace(self, connection: socket.socket, keeper_pid: int) -> None:
        """Talk to another keeper, which took the place of one that died."""
        self.close()
        self._connection = PacketSocket(connection)
        self.pid = keeper_pid
        try:
            self._pidfd = os.pidfd_open(keeper_pid)
        except ProcessLookupError:
            self._pidfd = None

    def close(self) -> None:
        self._connection.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    async def _request(
        self, message: dict[str, Any], descriptors: Sequence[int] = ()
    ) -> tuple[dict[str, Any], list[int]]:
        # Shielded: half a request would leave its answer to the next one. The keeper answers at once or is dead.
        async with self._lock:
            with trio.CancelScope(shield=True):
                try:
                    await self._connection.send(message, descriptors)
                    packet = await self._connection.receive()
                except OSError as error:
                    raise KeeperGone(f"the engine's keeper is gone: {error}") from error
        if packet is None:
            raise KeeperGone("the engine's keeper is gone")
        if error_text := packet[0].get("error"):
            sockets.close_all(packet[1])
            raise ComposerError(str(error_text))
        return packet


@dataclass(frozen=True)
class Inheritance:
    """What the keeper gave to the core that it started."""

    keeper: KeeperClient
    listener: socket.socket
    """The listening API socket."""
    lock: int
    """The engine lock's descriptor: as long as keeper or core lives, no second engine can start."""


def inherit(environment: Mapping[str, str] = os.environ) -> Inheritance:
    """Take over the descriptors named by the environment. Raises ComposerError when no keeper started this process."""
    try:
        keeper, listener, lock, pid = map(int, environment[ENVIRONMENT].split(","))
    except (KeyError, ValueError):
        raise ComposerError(
            "the core is started by its keeper", hint="run `composer` commands; they start the engine"
        ) from None
    for fd in (keeper, listener, lock):
        os.set_inheritable(fd, False)
    return Inheritance(KeeperClient(socket.socket(fileno=keeper), pid), socket.socket(fileno=listener), lock)


def prepare(spec: LaunchSpec) -> None:
    """Write what the shim reads: ``launch.json`` in the container's run directory, readable by the owner only.

    From then on the container counts as started: how it ended the last time is forgotten before. Raises ComposerError.
    """
    path = os.path.join(spec.run_dir, "launch.json")
    try:
        for operation in spec.operations[:1]:
            if isinstance(operation, Overlay):
                make_base_layer(Path(operation.base))
        os.makedirs(spec.run_dir, mode=0o700, exist_ok=True)
        status_file.clear(spec.state_dir)
        fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(msgspec.json.encode(spec))
        os.rename(path + ".new", path)
    except OSError as error:
        raise storage_error(error, "write", path) from error


async def adopt(run_dir: Path, state_dir: Path) -> Shim | ExitStatus | None:
    """What became of a container that an earlier core started: its shim when it runs, else how it ended (137 when its
    shim was killed), or None when it was not started since the last reboot and left no exit status."""
    try:
        connection = PacketSocket(sockets.connect(run_dir / "shim.sock", socket.SOCK_SEQPACKET))
    except OSError:
        return status_file.read(state_dir) or status_file.interrupted(run_dir)
    try:
        await connection.send({"op": "subscribe"})
        packet = await connection.receive()
    except OSError:
        packet = None
    except BaseException:
        connection.close()
        raise
    if packet is None or "pid" not in packet[0]:
        connection.close()
        return status_file.read(state_dir) or status_file.interrupted(run_dir)
    return Shim(connection, run_dir, state_dir, *packet)
