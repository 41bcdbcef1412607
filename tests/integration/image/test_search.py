"""Searching registries."""

from __future__ import annotations

import pytest

from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.image.registry.authentication import Credentials
from runtime.image.store import ImageStore
from tests.faulty_registry import Fault, FaultyRegistry


async def test_results(store: ImageStore, faulty: FaultyRegistry) -> None:
    faulty.results = [
        {"name": "a/redis", "description": "mine", "star_count": 2},
        {"name": "redis", "description": "all", "star_count": 9, "is_official": True, "pull_count": 5},
    ]
    faulty.accounts["me"] = "secret"
    faulty.faults.append(Fault(path="/v1/search", status=503))
    known = Credentials("me", "secret")
    found = await store.registries.search(f"{faulty.address}/redis", 5, {}, lambda _: known)
    assert [item.name for item in found] == ["redis", "a/redis"]
    assert "q=redis&n=5" in faulty.seen[-1].path
    found = await store.registries.search(
        f"{faulty.address}/redis", 5, {"is-official": ["false"]}, lambda _: known
    )
    assert [item.name for item in found] == ["a/redis"]


async def test_what_cannot_be_searched(store: ImageStore, faulty: FaultyRegistry) -> None:
    with pytest.raises(NotFound, match="cannot be searched"):
        await store.registries.search(f"{faulty.address}/redis", 25, {})
    with pytest.raises(InvalidArgument, match=r"outside the range of \[1, 100\]"):
        await store.registries.search("redis", 101, {})
    faulty.results = [{"name": 5}]
    with pytest.raises(ComposerError, match="list of results is not valid"):
        await store.registries.search(f"{faulty.address}/redis", 25, {})
