"""Pulling from a registry that has a bad day, and from one that lies."""

from __future__ import annotations

import gzip
import json
import threading
from typing import Any
from unittest.mock import Mock

import pytest
import trio
import trio.testing
import zstandard

from runtime.errors import ComposerError
from runtime.image.digest import Digest
from runtime.image.manifest import InvalidImage
from runtime.image.model import PullProgress
from runtime.image.registry.responses import AccessDenied
from runtime.image.store import ImageStore
from tests.faulty_registry import Fault, FaultyRegistry, digest_of
from tests.integration.image.conftest import add_index, layer


async def pull(store: ImageStore, registry: FaultyRegistry, name: str = "app:1") -> str:
    return (await store.pull(f"{registry.address}/{name}")).id


async def test_an_image_comes_whole(store: ImageStore, faulty: FaultyRegistry) -> None:
    digest = faulty.add_image("app", "1", [layer(1), layer(2)])
    events: list[PullProgress] = []
    image = await store.pull(f"{faulty.address}/app:1", progress=events.append)
    assert image.digests == (f"{faulty.address}/app@{digest}",)
    assert [path.name for path in image.layers] == ["diff", "diff"]
    assert (image.layers[1] / "file1").stat().st_size == 1000
    done = [event.layer for event in events if event.status == "Pull complete"]
    assert sorted(done) == sorted(digest_of(layer(n))[7:19] for n in (1, 2))


async def test_why_it_takes_longer_is_told(store: ImageStore, faulty: FaultyRegistry) -> None:
    """Of the image as a whole until its layers are known, then of the layer."""
    faulty.add_image("app", "1", [layer(1)])
    whole = Fault("/manifests/", "GET", times=1, status=429, headers={"Retry-After": "1"})
    busy = Fault(digest_of(layer(1)), "GET", times=1, status=503, headers={"Retry-After": "1"})
    faulty.faults += [whole, busy]
    events: list[PullProgress] = []
    await store.pull(f"{faulty.address}/app:1", progress=events.append)
    told = [(event.layer, event.text) for event in events if event.status == "Retrying"]
    assert [one for one, _ in told] == ["", digest_of(layer(1))[7:19]]
    assert all(text.startswith("in 1 s: ") for _, text in told)
    assert "toomanyrequests" in told[0][1]
    assert "503" in told[1][1]


async def test_an_unchanged_image_costs_one_request(store: ImageStore, faulty: FaultyRegistry) -> None:
    faulty.add_image("app", "1", [layer(1)])
    first = await pull(store, faulty)
    faulty.seen.clear()
    assert await pull(store, faulty) == first
    assert [request.method for request in faulty.seen] == ["HEAD"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/blobs/", "GET", times=3, status=500),
        Fault("/blobs/", "GET", times=3, status=429, headers={"Retry-After": "0"}),
        Fault("/manifests/", "GET", times=3, status=503),
        Fault("/blobs/", "GET", times=3, drop_after=0),
        Fault("/manifests/", "GET", times=1, drop_after=20),
        Fault("/blobs/", "GET", times=1, corrupt=True),
        Fault("/manifests/", "GET", times=1, corrupt=True),
    ],
    ids=repr,
)
async def test_what_passes_is_got_over(store: ImageStore, faulty: FaultyRegistry, fault: Fault) -> None:
    faulty.add_image("app", "1", [layer(1), layer(2)])
    faulty.faults.append(fault)
    await pull(store, faulty)
    assert fault.times == 0


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault("/blobs/", "GET", times=99, status=500), ComposerError, "status 500: on purpose"),
        (Fault("/manifests/", "GET", times=99, status=429, headers={"Retry-After": "0"}), ComposerError, "toomany"),
        (Fault("/blobs/", "GET", times=99, corrupt=True), InvalidImage, "does not match its digest"),
        (Fault("/manifests/", "GET", times=99, corrupt=True), InvalidImage, "does not match its digest"),
        (Fault("/manifests/", "GET", times=99, status=403), AccessDenied, "pull access denied"),
        (Fault("/blobs/", "GET", times=99, status=404), InvalidImage, "blob unknown"),
        (Fault("/blobs/", "GET", times=99, status=302, headers={"Location": "ftp://x/"}), ComposerError, "invalid"),
        (Fault("/blobs/", "GET", times=99, status=307, headers={"Location": "http://["}), ComposerError, "invalid"),
        (Fault("/blobs/", "GET", times=99, status=307, headers={"Location": "http://a:x/"}), ComposerError, "Invalid"),
        (Fault("/blobs/", "GET", times=99, status=307, headers={"Location": "/v2/blobs/"}), ComposerError, "and again"),
    ],
    ids=repr,
)  # fmt: skip
async def test_what_stays_is_told(
    store: ImageStore, faulty: FaultyRegistry, fault: Fault, error: type[ComposerError], words: str
) -> None:
    faulty.add_image("app", "1", [layer(1)])
    faulty.faults.append(fault)
    with pytest.raises(error, match=words):
        await pull(store, faulty)
    assert store.resolve(f"{faulty.address}/app:1") is None


async def test_a_broken_download_goes_on_where_it_was(store: ImageStore, faulty: FaultyRegistry) -> None:
    big = layer(1, 1 << 20)
    faulty.add_image("app", "1", [big])
    faulty.faults += [
        Fault(digest_of(big), "GET", drop_after=400_000),
        Fault(digest_of(big), drop_after=300_000),
    ]
    await pull(store, faulty)
    asked = [r.headers.get("Range") for r in faulty.seen if digest_of(big) in r.path]
    assert asked == [None, "bytes=400000-", "bytes=700000-"]


async def test_a_server_without_ranges_sends_all_again(store: ImageStore, faulty: FaultyRegistry) -> None:
    big = layer(1, 1 << 20)
    faulty.add_image("app", "1", [big])
    faulty.faults += [
        Fault(digest_of(big), "GET", drop_after=400_000),
        Fault(digest_of(big), "GET", ignore_range=True),
    ]
    await pull(store, faulty)


async def test_a_cancelled_pull_keeps_what_came(store: ImageStore, faulty: FaultyRegistry) -> None:
    small, big = layer(1), layer(2, 2 << 20)
    faulty.add_image("app", "1", [small, big])
    # In pieces: how far it is, is told now and then only.
    faulty.faults.append(Fault(digest_of(big), "GET", stall_after=1 << 20, pause=0.05))
    half = trio.Event()

    def look(event: PullProgress) -> None:
        if event.status == "Downloading" and event.current > 200_000:
            half.set()

    with trio.fail_after(60):  # the rest would never come
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.pull, f"{faulty.address}/app:1", "", look)
            await half.wait()
            nursery.cancel_scope.cancel()
    faulty.seen.clear()
    await pull(store, faulty)
    (again,) = [r.headers.get("Range", "") for r in faulty.seen if digest_of(big) in r.path]
    assert int(again.removeprefix("bytes=").removesuffix("-")) > 200_000
    assert faulty.count("GET", digest_of(small)) == 0


async def test_many_askers_share_one_download(store: ImageStore, faulty: FaultyRegistry) -> None:
    shared = layer(1, 200_000)
    faulty.add_image("one", "1", [shared, layer(2)])
    faulty.add_image("two", "1", [shared, layer(3)])
    faulty.faults.append(Fault(digest_of(shared), "GET", pause=0.02))
    async with trio.open_nursery() as nursery:
        for name in ("one:1", "one:1", "two:1", "two:1"):
            nursery.start_soon(pull, store, faulty, name)
    assert faulty.count("GET", digest_of(shared)) == 1
    assert faulty.count("GET", "/manifests/") == 2


async def test_when_one_asker_goes_the_others_get_it(store: ImageStore, faulty: FaultyRegistry) -> None:
    big = layer(1, 1 << 20)
    faulty.add_image("app", "1", [big])
    faulty.faults.append(Fault(digest_of(big), "GET", pause=0.02))
    begun = trio.Event()
    async with trio.open_nursery() as nursery, trio.open_nursery() as impatient:
        impatient.start_soon(store.pull, f"{faulty.address}/app:1", "", lambda _: begun.set())
        await begun.wait()
        nursery.start_soon(pull, store, faulty)
        await trio.testing.wait_all_tasks_blocked(0.05)
        impatient.cancel_scope.cancel()
    assert store.resolve(f"{faulty.address}/app:1") is not None


async def test_garbage_collection_leaves_what_is_being_pulled(
    store: ImageStore, faulty: FaultyRegistry
) -> None:
    small, big = layer(1), layer(2, 1 << 20)
    faulty.add_image("app", "1", [small, big])
    goes_on = threading.Event()
    faulty.faults.append(Fault(digest_of(big), "GET", waits_for=goes_on))
    unpacked = trio.Event()

    def look(event: PullProgress) -> None:
        if event.status == "Pull complete":
            unpacked.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.pull, f"{faulty.address}/app:1", "", look)
        await unpacked.wait()
        store.collect()
        await store.prune(everything=True)
        assert store.content.blobs.has(Digest.parse(digest_of(small)))
        goes_on.set()
    image = store.get(f"{faulty.address}/app:1")
    assert (image.layers[1] / "file1").exists()
    assert (image.layers[0] / "file2").exists()


async def test_all_tags_of_a_repository(store: ImageStore, faulty: FaultyRegistry) -> None:
    for number in range(5):
        faulty.add_image("app", f"v{number}", [layer(number)])
    faulty.page = 2
    faulty.faults.append(Fault("/tags/", times=1, status=500))
    assert await store.tags(f"{faulty.address}/app") == [f"{faulty.address}/app:v{n}" for n in range(5)]
    with pytest.raises(ComposerError, match="tag can't be used"):
        await store.tags(f"{faulty.address}/app:v1")


async def test_a_list_of_tags_without_end(store: ImageStore, faulty: FaultyRegistry) -> None:
    faulty.faults.append(
        Fault("/tags/", times=10_000, status=200, headers={"Link": '</v2/app/tags/list?n=1>; rel="next"'})
    )
    with pytest.raises(InvalidImage, match="more tags"):
        await store.tags(f"{faulty.address}/app")


@pytest.mark.parametrize(
    ("platform", "architecture"),
    [
        ("", "amd64"),
        ("linux/amd64", "amd64"),
        ("linux/arm64", "arm64"),
        ("linux/arm64/v8", "arm64"),
        ("386", "386"),
    ],
)
async def test_platforms(store: ImageStore, faulty: FaultyRegistry, platform: str, architecture: str) -> None:
    add_index(faulty, "1", "windows/amd64", "linux/386", "linux/arm64", "linux/amd64")
    image = await store.pull(f"{faulty.address}/app:1", platform)
    assert (image.os, image.architecture) == ("linux", architecture)


async def test_a_platform_that_there_is_not(store: ImageStore, faulty: FaultyRegistry) -> None:
    add_index(faulty, "1", "linux/arm64", "linux/s390x")
    with pytest.raises(InvalidImage, match="no matching manifest for linux/amd64") as caught:
        await store.pull(f"{faulty.address}/app:1")
    assert caught.value.hint == "It has: linux/arm64, linux/s390x."
    faulty.add_image("single", "1", [layer(1)], architecture="arm64")
    with pytest.raises(InvalidImage, match="wanted linux/amd64, actual: linux/arm64"):
        await store.pull(f"{faulty.address}/single:1", "linux/amd64")


async def test_addresses_in_a_manifest_are_not_followed(store: ImageStore, faulty: FaultyRegistry) -> None:
    """CVE-2020-15157: ``urls`` of a layer would send whoever asks anywhere."""
    with FaultyRegistry().serving() as elsewhere:
        digest = elsewhere.add_blob("app", layer(1))
        faulty.add_image("app", "1", [layer(1)])
        document = json.loads(faulty.manifests["app", "1"][1])
        document["layers"][0]["urls"] = [f"http://{elsewhere.address}/v2/app/blobs/{digest}"]
        faulty.add_manifest("app", "1", document)
        faulty.owned.remove(("app", digest))
        with pytest.raises(InvalidImage, match="blob unknown"):
            await store.pull(f"{faulty.address}/app:1")
        assert not elsewhere.seen


async def test_more_bytes_than_promised_are_not_kept(store: ImageStore, faulty: FaultyRegistry) -> None:
    digest = faulty.add_image("app", "1", [layer(1)])
    document = json.loads(faulty.manifests["app", digest][1])
    blob = document["layers"][0]
    faulty.blobs[blob["digest"]] += b"x" * (1 << 20)
    with pytest.raises(InvalidImage):
        await store.pull(f"{faulty.address}/app:1")
    faulty.manifests["app", "2"] = (faulty.manifests["app", "1"][0], b" " * (5 << 20))
    with pytest.raises(InvalidImage, match="larger than"):
        await store.pull(f"{faulty.address}/app:2")
    assert not store.content.blobs.has(Digest(blob["digest"]))


@pytest.mark.parametrize("kind", ["gzip", "zstd", "several gzip members"])
async def test_compressed_layers(store: ImageStore, faulty: FaultyRegistry, kind: str) -> None:
    plain = layer(1, 100_000)
    if kind == "zstd":
        data = zstandard.compress(plain)
    elif kind == "gzip":
        data = gzip.compress(plain)
    else:
        data = gzip.compress(plain[:50_000]) + gzip.compress(plain[50_000:])
    digest = faulty.add_image("app", "1", [data], rootfs={"type": "layers", "diff_ids": [digest_of(plain)]})
    image = await store.pull(f"{faulty.address}/app:1")
    assert (image.layers[0] / "file1").stat().st_size == 100_000
    store.tag(image.id, f"{faulty.address}/copy:1")
    assert str((await store.push(f"{faulty.address}/copy:1")).digest) == digest


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"rootfs": {"type": "layers", "diff_ids": []}}, "1 layers but its configuration names 0"),
        ({"rootfs": {"type": "layers", "diff_ids": [digest_of(b"x")]}}, "unpacks to sha256:.* instead of"),
        ({"rootfs": {"type": "layers", "diff_ids": ["sha256:zz"]}}, "configuration is not valid"),
        ({"rootfs": None}, "names no layers"),
        ({"os": "windows"}, "the image is for windows"),
    ],
)
async def test_configurations_that_lie(
    store: ImageStore, faulty: FaultyRegistry, config: dict[str, Any], words: str
) -> None:
    faulty.add_image("app", "1", [layer(1)], **config)
    with pytest.raises(InvalidImage, match=words):
        await store.pull(f"{faulty.address}/app:1")
    assert [image for image in store.list() if not image.is_embedded] == []


async def test_no_image_before_its_blobs_are_durable(
    store: ImageStore, faulty: FaultyRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.add_image("app", "1", [layer(1), layer(2)])
    whole = store.content.blobs.sync
    monkeypatch.setattr(store.content.blobs, "sync", failing := Mock(side_effect=ComposerError("no space")))
    with pytest.raises(ComposerError, match="no space"):
        await pull(store, faulty)
    assert failing.called and store.resolve(f"{faulty.address}/app:1") is None
    synced: list[str] = []
    monkeypatch.setattr(store.content.blobs, "sync", lambda digest: (synced.append(digest), whole(digest)))
    await pull(store, faulty)
    assert set(synced) == {digest_of(layer(1)), digest_of(layer(2))}
