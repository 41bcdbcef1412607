"""Pulls, builds, removals and collections at the same time, in many orders: nothing that is used is ever taken away."""

from __future__ import annotations

import io
import random

import pytest
import trio

from runtime.container.config import ImageConfig
from runtime.errors import ComposerError
from runtime.image.store import ImageStore
from tests.faulty_registry import FaultyRegistry
from tests.integration.image.conftest import add_index, layer

IMAGES = 4


@pytest.mark.parametrize("seed", range(6))
async def test_any_order(store: ImageStore, faulty: FaultyRegistry, seed: int) -> None:
    chance = random.Random(seed)
    names = []
    for number in range(IMAGES):
        faulty.add_image(f"app{number}", "1", [layer(0), layer(number % 2 + 1), layer(number + 10)])
        names.append(f"{faulty.address}/app{number}:1")
    several = f"{faulty.address}/app:1"
    add_index(faulty, "1", "linux/arm64", "linux/amd64")
    names.append(several)

    async def pull(name: str) -> None:
        with trio.move_on_after(chance.choice((5, 60, 60, 60)) / 1000 if chance.random() < 0.3 else 60):
            image = await store.pull(name, chance.choice(("", "linux/arm64")) if name == several else "")
            assert all(path.is_dir() for path in image.layers), "what a pull returns is there at that moment"

    async def build(name: str) -> None:
        base = store.resolve(name)
        made = await store.derive(
            base, ImageConfig(), io.BytesIO(layer(chance.randrange(99))), [], tags=[f"b{seed}:1"]
        )
        assert all(path.is_dir() for path in made.layers)

    async def remove(name: str) -> None:
        platforms = ["linux/arm64"] if name == several and chance.random() < 0.5 else []
        store.remove(name, force=True, platforms=platforms)

    async def prune(_: str) -> None:
        await store.prune(everything=chance.random() < 0.5)

    async def collect(_: str) -> None:
        store.collect()
        await store.sweep()

    async def someone() -> None:
        for _ in range(6):
            act = chance.choice((pull, pull, pull, build, remove, prune, collect))
            try:
                await act(chance.choice(names))
            except ComposerError as error:
                # Somebody removed it in between, and said so to who wanted it.
                known = ("No such image", "is gone", "does not provide the specified platform")
                assert any(words in error.message for words in known), error.message
            for _ in range(chance.randrange(4)):
                await trio.lowlevel.checkpoint()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(someone)
    for image in store.everything():
        assert all(path.is_dir() for path in image.layers)
    assert await store.check(lambda _: None) == []
    for name in names:
        await store.pull(name)
    await store.pull(several, "linux/arm64")
    assert store.index(store.get(several)) == faulty.manifests["app", "1"][1]
    assert await store.check(lambda _: None) == []
