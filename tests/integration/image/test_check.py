"""Finding and mending what a disk has lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.image.check import Checked, Problem
from runtime.image.digest import Digest
from runtime.image.model import Image, ImageUse
from runtime.image.store import ImageStore
from runtime.storage.state import StateDatabase
from tests.faulty_registry import FaultyRegistry, digest_of
from tests.integration.image.conftest import layer


@pytest.fixture
async def image(store: ImageStore, faulty: FaultyRegistry) -> Image:
    faulty.add_image("app", "1", [layer(1), layer(2)])
    return await store.pull(f"{faulty.address}/app:1")


async def check(store: ImageStore, *, repair: bool = False) -> list[Problem]:
    steps: list[Checked] = []
    found = list(await store.check(steps.append, repair=repair))
    assert [step.done for step in steps] == list(range(1, steps[-1].total + 1))
    assert [step.problem for step in steps if step.problem] == found
    return found


def blob_path(store: ImageStore, number: int) -> Path:
    return store.content.blobs.path(Digest.parse(digest_of(layer(number))))


async def test_nothing_is_wrong(store: ImageStore, image: Image) -> None:
    assert await check(store) == []


@pytest.mark.parametrize("is_repair", [False, True])
@pytest.mark.parametrize("is_gone", [False, True])
async def test_a_damaged_blob_is_fetched_again(
    store: ImageStore, faulty: FaultyRegistry, image: Image, is_gone: bool, is_repair: bool
) -> None:
    path = blob_path(store, 1)
    if is_gone:
        path.unlink()
    else:
        path.write_bytes(bytes(path.stat().st_size))
    (problem,) = await check(store)
    assert (problem.kind, problem.id, problem.is_mended) == ("blob", digest_of(layer(1)), False)
    assert problem.images == (f"{faulty.address}/app:1",)
    assert len(await check(store, repair=is_repair)) == 1
    faulty.seen.clear()
    await store.pull(f"{faulty.address}/app:1")
    assert faulty.count("GET", "/blobs/sha256:" + path.name) == 1
    assert await check(store) == []


@pytest.mark.parametrize("damage", ["truncated", "file", "all"])
async def test_a_damaged_layer_is_unpacked_again(store: ImageStore, image: Image, damage: str) -> None:
    path = image.layers[0] / "file2"
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(b"")
    elif damage == "file":
        path.unlink()
    else:
        shutil.rmtree(image.layers[0].parent)
    (problem,) = await check(store)
    assert (problem.kind, problem.is_mended) == ("layer", False)
    (problem,) = await check(store, repair=True)
    assert problem.is_mended
    assert path.read_bytes() == content
    assert await check(store) == []


async def test_a_layer_under_a_running_container_is_left_alone(store: ImageStore, image: Image) -> None:
    (image.layers[0] / "file2").unlink()
    store.users = lambda _: (ImageUse("web", True),)
    (problem,) = await check(store, repair=True)
    assert not problem.is_mended and "Stop web" in problem.advice
    assert not (image.layers[0] / "file2").exists()


async def test_a_layer_whose_blob_is_gone_too(store: ImageStore, image: Image) -> None:
    (image.layers[0] / "file2").unlink()
    blob_path(store, 2).unlink()
    blob, unpacked = await check(store, repair=True)
    assert (blob.kind, unpacked.kind, unpacked.is_mended) == ("blob", "layer", False)
    assert "remove these images" in unpacked.advice


async def test_layers_are_looked_at_once_after_a_boot(
    store: ImageStore, image: Image, tmp_path: Path
) -> None:
    def after_boot(boot_id: str) -> ImageStore:
        return ImageStore(tmp_path / "images", StateDatabase(tmp_path / "state.db"), boot_id=boot_id)

    content = (image.layers[0] / "file2").read_bytes()
    assert await store.settle() == [], "the machine runs on"
    (image.layers[0] / "file2").write_bytes(b"")  # what a power cut leaves of delayed allocation
    (problem,) = await after_boot("second").settle()
    assert problem.is_mended
    assert (image.layers[0] / "file2").read_bytes() == content
    assert await after_boot("second").settle() == []
    assert await after_boot("third").settle() == []
    (image.layers[0] / "file2").write_bytes(b"")
    assert await after_boot("fourth").settle() == [], "only what was new at a boot is looked at"
