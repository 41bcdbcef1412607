"""Who gets which directory of a cache mount."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from runtime.build.steps import RunMount
from runtime.build.worker.cache_mounts import CacheMounts
from runtime.storage.state import StateDatabase


@pytest.fixture
def caches(tmp_path: Path) -> Iterator[CacheMounts]:
    database = StateDatabase(tmp_path / "state.db")
    yield CacheMounts(tmp_path / "mounts", database)
    database.close()


def _mount(sharing: str, **fields: int) -> RunMount:
    return RunMount(type="cache", target="/c", id="c", sharing=sharing, **fields)  # type: ignore[arg-type]


def _nothing(directory: Path) -> None:
    pass


async def test_shared_is_one_private_is_ones_own(caches: CacheMounts) -> None:
    async with caches.hold(_mount("shared"), "", _nothing) as one:
        async with caches.hold(_mount("shared"), "", _nothing) as two:
            assert one == two
        async with caches.hold(_mount("private"), "", _nothing) as three:
            assert three != one
        async with caches.hold(_mount("private"), "", _nothing) as four:
            assert four == three  # nobody has it any more
        async with caches.hold(_mount("shared"), "another beginning", _nothing) as five:
            assert five not in (one, three)
        caches.remove([one.name, three.name])
        assert one.is_dir() and not three.exists()
    assert {mount.uses for mount in caches.all() if mount.id == one.name} == {2}


async def test_locked_is_one_at_a_time(caches: CacheMounts) -> None:
    order: list[str] = []
    begun = trio.Event()

    async def first() -> None:
        async with caches.hold(_mount("locked"), "", _nothing):
            begun.set()
            await trio.testing.wait_all_tasks_blocked()
            order.append("first")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await begun.wait()
        async with caches.hold(_mount("locked"), "", _nothing):
            order.append("second")
    assert order == ["first", "second"]


async def test_a_new_one_begins_as_the_mount_says(caches: CacheMounts) -> None:
    def fill(directory: Path) -> None:
        (directory / "first").write_text("x")

    async with caches.hold(_mount("shared", mode=0o700, uid=7, gid=8), "origin", fill) as directory:
        info = directory.stat()
        assert (info.st_mode & 0o777, info.st_uid, info.st_gid) == (0o700, 7, 8)
        assert (directory / "first").read_text() == "x"
        (directory / "first").write_text("changed")
    async with caches.hold(_mount("shared"), "origin", fill) as directory:
        assert (directory / "first").read_text() == "changed"
