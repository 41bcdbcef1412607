"""The core's side of the keeper: what a core inherits from it, launching containers, the descriptors it keeps."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import trio

from runtime.container import launch_tables
from runtime.container import status as status_file
from runtime.container.baselayer import make_base_layer
from runtime.container.operations import Overlay
from runtime.container.shim_client import AttachStreams, LaunchError, PacketSocket, Shim, launch_error
from runtime.container.status import ExitStatus as ExitStatus
from runtime.container.wire import LaunchSpec
from runtime.crash_points import crash_point
from runtime.errors import ComposerError
from runtime.kernel import oom_kills, script, sockets
from runtime.network.sandbox_script import NotWritable
from runtime.storage.files import hint_for, storage_error

ENVIRONMENT = "COMPOSER_KEEPER"
"""What the keeper leaves in the core's environment: descriptors of its socket, the API listener and the lock, and
its process id, separated by commas."""


REPLACED_WITHIN = 10.0
"""Seconds in which another keeper takes the place of one that died."""
ANSWERED_WITHIN = 30.0
"""Seconds in which a keeper answers: one that does not hangs, is killed, and is replaced like any that died."""
ENDED_WITHIN = 3.0
"""The same where there is nothing left to do for it."""
WITHDRAWN_WITHIN = 10.0
"""Seconds that a start which is given up may take to be gone; after that it is left to end by itself."""


class KeeperGone(ComposerError):
    """The keeper has died; ``runtime.container.bootstrap.replace_keeper`` makes another one."""


def _end_init(message: Mapping[str, Any]) -> None:
    """Kill the container's first process, when a shim's word is that it runs."""
    if pid := message.get("pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


class KeeperClient:
    """The keeper, as the core sees it. Requests are answered one after the other, each within a millisecond or two."""

    def __init__(self, connection: socket.socket, keeper_pid: int) -> None:
        self._connection = PacketSocket(connection)
        self._lock = trio.Lock()
        self._replacement = trio.Event()
        """Set when another keeper has taken the place of this one."""
        self._takes_tables: bool | None = None
        """Whether this keeper's shims make first processes of tables as they are here; None: not asked yet."""
        self.tables = launch_tables.Tables()
        """Of the containers that it starts."""
        oom_kills.watch()
        self.pid = keeper_pid
        try:
            self._pidfd: int | None = os.pidfd_open(keeper_pid)
        except ProcessLookupError:
            self._pidfd = None

    async def launch(
        self, spec: LaunchSpec, attach: AttachStreams | None = None, *, is_secret: bool = False
    ) -> Shim:
        """Start the container of ``spec``; returns when its process has been executed.

        ``attach`` is connected before the first byte can be written. Raises LaunchError, KeeperGone. Cancelled or
        failed, nothing is left of the container's processes; nor, if ``spec`` ``is_secret``, of that on the disk."""
        if not is_secret:
            return await self._launch(spec, attach)
        try:
            return await self._launch(spec, attach)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_forget, Path(spec.run_dir))

    async def _launch(self, spec: LaunchSpec, attach: AttachStreams | None) -> Shim:
        firsts = prepare(spec)
        crash_point("core.start.written")
        if (written := await self._write_table(spec, firsts)) is None:
            return await self._launch_written(spec, attach, -1)
        try:
            table = script.memory_file(written.table)
        except OSError:
            return await self._launch_written(spec, attach, -1)
        try:
            shim = await self._launch_written(spec, attach, table)
        finally:
            os.close(table)
        self.tables.went(written, well=shim.is_direct)
        return shim

    async def _write_table(self, spec: LaunchSpec, firsts: bytes) -> launch_tables.Written | None:
        """The first process's system calls; None where they cannot be written, or for a keeper that takes none."""
        if self._takes_tables is None:
            try:
                answer, _ = await self._request_once({"op": "hello"})
            except ComposerError:
                return None
            self._takes_tables = answer.get("tables") == script.FORMAT
        if not self._takes_tables:
            return None
        about = (spec.namespaces, spec.cgroup, spec.state_dir, spec.stdin_open, spec.init)
        try:
            return self.tables.get(spec, firsts + msgspec.json.encode(about))
        except (NotWritable, script.TooLong, OSError):
            return None

    async def _launch_written(self, spec: LaunchSpec, attach: AttachStreams | None, table: int) -> Shim:
        while True:
            before = self._replacement
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            connection = PacketSocket(ours)
            try:
                is_gone = await self._ask_for_shim(spec, attach, theirs, table)
                crash_point("core.start.asked")
                # A keeper that was killed may have forked the shim before: then it goes on without it, and has this
                # connection. If not, it is closed.
                if (packet := await self._first_word(connection)) is not None:
                    return await self._take_up(spec, connection, *packet)
                if not is_gone:
                    ended = status_file.read_any(spec.state_dir, spec.run_dir)
                    lost = f"the container's shim was killed{oom_kills.watch().reason()}"
                    raise LaunchError("shim", 0, ended.error if ended else lost, 125)
            except BaseException:
                with trio.move_on_after(WITHDRAWN_WITHIN, shield=True):
                    await self._withdraw(connection)
                connection.close()
                raise
            connection.close()
            await self._wait_replaced(before)

    async def _ask_for_shim(
        self, spec: LaunchSpec, attach: AttachStreams | None, theirs: socket.socket, table: int
    ) -> bool:
        """Whether the keeper is gone; ``theirs`` is the shim's now."""
        message: dict[str, Any] = {"op": "launch", "run_dir": spec.run_dir}
        descriptors = [theirs.fileno()]
        if attach is not None:
            message["attach"], streams = attach.message()
            descriptors += streams
        if table >= 0 and self._takes_tables:
            message["has_table"] = True
            descriptors.append(table)
        try:
            await self._request_once(message, descriptors)
        except KeeperGone:
            return True
        finally:
            theirs.close()
        return False

    async def _first_word(self, connection: PacketSocket) -> tuple[dict[str, Any], list[int]] | None:
        try:
            return await connection.receive()
        except sockets.DescriptorsLost as error:
            _end_init(error.packet)  # it runs, and cannot be looked after
            raise

    async def _withdraw(self, connection: PacketSocket) -> None:
        """End what nobody wants any more, and wait until its shim is gone: who starts the same container next would
        share its cgroup with one that removes it."""
        while True:
            try:
                packet = await connection.receive()
            except sockets.DescriptorsLost as error:
                _end_init(error.packet)
                continue
            if packet is None:
                return
            message, descriptors = packet
            sockets.close_all(descriptors)
            _end_init(message)

    async def _take_up(
        self, spec: LaunchSpec, connection: PacketSocket, reply: dict[str, Any], descriptors: list[int]
    ) -> Shim:
        if failure := reply.get("failed"):
            sockets.close_all(descriptors)
            await connection.receive()
            raise launch_error(failure)
        return Shim(connection, Path(spec.run_dir), Path(spec.state_dir), reply, descriptors)

    async def store(self, name: str, descriptors: Sequence[int], *, is_patient: bool = True) -> None:
        """Keep duplicates of ``descriptors`` under ``name`` (in place of what was there) for a core to come."""
        ask = self._request if is_patient else self._request_once
        await ask({"op": "store", "name": name}, descriptors)

    async def accept(self, name: str, listener: int) -> list[int]:
        """Have the keeper accept a connection of the listening socket and keep it under ``name``: a duplicate of it;
        empty when nobody was waiting (any more)."""
        return (await self._request({"op": "accept", "name": name}, [listener]))[1]

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
            await self._request_once({"op": "ready"})

    async def starts(self, core_argv: Sequence[str]) -> bool:
        """Whether it would start just this core in the place of one that died. Raises KeeperGone."""
        try:
            answer, _ = await self._request_once({"op": "hello"})
        except KeeperGone:
            raise
        except ComposerError:
            return False  # it is older than the question
        return answer.get("core") == list(core_argv)

    def descriptor(self) -> int:
        """Of the connection."""
        return self._connection.descriptor()

    async def end(self) -> None:
        """Say that the core is about to end on purpose: the keeper will end too and not start another one."""
        await self._request_once({"op": "end"}, within=ENDED_WITHIN)

    async def wait_gone(self) -> None:
        """Until the keeper has died."""
        if self._pidfd is not None:
            await trio.lowlevel.wait_readable(self._pidfd)

    def kill(self) -> None:
        """End a keeper that hangs, and what it is still asked. Shims and their containers go on."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._connection.close()

    def replace(self, connection: socket.socket, keeper_pid: int) -> None:
        """Talk to another keeper, which took the place of one that died."""
        self.close()
        with contextlib.suppress(
            ChildProcessError
        ):  # the first one is the parent, those after it are children
            os.waitpid(self.pid, os.WNOHANG)
        self._connection = PacketSocket(connection)
        self._takes_tables = None
        self.pid = keeper_pid
        try:
            self._pidfd = os.pidfd_open(keeper_pid)
        except ProcessLookupError:
            self._pidfd = None
        replaced, self._replacement = self._replacement, trio.Event()
        replaced.set()

    async def _wait_replaced(self, replacement: trio.Event) -> None:
        """Raises KeeperGone when no other keeper comes."""
        with trio.move_on_after(REPLACED_WITHIN):
            await replacement.wait()
            return
        raise KeeperGone("the engine's keeper is gone")

    def close(self) -> None:
        self._connection.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    async def _request(
        self, message: dict[str, Any], descriptors: Sequence[int] = ()
    ) -> tuple[dict[str, Any], list[int]]:
        """Asks the next keeper where this one dies: for what may be asked twice."""
        while True:
            before = self._replacement
            try:
                return await self._request_once(message, descriptors)
            except KeeperGone:
                await self._wait_replaced(before)

    async def _request_once(
        self, message: dict[str, Any], descriptors: Sequence[int] = (), within: float | None = None
    ) -> tuple[dict[str, Any], list[int]]:
        # Shielded: half a request would leave its answer to the next one. The keeper answers at once or is dead.
        packet = None
        async with self._lock:
            deadline = trio.current_time() + (ANSWERED_WITHIN if within is None else within)
            with trio.CancelScope(shield=True, deadline=deadline) as patience:
                try:
                    await self._connection.send(message, descriptors)
                    packet = await self._connection.receive()
                except sockets.DescriptorsLost:
                    raise
                except (OSError, trio.ClosedResourceError) as error:
                    raise KeeperGone(f"the engine's keeper is gone: {error}") from error
            if patience.cancelled_caught:
                self.kill()
        if packet is None:
            raise KeeperGone("the engine's keeper is gone")
        if error_text := packet[0].get("error"):
            sockets.close_all(packet[1])
            raise ComposerError(str(error_text), hint=hint_for(int(packet[0].get("errno", 0))))
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


def hand_on(keeper: KeeperClient, listener: socket.socket, lock: int) -> dict[str, str]:
    """The environment in which a core that this process executes can :func:`inherit` what this one has inherited."""
    descriptors = (keeper.descriptor(), listener.fileno(), lock)
    for fd in descriptors:
        os.set_inheritable(fd, True)
    return {ENVIRONMENT: ",".join(map(str, (*descriptors, keeper.pid)))}


def launch_document(spec: LaunchSpec) -> tuple[bytes, bytes]:
    """Two lines: what the shim needs for as long as it lives, and what only the container's first process does."""
    only_first = ("operations", "process")
    shims = {field: getattr(spec, field) for field in spec.__struct_fields__ if field not in only_first}
    shims["tty"] = spec.process.tty
    overlay = next((found for found in spec.operations[:1] if isinstance(found, Overlay)), None)
    shims["root"] = overlay and {
        "like": (*overlay.layers, overlay.base)[0],
        "upper": overlay.upper,
        "work": overlay.work,
    }
    firsts = {field: getattr(spec, field) for field in only_first}
    return msgspec.json.encode(shims), msgspec.json.encode(firsts)


def prepare(spec: LaunchSpec) -> bytes:
    """Write what the shim reads: ``launch.json`` in the container's run directory, readable by the owner only. Its
    second line.

    From then on the container counts as started: how it ended the last time is forgotten before. Raises ComposerError.
    """
    path = os.path.join(spec.run_dir, "launch.json")
    try:
        for operation in spec.operations[:1]:
            if isinstance(operation, Overlay):
                make_base_layer(Path(operation.base))
        os.makedirs(spec.run_dir, mode=0o700, exist_ok=True)
        status_file.clear(spec.state_dir)
        status_file.clear(spec.run_dir)
        fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            lines = launch_document(spec)
            file.write(b"\n".join(lines))
        os.rename(path + ".new", path)
        return lines[1]
    except OSError as error:
        raise storage_error(error, "write", error.filename or path) from error


def _forget(run_dir: Path) -> None:
    """Empty what a container was started with; that it was started stays known. Blocking."""
    path = run_dir / "launch.json"
    with contextlib.suppress(FileNotFoundError):
        started = path.stat()
        os.truncate(path, 0)
        os.utime(path, ns=(started.st_atime_ns, started.st_mtime_ns))


async def adopt(run_dir: Path, state_dir: Path) -> Shim | ExitStatus | None:
    """What became of a container that an earlier core started: its shim when it runs, else how it ended (137 when its
    shim was killed), or None when it was not started since the last reboot and left no exit status.

    Raises OSError for what says nothing about the shim (no descriptors, no memory)."""
    try:
        connection = PacketSocket(sockets.connect(run_dir / "shim.sock", socket.SOCK_SEQPACKET))
    except sockets.NOBODY:
        return status_file.read_any(state_dir, run_dir) or status_file.interrupted(run_dir)
    try:
        await connection.send({"op": "subscribe"})
        packet = await connection.receive()
    except sockets.NOBODY:
        packet = None
    except BaseException:
        connection.close()
        raise
    if packet is None or "pid" not in packet[0]:
        connection.close()
        return status_file.read_any(state_dir, run_dir) or status_file.interrupted(run_dir)
    return Shim(connection, run_dir, state_dir, *packet)
