"""What ``run --rm`` has made and nobody starts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from composer.engine.cells import Cell
from composer.engine.model import Status
from composer.engine.projects.unstarted import PATIENCE, see_to
from composer.plan.labels import ONEOFF


class _Lifecycle:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.removed: list[str] = []

    async def remove(self, container_id: str, *, volumes: bool) -> None:
        self.removed.append(container_id)


def _container(*, auto_remove: bool = True, oneoff: str = "True", status: str = "created") -> Any:
    return SimpleNamespace(
        id="c",
        config=SimpleNamespace(auto_remove=auto_remove, labels={ONEOFF: oneoff}),
        status=(cell := Cell(Status(status=status))),  # type: ignore[arg-type]
        state=cell.value,
        pending_attach=[],
        is_removed=trio.Event(),
    )


@pytest.mark.parametrize(
    ("container", "removed"),
    [
        ({}, ["c"]),
        ({"auto_remove": False}, []),
        ({"oneoff": "False"}, []),
        ({"status": "exited"}, []),
    ],
)
async def test_nobody_starts_it(
    autojump_clock: trio.testing.MockClock, container: dict[str, Any], removed: list[str]
) -> None:
    async with trio.open_nursery() as nursery:
        lifecycle: Any = _Lifecycle(nursery)
        see_to(_container(**container), lifecycle)
        await trio.sleep(PATIENCE - 1)
        assert lifecycle.removed == []
        await trio.sleep(2)
        assert lifecycle.removed == removed


async def test_it_is_started_or_about_to_be(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        lifecycle: Any = _Lifecycle(nursery)
        started, attached = _container(), _container()
        see_to(started, lifecycle)
        see_to(attached, lifecycle)
        started.status.set(Status(status="running"))
        started.state = started.status.value
        attached.pending_attach.append("somebody")
    assert lifecycle.removed == []
