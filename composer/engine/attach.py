"""Attaching to a container's own process, and what is read off its processes: top, stats."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from composer.engine import process_table
from composer.engine.containers import Container, Containers, PendingAttach
from composer.engine.logs import ContainerLogs
from composer.engine.streams import Stream, Streams, open_pipes
from runtime.container import stats as container_stats
from runtime.container.logs import LogEntry
from runtime.container.shim_client import AttachStreams
from runtime.errors import Conflict
from runtime.kernel.cgroups import Cgroups


class LoggedStreams(Streams):
    """Streams that first give what was written before."""

    def __init__(self, before: list[tuple[Stream, bytes]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._before = before

    async def receive(self) -> tuple[Stream, bytes] | None:
        if self._before:
            return self._before.pop(0)
        return await super().receive()


@dataclass
class Attaching:
    """Attach sessions of containers."""

    containers: Containers
    logs: ContainerLogs

    async def attach(
        self, ref: str, *, stdin: bool, stdout: bool, stderr: bool, logs: bool = False
    ) -> Streams:
        """Connect to the streams of a container that runs or is yet to be started."""
        container = self.containers.get(ref)
        if container.state.status == "paused":
            raise Conflict(f"container {container.id} is paused, unpause the container before attach")
        before: list[tuple[Stream, bytes]] = []
        if logs:
            async for lines in self.logs.read(container):
                before += [(line.stream, _with_end(line)) for line in lines]
        theirs, ours = _pipes(container, stdin=stdin, stdout=stdout, stderr=stderr)
        streams = LoggedStreams(before, **ours)
        pending = PendingAttach(theirs)
        try:
            if container.shim is not None and container.state.is_alive:
                await container.shim.attach(theirs)
                pending.close()
            else:
                container.pending_attach.append(pending)
        except BaseException:
            pending.close()
            await streams.aclose()
            raise
        return streams

    async def resize(self, ref: str, rows: int, cols: int) -> None:
        """Tell a container's terminal its size."""
        container = self.containers.get(ref)
        if container.shim is None:
            raise Conflict(f"container {container.id} is not running")
        await container.shim.resize(rows, cols)


def _with_end(line: LogEntry) -> bytes:
    return line.data if line.partial else line.data + b"\n"


def _pipes(
    container: Container, *, stdin: bool, stdout: bool, stderr: bool
) -> tuple[AttachStreams, dict[str, Any]]:
    has_stdin = stdin and container.config.stdin_open
    is_terminal = container.config.tty
    (in_reader, in_writer), (out_reader, out_writer), (err_reader, err_writer) = open_pipes(
        has_stdin, stdout or is_terminal, stderr and not is_terminal
    )
    theirs = AttachStreams(stdin=in_reader, stdout=out_writer, stderr=err_writer, lossless=True)
    return theirs, {"stdin": in_writer, "stdout": out_reader, "stderr": err_reader}


@dataclass
class Observation:
    """What can be seen of a container's processes."""

    containers: Containers
    cgroups: Cgroups

    async def top(self, ref: str, ps_args: str = "") -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """The processes, in the columns that options of ``ps`` ask for. Raises InvalidArgument."""
        container = self.containers.get(ref)
        if container.shim is None or not container.state.is_alive:
            raise Conflict(f"container {container.id} is not running")
        columns = process_table.columns_of(ps_args)
        rows = process_table.read(self.cgroups.pids(container.id), columns)
        await trio.lowlevel.checkpoint()
        return [title for title, _ in columns], rows

    async def stats(
        self, ref: str, stream: bool = True, one_shot: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        """Docker's statistics documents, one a second."""
        container = self.containers.get(ref)
        previous: dict[str, Any] = {}
        if not one_shot and container.state.is_alive:
            previous = self._sample(container, {})
            await trio.sleep(1.0 if stream else 0.25)
        while True:
            document = self._sample(container, previous)
            yield document
            if not stream:
                return
            previous = document
            with trio.move_on_after(1.0):
                await container.is_removed.wait()
                return

    def _sample(self, container: Container, previous: dict[str, Any]) -> dict[str, Any]:
        shim = container.shim
        reading = self.cgroups.read_stats(container.id) if shim is not None else None
        networks = (
            container_stats.read_networks(Path(f"/proc/{shim.pid}/net/dev")) if shim is not None else {}
        )
        return container_stats.document(
            container_id=container.id,
            name=container.name,
            reading=reading,
            networks=networks,
            previous=previous,
            now_ns=time.time_ns(),
        )
