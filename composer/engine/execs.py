"""Processes started in running containers: for people (exec), for hooks, and for probes."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakKeyDictionary

import msgspec
import trio
from msgspec.structs import replace

from composer.compose.durations import SECOND, format_duration
from composer.engine.containers import Container, Containers
from composer.engine.events import Events
from composer.engine.health import OUTPUT_LIMIT
from composer.engine.launching import Launching
from composer.engine.model import ExecConfig, ExecState
from composer.engine.streams import CHUNK, Streams, open_pipes
from runtime.container.config import Hook
from runtime.container.shim_client import (
    ExecSession,
    ExecStreams,
    LastingExec,
    LaunchError,
    Shim,
    ShimGone,
)
from runtime.container.wire import ExecSpec
from runtime.crash_points import crash_point
from runtime.errors import Conflict, InvalidArgument, NotFound

Hear = Callable[[bytes], Awaitable[None]]
_ID = re.compile(r"[0-9a-f]{64}")
TIMED_OUT = -1
"""Exit code of a command that took too long."""
SIGKILL = 9
LEFT_FOR = 60.0
"""Seconds for which somebody may come again for the streams of an exec whose engine was killed."""
PIPE_SIZE = 1 << 20
"""Bytes: no pipe of ours holds more (pipe(7))."""


@dataclass
class _Running:
    state: ExecState
    session: ExecSession | None = None
    left: Streams | None = None
    """Of one that an earlier engine has started, until somebody comes for them."""


@dataclass
class Execs:
    """All execs, by id. They are forgotten with their container."""

    containers: Containers
    events: Events
    launching: Launching
    nursery: trio.Nursery | None = None
    _execs: dict[str, _Running] = field(default_factory=dict)
    _probes: WeakKeyDictionary[Shim, ExecSpec] = field(default_factory=WeakKeyDictionary)
    """Of what runs with a healthcheck: the probe, which is the same for as long as it does."""
    _finding: trio.Lock = field(default_factory=trio.Lock)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the tasks that wait for detached execs, until cancelled."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    async def create(self, ref: str, config: ExecConfig, exec_id: str = "") -> str:
        """Enter an exec; nothing runs yet."""
        if exec_id and (not _ID.fullmatch(exec_id) or exec_id in self._execs):
            raise InvalidArgument(f"invalid exec id: {exec_id!r}", hint="64 hex digits that no other has")
        container = self.containers.get(ref)
        _running_shim(container)
        state = ExecState(id=exec_id or secrets.token_hex(32), container_id=container.id, config=config)
        self._execs[state.id] = _Running(state)
        container.execs.add(state.id)
        attributes = {**container.attributes, "execID": state.id}
        self.events.publish("container", f"exec_create: {_line(config.cmd)}", container.id, attributes)
        for old in [
            e for e in container.execs if e in self._execs and self._execs[e].state.exit_code is not None
        ][:-64]:
            container.execs.discard(old)
            del self._execs[old]
        return state.id

    def _get(self, exec_id: str) -> _Running:
        found = self._execs.get(exec_id)
        if found is None:
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    async def inspect(self, exec_id: str) -> ExecState:
        return (await self._find(exec_id)).state

    def has_left(self, exec_id: str) -> bool:
        """Whether an earlier engine has started it and nobody has come yet for the rest of its output."""
        return self._get(exec_id).left is not None

    async def _find(self, exec_id: str) -> _Running:
        """As :meth:`_get`, also what an engine has started that was killed: the container's shim knows it."""
        async with self._finding:
            for container in self.containers.all() if exec_id not in self._execs else ():
                if container.shim is not None:
                    with contextlib.suppress(LaunchError, ShimGone, OSError):
                        self._take_up(container, *await container.shim.exec_again(exec_id))
                        break
        return self._get(exec_id)

    def _take_up(self, container: Container, session: ExecSession, lasting: LastingExec) -> None:
        config = msgspec.convert(lasting.about, ExecConfig)
        state = ExecState(
            id=lasting.id, container_id=container.id, config=config, running=True, pid=session.pid
        )
        running = self._execs[state.id] = _Running(state, session)
        container.execs.add(state.id)
        done = trio.Event()
        names = ["stdout", "stderr"] if config.attach_stdout else ["stderr"]
        by_name = dict(zip(names, lasting.streams, strict=False))
        running.left = Streams(
            **by_name,
            stdin=by_name.get("stdout") if config.tty else None,
            is_terminal=config.tty,
            on_close=partial(self._let_go, session),
            ended=done,
        )
        if self.nursery is not None:
            self.nursery.start_soon(self._await_end, running, container, done)
            self.nursery.start_soon(self._give_up, running)

    async def _give_up(self, running: _Running) -> None:
        await trio.sleep(LEFT_FOR)
        if running.left is not None:
            streams, running.left = running.left, None
            await streams.aclose()

    def _let_go(self, session: ExecSession) -> None:
        if self.nursery is not None:
            self.nursery.start_soon(session.let_go)

    async def again(self, exec_id: str) -> Streams:
        """The streams of one that runs since before this engine, from where the last one had read them."""
        running = await self._find(exec_id)
        if running.left is None:
            raise Conflict(f"exec {exec_id} is somebody else's")
        streams, running.left = running.left, None
        return streams

    def of(self, ref: str) -> list[str]:
        """Ids of the container's execs that run or are yet to."""
        container = self.containers.get(ref)
        return [e for e in container.execs if e in self._execs and self._execs[e].state.exit_code is None]

    async def start(
        self, exec_id: str, *, detach: bool = False, tty: bool | None = None, rows: int = 0, cols: int = 0
    ) -> Streams | None:
        """Run it. Returns its streams, which end with the process; None when ``detach``."""
        running = self._get(exec_id)
        if running.state.running or running.state.exit_code is not None:
            raise Conflict(f"Error: Exec command {exec_id} has already run")
        container = self.containers.get(running.state.container_id)
        shim = _running_shim(container)
        config = running.state.config
        pipes = _Pipes(config, detach)
        try:
            spec = (
                await self.launching.debug_spec(container, config)
                if config.debugs
                else self.launching.exec_spec(
                    container,
                    config.cmd,
                    env=config.env,
                    cwd=config.working_dir,
                    user=config.user,
                    tty=config.tty,
                    privileged=config.privileged,
                )
            )
            if rows and cols:
                spec = replace(spec, process=replace(spec.process, window=(rows, cols)))
            crash_point("core.exec.asked")
            about = msgspec.to_builtins(replace(config, env=()))
            session = await shim.exec(
                spec, pipes.theirs, LastingExec(exec_id, about, pipes.outputs, not detach)
            )
            crash_point("core.exec.started")
            if config.tty and rows and cols:
                await session.resize(rows, cols)  # for a shim of an older version
        except LaunchError as error:
            pipes.close()
            running.state.exit_code = error.exit_code
            running.state.error = str(error)
            raise
        except BaseException:
            pipes.close()
            raise
        pipes.close_theirs()
        running.session = session
        running.state.running = True
        running.state.pid = session.pid
        attributes = {**container.attributes, "execID": exec_id}
        self.events.publish("container", f"exec_start: {_line(config.cmd)}", container.id, attributes)
        done = trio.Event()
        if self.nursery is not None:
            self.nursery.start_soon(self._await_end, running, container, done)
        if session.terminal is not None and (detach or not config.tty):
            os.close(session.terminal)
        if detach:
            return None
        if config.tty and session.terminal is not None:
            return Streams(
                stdout=session.terminal,
                stdin=session.terminal,
                is_terminal=True,
                on_close=partial(self._let_go, session),
                ended=done,
            )
        return Streams(
            stdout=pipes.stdout,
            stderr=pipes.stderr,
            stdin=pipes.stdin,
            on_close=partial(self._let_go, session),
            ended=done,
        )

    async def _await_end(self, running: _Running, container: Container, done: trio.Event) -> None:
        assert running.session is not None
        try:
            running.state.exit_code = await running.session.wait()
        except ShimGone:
            running.state.exit_code = 137
        crash_point("core.exec.ended")
        running.state.running = False
        running.state.pid = 0
        done.set()
        attributes = {
            **container.attributes,
            "execID": running.state.id,
            "exitCode": str(running.state.exit_code),
        }
        self.events.publish("container", "exec_die", container.id, attributes)

    async def resize(self, exec_id: str, rows: int, cols: int) -> None:
        """Tell the terminal of an exec its size."""
        running = await self._find(exec_id)
        if running.session is not None and running.state.running:
            await running.session.resize(rows, cols)

    async def run_command(
        self,
        container: Container,
        command: Sequence[str],
        spec: ExecSpec,
        timeout: float,
        limit: int,
        hear: Hear | None = None,
    ) -> tuple[int, bytes]:
        """Run ``spec``, which was made of ``command``, for at most ``timeout`` seconds: exit code (-1: killed for
        taking too long; 126, 127: could not be started) and at most ``limit`` bytes of its output; ``hear`` is given
        all of it, as it comes."""
        about = {**container.attributes, "execID": secrets.token_hex(32)}
        line = _line(command)
        self.events.publish("container", f"exec_create: {line}", container.id, about, is_kept=False)
        self.events.publish("container", f"exec_start: {line}", container.id, about, is_kept=False)
        output = _Output(limit)
        async with trio.open_nursery() as nursery:
            if hear is not None:
                nursery.start_soon(output.tell, hear)
            code = await self._run_spec(container, spec, timeout, output)
            output.end()
        about["exitCode"] = str(code)
        self.events.publish("container", "exec_die", container.id, about, is_kept=False)
        return code, bytes(output.kept)

    async def _run_spec(self, container: Container, spec: ExecSpec, timeout: float, output: _Output) -> int:
        shim = _running_shim(container)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        try:
            try:
                session = await shim.exec(spec, ExecStreams(stdout=writer, stderr=writer))
            except LaunchError as error:
                output.kept += str(error).encode()
                return error.exit_code
            except ShimGone:
                output.kept += b"the container ended"
                return 137
            finally:
                os.close(writer)
            code: int | None = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_collect, reader, output)
                try:
                    code = await session.wait_for(timeout)
                except ShimGone:
                    code = 137
                nursery.cancel_scope.cancel()
            if code is None:
                _kill(session)
            _drain(reader, output)
            if code is None:
                late = f"Health check exceeded timeout ({format_duration(round(timeout * SECOND))})"
                output.kept[:0] = (f"{late}: " if output.kept else late).encode()
                del output.kept[output.limit :]
            return TIMED_OUT if code is None else code
        finally:
            os.close(reader)

    async def run_hook(self, container: Container, hook: Hook, hear: Hear | None = None) -> tuple[int, bytes]:
        """Run a post_start or pre_stop hook to its end; its exit code and the beginning of what it wrote."""
        spec = self.launching.hook_spec(container, hook)
        return await self.run_command(container, hook.command, spec, float("inf"), CHUNK, hear)

    async def run_probe(
        self, container: Container, command: tuple[str, ...], timeout: float
    ) -> tuple[int, bytes]:
        """Run a healthcheck."""
        shim = _running_shim(container)
        spec = self._probes.get(shim)
        if spec is None:
            spec = self._probes[shim] = self.launching.exec_spec(container, command)
        return await self.run_command(container, command, spec, timeout, OUTPUT_LIMIT)


def tail_of(output: bytes) -> str:
    """The last lines of what a command wrote, for people."""
    return "\n".join(output.decode(errors="replace").splitlines()[-5:])


def _line(command: Sequence[str]) -> str:
    """In events: the program, a space, its arguments; as Docker has it, without any as well."""
    return f"{command[0]} {' '.join(command[1:])}"


def _running_shim(container: Container) -> Shim:
    if container.state.status == "paused":
        raise Conflict(f"Container {container.name} is paused, unpause the container before exec")
    if container.state.status == "restarting":
        raise Conflict(f"Container {container.name} is restarting, wait until the container is running")
    if container.shim is None or not container.state.is_alive:
        raise Conflict(f"container {container.name} is not running")
    return container.shim


def _kill(session: ExecSession) -> None:
    """Kill a probe with all that it has started and that is still of its process group, which has its number: the shim
    has not told of its end, so it has not been waited for, and the number is nobody else's."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session.pid, SIGKILL)
    session.close()


class _Output:
    """What a command writes: the first ``limit`` bytes are kept, all is told to whoever wants to hear it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.kept = bytearray()
        self._untold: list[bytes] | None = None
        self._news = trio.Event()
        self._is_over = False

    def add(self, data: bytes) -> None:
        self.kept += data[: max(0, self.limit - len(self.kept))]
        if self._untold is not None:
            self._untold.append(data)
            self._news.set()

    def end(self) -> None:
        self._is_over = True
        self._news.set()

    async def tell(self, hear: Hear) -> None:
        """Until the end. Apart from the reading, which must not lose what it has when it is cut short."""
        self._untold = []
        while True:
            await self._news.wait()
            self._news = trio.Event()
            data, self._untold = b"".join(self._untold), []
            if data:
                await hear(data)
            if self._is_over and not self._untold:
                return


async def _collect(reader: int, output: _Output) -> None:
    while True:
        await trio.lowlevel.wait_readable(reader)
        if not _drain(reader, output):
            return


def _drain(reader: int, output: _Output) -> bool:
    """Read what is there, but not for ever what somebody writes meanwhile; False at end of file."""
    for _ in range(PIPE_SIZE // CHUNK):
        try:
            data = os.read(reader, CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        output.add(data)
    return True


class _Pipes:
    """Both ends of an exec's pipes."""

    def __init__(self, config: ExecConfig, detach: bool) -> None:
        self.stdin: int | None = None
        self.stdout: int | None = None
        self.stderr: int | None = None
        self.theirs = ExecStreams()
        if config.tty or detach:
            return
        (stdin, self.stdin), (self.stdout, stdout), (self.stderr, stderr) = open_pipes(
            config.attach_stdin, config.attach_stdout, config.attach_stderr
        )
        self.theirs = ExecStreams(stdin=stdin, stdout=stdout, stderr=stderr)

    @property
    def outputs(self) -> list[int]:
        return [fd for fd in (self.stdout, self.stderr) if fd is not None]

    def close_theirs(self) -> None:
        for fd in (self.theirs.stdin, self.theirs.stdout, self.theirs.stderr):
            if fd is not None:
                os.close(fd)

    def close(self) -> None:
        self.close_theirs()
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd is not None:
                os.close(fd)
