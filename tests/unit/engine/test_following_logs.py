"""Following one container's log to its end."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from composer.engine.cells import Cell
from composer.engine.logs import ContainerLogs, Exit
from composer.engine.model import Status
from runtime.container.logfile import LogWriter
from runtime.storage.paths import Paths


class _Container:
    def __init__(self) -> None:
        self.id = "c"
        self.status = Cell(Status(status="running", pid=1))
        self.is_removed = trio.Event()
        self.config = SimpleNamespace(log=SimpleNamespace(driver="local"))

    @property
    def state(self) -> Status:
        return self.status.value


def log_with(root: Path, line: bytes) -> tuple[ContainerLogs, LogWriter]:
    """The log of container c, one line long, and who writes more."""
    paths = Paths(root, root)
    directory = paths.container("c") / "log"
    directory.mkdir(parents=True)
    writer = LogWriter(str(directory))
    writer.write(b"stdout", line + b"\n")
    return ContainerLogs(paths), writer


async def test_an_exit_while_a_line_is_taken_is_not_missed(tmp_path: Path) -> None:
    logs, writer = log_with(tmp_path, b"one")
    container: Any = _Container()
    seen = []
    with trio.fail_after(5):
        async for lines in logs.read(container, follow=True):
            seen += [line.data for line in lines]
            if len(seen) < 4:
                writer.write(b"stdout", b"more\n")
            else:
                await trio.testing.wait_all_tasks_blocked()
                container.status.set(Status(status="exited"))
    assert seen == [b"one", b"more", b"more", b"more"]


async def test_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written from now on is told, however old its times are, and so are ends."""
    logs, writer = log_with(tmp_path, b"before")
    container: Any = _Container()
    seen = logs.seen_by_now(container)
    now = time.time_ns()
    told: list[str] = []

    async def follow() -> None:
        with trio.fail_after(5):
            async for item in logs.read_marked(container, follow=True, since=now, seen=seen):
                if isinstance(item, Exit):
                    told.append(f"exit at {item.status.finished_at - now}")
                elif item is not None:
                    told.extend(line.data.decode() for line in item)

    for life in range(1, 4):
        container.status.set(Status(status="running", pid=life))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked()
            monkeypatch.setattr(time, "time_ns", lambda life=life: now - life * 86400 * 10**9)
            writer.write(b"stdout", b"life %d\n" % life)
            container.status.set(Status(status="exited", finished_at=now - life))
    assert told == ["life 1", "exit at -1", "life 2", "exit at -2", "life 3", "exit at -3"]


async def test_what_was_seen_is_rotated_away(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    directory = paths.container("c") / "log"
    directory.mkdir(parents=True)
    writer = LogWriter(str(directory), max_size=1, max_files=1)
    container: Any = _Container()
    logs = ContainerLogs(paths)
    assert logs.seen_by_now(container).position == (0, 0)
    writer.write(b"stdout", b"before\n")
    seen = logs.seen_by_now(container)
    writer.write(b"stdout", b"lost\n")
    writer.write(b"stdout", b"kept\n")
    container.status.set(Status(status="exited"))
    told = [
        line.data
        async for item in logs.read_marked(container, follow=True, seen=seen)
        if isinstance(item, list)
        for line in item
    ]
    assert told == [b"kept"]


async def test_a_writer_that_never_rests(tmp_path: Path) -> None:
    """Without following it ends with what was there when it began."""
    logs, writer = log_with(tmp_path, b"x" * 1000)
    for _ in range(200):
        writer.write(b"stdout", b"x" * 1000 + b"\n")
    container: Any = _Container()
    count = 0
    async for lines in logs.read(container):
        count += len(lines)
        for _ in lines:
            writer.write(b"stdout", b"later\n")
    assert count == 201
