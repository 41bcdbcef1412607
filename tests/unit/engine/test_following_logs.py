"""Following one container's log to its end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trio
import trio.testing

from composer.engine.cells import Cell
from composer.engine.logs import ContainerLogs
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


async def test_an_exit_while_a_line_is_taken_is_not_missed(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    directory = paths.container("c") / "log"
    directory.mkdir(parents=True)
    writer = LogWriter(str(directory))
    writer.write(b"stdout", b"one\n")
    container: Any = _Container()
    seen = []
    with trio.fail_after(5):
        async for line in ContainerLogs(paths).read(container, follow=True):
            seen.append(line.data)
            if len(seen) < 4:
                writer.write(b"stdout", b"more\n")
            else:
                await trio.testing.wait_all_tasks_blocked()
                container.status.set(Status(status="exited"))
    assert seen == [b"one", b"more", b"more", b"more"]
