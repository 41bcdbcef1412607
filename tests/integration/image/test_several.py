"""One name for images of several platforms: pulled, named, removed, pushed, saved and loaded."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Conflict, NotFound
from runtime.image.manifest import InvalidImage
from runtime.image.model import Image, ImageUse
from runtime.image.store import ImageStore
from runtime.storage.state import StateDatabase
from tests.faulty_registry import FaultyRegistry, digest_of
from tests.integration.image.conftest import AMD64, add_index, layer

ARM64, AMD = "linux/arm64", "linux/amd64"


async def pulled(store: ImageStore, name: str, *platforms: str) -> list[Image]:
    return [await store.pull(name, platform) for platform in platforms]


def names(store: ImageStore) -> list[tuple[str, Sequence[str]]]:
    """Architecture and tags of each image that is listed."""
    return [(image.architecture, image.tags) for image in store.list() if not image.is_embedded]


async def save(store: ImageStore, path: Path, *texts: str, platform: str = "") -> dict[str, Any]:
    """Write an archive; the documents in it by name."""
    with open(path, "wb") as file:
        async for piece in store.save(texts, platform):
            file.write(piece)
    documents = {}
    with tarfile.open(path) as tar:
        for member in tar:
            data = tar.extractfile(member)
            assert data is not None
            documents[member.name] = data.read()
    return documents


async def test_platforms_of_one_index_share_a_name(store: ImageStore, faulty: FaultyRegistry) -> None:
    name = f"{faulty.address}/app:1"
    add_index(faulty, "1", ARM64, AMD)
    arm, amd = await pulled(store, name, ARM64, "")
    assert store.get(name).id == amd.id, "this machine's comes first"
    assert store.get(name, ARM64).id == store.resolve(name, "linux/arm64/v8").id == arm.id  # type: ignore[union-attr]
    assert store.get(name).tags == store.get(arm.id).tags == (name,)
    assert names(store) == [("amd64", (name,))]
    assert [one.id for one in store.together(store.get(name))] == [amd.id, arm.id]
    faulty.seen.clear()
    await pulled(store, name, ARM64, AMD)
    assert [request.method for request in faulty.seen] == ["HEAD", "HEAD"], "both are here unchanged"
    assert store.resolve(name, "linux/s390x") is None
    with pytest.raises(NotFound, match=r"does not provide the specified platform \(linux/s390x\)") as caught:
        store.get(name, "linux/s390x")
    assert "linux/amd64, linux/arm64" in caught.value.hint


async def test_another_index_takes_the_name_from_all(store: ImageStore, faulty: FaultyRegistry) -> None:
    name = f"{faulty.address}/app:1"
    add_index(faulty, "1", ARM64, AMD)
    old = await pulled(store, name, ARM64, AMD)
    faulty.add_image("app", "1", [layer(9)], architecture="arm64")
    new = await store.pull(name, ARM64)
    assert store.get(name).id == new.id
    assert [store.get(image.id).tags for image in old] == [(), ()]
    assert sorted(names(store)) == [("amd64", ()), ("arm64", (name,))], "the other old one goes with it"


async def test_they_are_tagged_and_removed_together_or_one_by_one(
    store: ImageStore, faulty: FaultyRegistry
) -> None:
    name, other = f"{faulty.address}/app:1", "other:1"
    add_index(faulty, "1", ARM64, AMD)
    arm, amd = await pulled(store, name, ARM64, AMD)
    store.tag(name, other)
    assert store.get(other, ARM64).id == arm.id
    assert store.remove(name, platforms=["linux/arm64"]).changes[0] == {"Untagged": name}
    assert store.get(name).tags == (other, name) or store.get(name).tags == (name, other)
    assert store.resolve(name, ARM64) is None and store.get(other, ARM64).id == arm.id
    with pytest.raises(NotFound, match="does not provide"):
        store.remove(name, platforms=["linux/arm64"])
    store.remove(name)
    changes = store.remove(other).changes
    assert {"Deleted": arm.id} in changes and {"Deleted": amd.id} in changes
    assert names(store) == []
    await store.sweep()
    assert store.content.blobs.all() == [], "the index goes with the last of them"


async def test_removing_by_the_id_that_is_listed_removes_all(
    store: ImageStore, faulty: FaultyRegistry
) -> None:
    name = f"{faulty.address}/app:1"
    add_index(faulty, "1", ARM64, AMD)
    arm, amd = await pulled(store, name, ARM64, AMD)
    store.users = lambda image: [ImageUse("c1", False)] if image == arm.id else []
    with pytest.raises(Conflict, match="being used by stopped container c1"):
        store.remove(amd.id)
    assert store.get(name, ARM64).id == arm.id and store.get(name).id == amd.id, "nothing is half done"
    store.users = lambda _: []
    store.remove(amd.id[7:19])
    assert names(store) == []


async def test_they_are_pushed_as_the_index_they_came_with(store: ImageStore, faulty: FaultyRegistry) -> None:
    name, copy = f"{faulty.address}/app:1", f"{faulty.address}/copy:1"
    digests = add_index(faulty, "1", ARM64, AMD, is_attested=False)
    await pulled(store, name, AMD, ARM64)
    store.tag(name, copy)
    pushed = await store.push(copy)
    assert faulty.manifests["copy", "1"] == faulty.manifests["app", "1"]
    root = f"{faulty.address}/copy@{pushed.digest}"
    assert root in store.get(copy).digests and root in store.get(copy, ARM64).digests
    only = await store.push(copy, platform=ARM64)
    assert str(only.digest) == digests[ARM64]
    assert faulty.manifests["copy", "1"] == faulty.manifests["app", digests[ARM64]]


async def test_of_an_index_what_is_here_is_pushed(store: ImageStore, faulty: FaultyRegistry) -> None:
    name, copy = f"{faulty.address}/app:1", f"{faulty.address}/copy:1"
    digests = add_index(faulty, "1", ARM64, AMD, "linux/s390x")
    await pulled(store, name, ARM64, AMD)
    store.tag(name, copy)
    await store.push(copy)
    listed = json.loads(faulty.manifests["copy", "1"][1])["manifests"]
    assert {entry["digest"] for entry in listed} == {digests[ARM64], digests[AMD]}
    assert {entry["platform"]["architecture"] for entry in listed} == {"arm64", "amd64"}


async def test_archives_have_all_platforms_or_one(
    store: ImageStore, faulty: FaultyRegistry, tmp_path: Path
) -> None:
    name, path = f"{faulty.address}/app:1", tmp_path / "all.tar"
    digests = add_index(faulty, "1", ARM64, AMD, is_attested=False)
    arm, amd = await pulled(store, name, ARM64, AMD)
    documents = await save(store, path, name)
    (entry,) = json.loads(documents["index.json"])["manifests"]
    index = documents[f"blobs/sha256/{entry['digest'][7:]}"]
    assert index == faulty.manifests["app", "1"][1]
    (listed,) = json.loads(documents["manifest.json"])
    assert hashlib.sha256(documents[listed["Config"]]).hexdigest() == amd.id[7:], "what older tools see"
    one = await save(store, tmp_path / "one.tar", name, platform=ARM64)
    assert [item["digest"] for item in json.loads(one["index.json"])["manifests"]] == [digests[ARM64]]
    with pytest.raises(NotFound, match="does not provide"):
        store.save([name], "linux/s390x")

    database = StateDatabase(tmp_path / "other.db")
    try:
        other = ImageStore(tmp_path / "other", database, env={}, platform=AMD64)
        with pytest.raises(InvalidImage, match=r"for the specified platform \(linux/s390x\)") as caught:
            await other.load(path, platform="linux/s390x")
        assert caught.value.hint == "It has: linux/amd64, linux/arm64."
        (loaded,) = await other.load(path, platform=ARM64)
        assert (loaded.id, names(other)) == (arm.id, [("arm64", (name,))])
        assert {image.id for image in await other.load(path)} == {arm.id, amd.id}
        assert names(other) == [("amd64", (name,))] and other.get(name, ARM64).id == arm.id
        faulty.manifests.clear()
        assert str((await other.push(name)).digest) == entry["digest"], (
            "manifests and index came in as they are"
        )
    finally:
        database.close()


async def test_a_store_that_is_opened_again_knows_them_all(
    store: ImageStore, faulty: FaultyRegistry, tmp_path: Path
) -> None:
    name = f"{faulty.address}/app:1"
    add_index(faulty, "1", ARM64, AMD)
    arm, amd = await pulled(store, name, ARM64, AMD)
    database = StateDatabase(tmp_path / "state.db")
    try:
        again = ImageStore(tmp_path / "images", database, env={}, platform=AMD64)
        assert (again.get(name).id, again.get(name, ARM64).id) == (amd.id, arm.id)
        assert names(again) == [("amd64", (name,))]
    finally:
        database.close()


async def test_what_is_told_is_the_digest_of_the_name_that_was_pulled(
    store: ImageStore, faulty: FaultyRegistry
) -> None:
    name, single = f"{faulty.address}/app:1", f"{faulty.address}/app:2"
    digests = add_index(faulty, "1", ARM64, AMD)
    root = digest_of(faulty.manifests["app", "1"][1])
    image = await store.pull(name)
    store.tag(name, single)
    await store.push(single)
    for text, digest in ((name, root), (single, digests[AMD]), (name, root)):
        image = await store.pull(text)
        assert store.pulled_digest(image, text) == digest
    assert store.pulled_digest(image, f"{faulty.address}/app@{root}") == root
    assert store.pulled_digest(image, "other:1") == ""
