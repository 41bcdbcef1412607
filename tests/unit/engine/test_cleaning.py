"""Files of removed containers: what comes together is taken together."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from composer.engine import cleaning
from composer.engine.cleaning import Cleaning


class Disk:
    """As slow as a test wants it; remembers what was removed in which thread."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.removed: list[tuple[str, int]] = []

    def clean(self, container_id: str) -> None:
        self.goes_on.wait(60)
        self.removed.append((container_id, threading.get_ident()))
        if container_id == "stuck":
            raise OSError("something cannot die")

    @property
    def threads(self) -> int:
        return len({thread for _, thread in self.removed})


async def test_a_few_share_a_thread_and_an_error_is_of_one_of_them() -> None:
    disk = Disk()
    these = Cleaning(disk.clean)
    failed: list[str] = []

    async def remove(container_id: str) -> None:
        try:
            await these.remove(container_id)
        except OSError:
            failed.append(container_id)

    async with trio.open_nursery() as nursery:
        for container_id in ("first", "stuck", "other"):
            nursery.start_soon(remove, container_id)
        await trio.testing.wait_all_tasks_blocked()
        disk.goes_on.set()
    assert sorted(name for name, _ in disk.removed) == ["first", "other", "stuck"]
    assert failed == ["stuck"]
    assert disk.threads <= 2


async def test_a_slow_disk_has_more_threads() -> None:
    disk = Disk()
    these = Cleaning(disk.clean)
    many = [str(number) for number in range(cleaning.THREADS * cleaning.AT_A_TIME * 2)]
    async with trio.open_nursery() as nursery:
        for container_id in many:
            nursery.start_soon(these.remove, container_id)
        await trio.testing.wait_all_tasks_blocked()
        disk.goes_on.set()
    assert sorted(name for name, _ in disk.removed) == sorted(many)
    assert 2 < disk.threads <= cleaning.THREADS


async def test_whoever_is_cancelled_leaves_nobody_waiting() -> None:
    disk = Disk()
    these = Cleaning(disk.clean)
    async with trio.open_nursery() as others, trio.open_nursery() as nursery:
        nursery.start_soon(these.remove, "first")
        await trio.testing.wait_all_tasks_blocked()
        others.start_soon(these.remove, "other")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        disk.goes_on.set()
    assert [name for name, _ in disk.removed] == ["first", "other"]


async def test_without_threads_all_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.to_thread, "run_sync", refuse)
    with pytest.raises(RuntimeError):
        await Cleaning(Disk().clean).remove("first")
