"""A pull or a removal, killed between any two things that it does to the disk: the next engine has a sound store, and
goes on."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from runtime.image.store import ImageStore
from runtime.storage.state import StateDatabase
from tests.faulty_registry import FaultyRegistry
from tests.integration.image.conftest import AMD64

EFFECTS = (
    "rename",
    "replace",
    "unlink",
    "rmdir",
    "mkdir",
    "symlink",
    "link",
    "fsync",
    "mknod",
    "open",
    "truncate",
)
MOST = 400
Work = Callable[[ImageStore], Awaitable[Any]]


def tree(number: int) -> bytes:
    """A layer with a bit of everything."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        directory = tarfile.TarInfo(f"d{number}")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(directory)
        file = tarfile.TarInfo(f"d{number}/file")
        file.size = 2000
        archive.addfile(file, io.BytesIO(bytes([number]) * 2000))
        for kind, name, target in (
            (tarfile.LNKTYPE, "hard", f"d{number}/file"),
            (tarfile.SYMTYPE, "soft", "file"),
        ):
            link = tarfile.TarInfo(f"d{number}/{name}")
            link.type, link.linkname = kind, target
            archive.addfile(link)
        archive.addfile(tarfile.TarInfo(".wh.gone"))
    return buffer.getvalue()


def with_store(room: Path, work: Work) -> Any:
    """What an engine does in its life."""

    async def live() -> Any:
        database = StateDatabase(room / "state.db")
        try:
            store = ImageStore(room / "images", database, env={"DOCKER_CONFIG": str(room)}, platform=AMD64)
            return await work(store)
        finally:
            database.close()

    return trio.run(live)


def killed_at(room: Path, number: int, work: Work) -> bool:
    """Do ``work`` in a process that is killed before its ``number``-th effect; whether it came to that."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    try:
        count = 0

        def counted(effect: Callable[..., Any]) -> Callable[..., Any]:
            def act(*words: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return effect(*words, **options)

            return act

        async def watched(store: ImageStore) -> None:
            for name in EFFECTS:
                setattr(os, name, counted(getattr(os, name)))
            await work(store)

        with_store(room, watched)
    finally:
        os._exit(0)


@pytest.mark.parametrize("what", ["pull", "remove"])
def test_killed_anywhere(tmp_path: Path, faulty: FaultyRegistry, what: str) -> None:
    faulty.add_image("app", "1", [tree(1), tree(2)])
    faulty.add_image("other", "1", [tree(1), tree(3)])
    name, other = f"{faulty.address}/app:1", f"{faulty.address}/other:1"

    async def pull(store: ImageStore) -> None:
        await store.pull(name)

    async def pull_both(store: ImageStore) -> None:
        await store.pull(name)
        await store.pull(other)

    async def remove(store: ImageStore) -> None:
        store.remove(name)
        await store.sweep()

    async def verify(store: ImageStore) -> None:
        """As an engine at its start: collects, sweeps; then the same is asked for again."""
        store.collect()
        await store.sweep()
        for image in store.list():
            assert all(layer.is_dir() for layer in image.layers), "an image is whole or not there"
        assert await store.check(lambda _: None) == []
        image = await store.pull(name)
        assert (image.layers[0] / "d2/hard").stat().st_nlink == 2
        if what == "remove":
            assert store.resolve(other) is not None, "what is shared stays"
            store.remove(other)
        store.remove(name)
        await store.prune()
        left = [path.name for path in (room / "images/layers").iterdir() if path.name != "empty"]
        assert [item for item in left if not item.startswith((".trash", "trash"))] == []
        assert not any((room / "images/blobs/sha256").iterdir()), "nothing is kept for ever"
        assert not any((room / "images/ingest").iterdir())

    room, number = tmp_path, 0
    while True:
        number += 1
        if what == "remove":
            with_store(room, pull_both)
        was_killed = killed_at(room, number, pull if what == "pull" else remove)
        with_store(room, verify)
        if not was_killed:
            break
        assert number < MOST
    assert number > 5
