"""Mirrors come first, and stand in the way of nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.image.manifest import OverLimit
from runtime.image.registry.authentication import Credentials
from runtime.image.registry.configuration import RegistryConfiguration
from runtime.image.registry.responses import AccessDenied
from runtime.image.store import ImageStore
from runtime.image.unpack import Limits
from runtime.storage.state import StateDatabase
from tests.faulty_registry import Fault, FaultyRegistry
from tests.integration.image.conftest import AMD64, layer

Mirrored = tuple[ImageStore, FaultyRegistry]


@pytest.fixture
def mirrored(faulty: FaultyRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A store for which ``faulty`` has a mirror; and the mirror."""
    monkeypatch.setattr("runtime.image.registry.connection.FIRST_PAUSE", 0.001)
    database = StateDatabase(tmp_path / "state.db")
    with FaultyRegistry().serving() as mirror:
        configuration = RegistryConfiguration(mirrors={faulty.address: (f"http://{mirror.address}",)})
        yield ImageStore(tmp_path / "images", database, configuration, env={}, platform=AMD64), mirror
    database.close()


async def test_a_mirror_spares_the_registry(mirrored: Mirrored, faulty: FaultyRegistry) -> None:
    store, mirror = mirrored
    digest = mirror.add_image("app", "1", [layer(1)])
    image = await store.pull(f"{faulty.address}/app:1")
    assert image.digests == (f"{faulty.address}/app@{digest}",)
    assert faulty.seen == []


@pytest.mark.parametrize(
    "fault", [None, Fault(times=99, status=500), Fault(times=99, drop_after=0)], ids=repr
)
async def test_a_mirror_that_cannot(mirrored: Mirrored, faulty: FaultyRegistry, fault: Fault | None) -> None:
    store, mirror = mirrored
    mirror.faults += [fault] if fault else []
    faulty.add_image("app", "1", [layer(1)])
    await store.pull(f"{faulty.address}/app:1")
    assert mirror.seen


async def test_a_mirror_that_breaks_off(mirrored: Mirrored, faulty: FaultyRegistry) -> None:
    store, mirror = mirrored
    for registry in (mirror, faulty):
        registry.add_image("app", "1", [layer(1), layer(2)])
    mirror.faults.append(Fault("/blobs/", "GET", times=99, status=500))
    await store.pull(f"{faulty.address}/app:1")


async def test_neither_can(mirrored: Mirrored, faulty: FaultyRegistry) -> None:
    store, _ = mirrored
    faulty.accounts = {"ann": "secret"}
    with pytest.raises(AccessDenied) as caught:
        await store.pull(f"{faulty.address}/app:1")
    assert "Mirrors before it: manifest for" in caught.value.hint


async def test_what_another_place_would_not_change_ends_it(
    faulty: FaultyRegistry, mirrored: Mirrored, tmp_path: Path
) -> None:
    _, mirror = mirrored
    mirror.add_image("app", "1", [layer(1)])
    configuration = RegistryConfiguration(
        mirrors={faulty.address: (f"http://{mirror.address}",)}, limits=Limits(entries=0)
    )
    database = StateDatabase(tmp_path / "other.db")
    store = ImageStore(tmp_path / "other", database, configuration, env={}, platform=AMD64)
    try:
        with pytest.raises(OverLimit):
            await store.pull(f"{faulty.address}/app:1")
    finally:
        database.close()
    assert faulty.seen == []


async def test_a_mirror_gets_no_credentials(mirrored: Mirrored, faulty: FaultyRegistry) -> None:
    store, mirror = mirrored
    mirror.accounts = faulty.accounts = {"ann": "secret"}
    faulty.add_image("app", "1", [layer(1)])
    await store.pull(f"{faulty.address}/app:1", credentials=lambda _: Credentials("ann", "secret"))
    assert not [request for request in mirror.seen if "Authorization" in request.headers]
