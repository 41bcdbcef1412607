"""No process, no memory (EAGAIN, ENOMEM from fork and mount): the request fails and says why, the engine stays, nothing
is left, and the same request works when there is some again."""

from __future__ import annotations

import errno

import pytest

from tests.chaos.walking import Walk
from tests.e2e.engine import Composer

STARTS = {
    "keeper.start.asked": errno.EAGAIN,
    "shim.start.grouped": errno.ENOMEM,
    "init.start.mounting": errno.ENOMEM,
    "init.start.isolated": errno.ENOMEM,
}
EXECS = {"shim.exec.asked": errno.EAGAIN, "exec.exec.joined": errno.EAGAIN}


@pytest.fixture
def walk(composer: Composer) -> Walk:
    return Walk(composer)


def test_a_start_without_resources(walk: Walk) -> None:
    for point, number in STARTS.items():
        walk.do("make")
        walk.switchboard.arm(point, error=number)
        status, said = walk.request("POST", "/containers/subject/start")
        assert status >= 400, point
        assert (b"emporarily unavailable" if number == errno.EAGAIN else b"annot allocate memory") in said, (
            said
        )
        assert b"Error:" not in said, said
        walk.do("run")
        walk.do("exec")
        walk.undo()
    walk.finish()


def test_many_mounts_later(walk: Walk) -> None:
    """Each operation on the root in turn."""
    for skip in range(0, 40, 5):
        walk.do("make")
        walk.switchboard.arm("init.start.mounting", skip=skip, error=errno.ENOMEM)
        status, said = walk.request("POST", "/containers/subject/start")
        if not walk.switchboard.reached:
            break
        assert status >= 400
        assert b"annot allocate memory" in said
        walk.undo()
    assert skip > 5
    walk.finish()


def test_an_exec_without_resources(walk: Walk) -> None:
    walk.do("make")
    walk.do("run")
    for point, number in EXECS.items():
        made = walk.composer.api("POST", "/containers/subject/exec", {"Cmd": ["true"]})
        walk.switchboard.arm(point, error=number)
        status, said = walk.request("POST", f"/exec/{made['Id']}/start", {"Detach": True})
        assert status >= 400, point
        assert b"emporarily unavailable" in said, said
        assert b"Error:" not in said, said
        walk.do("exec")
    walk.undo()
    walk.finish()
