"""A disk that becomes full between any two steps of create, start, exec, stop, remove: what was asked for is done, or
fails with the place and what to do; nothing is left; once there is room the same request works without more ado."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.crash_points import POINTS
from tests.chaos.disks import small_disk, use_up_bytes
from tests.chaos.walking import BEFORE, BOUND, STEPS, Walk
from tests.e2e.engine import Composer, wait_for

STEPS_OF = {
    "make": ("core.create.", "core.volume."),
    "start": ("core.start.", "keeper.start.", "shim.start.", "init.start."),
    "exec": ("core.exec.", "shim.exec.", "exec.exec."),
    "stop": ("core.stop.", "shim.exit.", "core.exit."),
    "remove": ("core.remove.", "core.volume-rm."),
}
ELSEWHERE = ("init.start.doubled", "core.stop.killed")
"""Not on the way of these operations."""
WORKS = range(200, 300)


@pytest.fixture
def small(composer: Composer) -> Iterator[Path]:
    """The state root's lasting half, with little room for bytes and for names."""
    with small_disk(composer, "size=32m,nr_inodes=2k") as lib:
        yield lib


def _fill(lib: Path) -> Path:
    filler = lib / "filler"
    filler.mkdir()
    use_up_bytes(filler / "bytes")
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (filler / str(number)).touch()
    return filler


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
    else:
        walk.do(operation)
    if operation == "stop":
        state = walk.composer.inspect("subject")["State"]
        assert (state["Status"], state["ExitCode"], state["Error"]) == ("exited", 7, ""), state
    walk.undo()


@pytest.mark.parametrize("operation", STEPS_OF)
def test_full_at_each_step(composer: Composer, small: Path, operation: str) -> None:
    walk = Walk(composer)
    points = [one for one in POINTS if one.startswith(STEPS_OF[operation]) and one not in ELSEWHERE]
    assert points
    for point in points:
        for step in BEFORE[operation]:
            walk.do(step)
        answers: list[tuple[int, bytes]] = []
        walk.switchboard.arm(point)
        asked = threading.Thread(target=lambda: answers.append(_ask(walk, operation)))  # noqa: B023
        asked.start()
        try:
            wait_for(lambda: walk.switchboard.reached, f"{point} to be reached", BOUND)
            filler = _fill(small)
        finally:
            walk.switchboard.release()
        asked.join(2 * BOUND)
        ((status, said),) = answers
        print(point, status, said.decode())
        if status not in WORKS:
            told = json.loads(said)
            assert "No space left on device" in told["message"], (point, told)
            assert str(small) in told["message"], (point, told)
            assert "composer system prune" in told["hint"], (point, told)
        assert walk.request("GET", "/containers/json?all=1")[0] == 200
        shutil.rmtree(filler)
        try:
            _check(walk, operation)
        except AssertionError as error:
            raise AssertionError(f"after {point}: {error}") from error
    assert composer.inspect("witness")["State"]["Pid"] == walk.witness
