"""A disk that becomes full, or read-only, between any two steps of create, start, exec, stop, remove: what was asked
for is done, or fails with the place and what to do; nothing is left; once it can be written again the same request
works without more ado."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from runtime.crash_points import POINTS
from tests.chaos.disks import Ext4, ext4_disk, small_disk, use_up_bytes
from tests.chaos.walking import BEFORE, BOUND, STEPS, Walk
from tests.e2e.engine import Composer, is_gone, parent_of, wait_for

STEPS_OF = {
    "make": ("core.create.", "core.volume."),
    "start": ("core.start.", "keeper.start.", "shim.start.", "init.start."),
    "exec": ("core.exec.", "shim.exec.", "exec.exec."),
    "stop": ("core.stop.", "shim.exit.", "core.exit."),
    "remove": ("core.remove.", "core.volume-rm."),
}
ELSEWHERE = ("init.start.doubled", "core.stop.killed")
"""Not on the way of these operations."""
LATER = {"init.start.mounting": 1}
"""Where one operation comes by several times: how many of them pass when it is walked once more (then there is a root,
and nothing mounted in it)."""
WORKS = range(200, 300)
BEGUN = "begin"
"""What the subject's log has before anything happens to the disk."""

NEXT_WRITES = (
    *("core.volume.made", "core.create.leased", "core.create.recorded"),
    *("core.start.wanted", "core.start.prepared"),
    *("init.start.mounting", "core.start.launched", "core.exec.asked"),
    *("core.stop.recorded", "shim.exit.seen", "core.exit.seen"),
    *("core.remove.recorded", "core.remove.released", "core.remove.cleaned"),
)
"""Of a disk that turns read-only: all must end before it can be written again, so that each point takes seconds. With
WALK=all it is all of them."""


class Full:
    """Little room for bytes and for names, and at last none."""

    said, hint = "No space left on device", "composer system prune"

    def __init__(self, lib: Path) -> None:
        self.filler = lib / "filler"

    def begin(self) -> None:
        self.filler.mkdir()
        use_up_bytes(self.filler / "bytes")
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (self.filler / str(number)).touch()

    def end(self, walk: Walk) -> None:
        shutil.rmtree(self.filler)


class ReadOnly:
    """What the kernel does with a file system in which it has found an error."""

    said, hint = "Read-only file system", "set COMPOSER_ROOT to a directory that can be written"

    def __init__(self, disk: Ext4) -> None:
        self.disk = disk

    def begin(self) -> None:
        self.disk.fail()

    def end(self, walk: Walk) -> None:
        """All that has it open must end. Containers that ran are killed with their shims."""
        walk.composer.kill_engine()
        walk.composer.kill("composer-shim")
        wait_for(partial(is_gone, walk.witness), "the witness to end")
        wait_for(self._is_left, "nobody to use the disk")
        self.disk.mount()
        walk.composer.run("container", "start", "witness")
        walk.witness = walk.composer.inspect("witness")["State"]["Pid"]
        walk.witness_shim = parent_of(walk.witness)

    def _is_left(self) -> bool:
        try:
            self.disk.umount()
        except subprocess.CalledProcessError:
            return False
        return True


Trouble = Full | ReadOnly


@contextlib.contextmanager
def _trouble(composer: Composer, kind: str, image: Path) -> Iterator[Trouble]:
    if kind == "full":
        with small_disk(composer, "size=32m,nr_inodes=2k") as lib:
            yield Full(lib)
    else:
        with ext4_disk(composer, image) as disk:
            yield ReadOnly(disk)


def _ask(walk: Walk, operation: str) -> tuple[int, bytes]:
    """The last answer to an operation's requests, or the first that is an error."""
    status, said = 0, b""
    if operation == "exec":
        status, said = walk.request("POST", "/containers/subject/exec", {"Cmd": ["true"]})
        if status in WORKS:
            path = f"/exec/{json.loads(said)['Id']}/start"
            status, said = walk.request("POST", path, {"Detach": True})
        return status, said
    for method, path, body, fine in STEPS[operation]:
        status, said = walk.request(method, path, body)
        if status not in fine:
            break
    return status, said


def _check(walk: Walk, operation: str) -> None:
    """There is room again: whatever came of it, the operation can be had."""
    if operation in ("make", "start"):
        walk.do("make")
        assert walk.request("POST", "/containers/subject/start")[0] in (204, 304)
        walk.do("exec")
        state = walk.composer.inspect("subject")["State"]
        assert state["Running"], state
    elif operation == "exec":
        walk.do("run")
        walk.do("exec")
    else:
        walk.do(operation)
    if operation == "stop":
        state = walk.composer.inspect("subject")["State"]
        assert (state["Status"], state["ExitCode"], state["Error"]) == ("exited", 7, ""), state
        assert BEGUN in walk.composer.run("container", "logs", "subject").stdout
    walk.undo()


@pytest.mark.parametrize("operation", STEPS_OF)
@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_each_step(composer: Composer, tmp_path: Path, kind: str, operation: str) -> None:
    points = [one for one in POINTS if one.startswith(STEPS_OF[operation]) and one not in ELSEWHERE]
    if kind == "read-only" and os.environ.get("WALK") != "all":
        points = [point for point in points if point in NEXT_WRITES]
    assert points
    with _trouble(composer, kind, tmp_path / "image") as trouble:
        _walk_all(Walk(composer), trouble, operation, points)


def _walk_all(walk: Walk, trouble: Trouble, operation: str, points: list[str]) -> None:
    for point, skip in [(one, 0) for one in points] + [(one, LATER[one]) for one in points if one in LATER]:
        for step in BEFORE[operation]:
            walk.do(step)
        answers: list[tuple[int, bytes]] = []
        walk.switchboard.arm(point, skip=skip)
        asked = threading.Thread(target=lambda: answers.append(_ask(walk, operation)))  # noqa: B023
        asked.start()
        try:
            wait_for(lambda: walk.switchboard.reached, f"{point} to be reached", BOUND)
            trouble.begin()
        finally:
            walk.switchboard.release()
        asked.join(2 * BOUND)
        ((status, said),) = answers
        print(point, status, said.decode())
        if status not in WORKS:
            told = json.loads(said)
            assert trouble.said in told["message"], (point, told)
            assert str(walk.composer.paths.lib) in told["message"], (point, told)
            assert trouble.hint in told["hint"], (point, told)
        assert walk.request("GET", "/containers/json?all=1")[0] == 200
        assert walk.composer.inspect("witness")["State"]["Pid"] == walk.witness
        assert not is_gone(walk.witness), point
        if operation == "stop":
            assert walk.composer.inspect("subject")["State"]["ExitCode"] == 7
            assert BEGUN in walk.composer.run("container", "logs", "subject").stdout
        trouble.end(walk)
        try:
            _check(walk, operation)
        except AssertionError as error:
            raise AssertionError(f"after {point}: {error}") from error
