"""A disk without room: what does not fit is told, nothing of it is seen, and there is room again when there is."""

from __future__ import annotations

import io
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from runtime.errors import ComposerError
from runtime.image.store import ImageStore
from runtime.storage.state import StateDatabase
from tests.faulty_registry import FaultyRegistry
from tests.integration.image.conftest import AMD64, layer
from tests.integration.image.test_archives import docker_archive

BIG = 6 << 20
Bring = Callable[[ImageStore, FaultyRegistry, Path], Awaitable[object]]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "small", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.fixture
async def cramped(small: Path, tmp_path: Path) -> AsyncIterator[ImageStore]:
    """A store on it; what it knows is elsewhere."""
    database = StateDatabase(tmp_path / "cramped.db")
    try:
        yield ImageStore(small / "images", database, env={}, platform=AMD64)
    finally:
        database.close()


async def pull(store: ImageStore, faulty: FaultyRegistry, _: Path) -> object:
    faulty.add_image("big", "1", [layer(1, BIG)])
    return await store.pull(f"{faulty.address}/big:1")


async def load(store: ImageStore, _: FaultyRegistry, path: Path) -> object:
    (path / "big.tar").write_bytes(docker_archive(layer(1, BIG), tags=["big:1"]))
    return await store.load(path / "big.tar")


async def import_(store: ImageStore, _: FaultyRegistry, __: Path) -> object:
    return await store.import_(io.BytesIO(layer(1, BIG)), "big:1")


async def derive(store: ImageStore, _: FaultyRegistry, __: Path) -> object:
    base = store.get("kept:1")
    return await store.derive(base, base.config, io.BytesIO(layer(1, BIG)), [{"created_by": "x"}])


@pytest.mark.parametrize("bring", [pull, load, import_, derive])
async def test_what_does_not_fit(
    cramped: ImageStore, faulty: FaultyRegistry, small: Path, tmp_path: Path, bring: Bring
) -> None:
    kept = await cramped.import_(io.BytesIO(layer(2)), "kept:1")
    with pytest.raises(ComposerError, match="No space left on device"):
        await bring(cramped, faulty, tmp_path)
    assert [image.id for image in cramped.list() if not image.is_embedded] == [kept.id]
    assert (kept.layers[0] / "file2").stat().st_size == 1000
    await cramped.prune()
    assert list((small / "images/ingest").iterdir()) == [], "nothing takes the room that there is"
    other = await cramped.import_(io.BytesIO(layer(3)), "other:1")
    cramped.remove("other:1")
    await cramped.sweep()
    assert not other.layers[0].exists()
    assert await cramped.check(lambda _: None) == []
    subprocess.run(["mount", "-o", "remount,size=32m", small], check=True)
    await bring(cramped, faulty, tmp_path)
    assert await cramped.check(lambda _: None) == []
