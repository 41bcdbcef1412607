"""Pushing: what is sent, what need not be, and what happens when the registry has a bad day."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.image.model import PullProgress
from runtime.image.registry.responses import AccessDenied
from runtime.image.store import ImageStore
from tests.faulty_registry import Fault, FaultyRegistry, digest_of
from tests.integration.image.conftest import layer


async def imported(store: ImageStore, name: str, size: int = 1000, seed: int = 1) -> str:
    return (await store.import_(io.BytesIO(layer(seed, size)), name)).id


async def test_what_was_pulled_is_pushed_byte_for_byte(store: ImageStore, faulty: FaultyRegistry) -> None:
    digest = faulty.add_image("app", "1", [layer(1), layer(2)])
    await store.pull(f"{faulty.address}/app:1")
    store.tag(f"{faulty.address}/app:1", f"{faulty.address}/copy:2")
    pushed = await store.push(f"{faulty.address}/copy:2")
    assert (pushed.tag, str(pushed.digest)) == ("2", digest)
    assert faulty.manifests["copy", "2"] == faulty.manifests["app", "1"]
    assert f"{faulty.address}/copy@{digest}" in store.get(f"{faulty.address}/copy:2").digests


async def test_layers_of_another_repository_are_mounted(store: ImageStore, faulty: FaultyRegistry) -> None:
    faulty.add_image("app", "1", [layer(1), layer(2)])
    await store.pull(f"{faulty.address}/app:1")
    store.tag(f"{faulty.address}/app:1", f"{faulty.address}/copy:2")
    events: list[PullProgress] = []
    await store.push(f"{faulty.address}/copy:2", events.append)
    assert [event.text for event in events if event.status == "Mounted from"] == ["app", "app"]
    assert faulty.count("PUT", "/blobs/") == 1, "the configuration only"


async def test_what_is_there_is_not_sent(store: ImageStore, faulty: FaultyRegistry) -> None:
    await imported(store, f"{faulty.address}/app:1", 3 << 20)
    first = await store.push(f"{faulty.address}/app:1")
    faulty.seen.clear()
    assert await store.push(f"{faulty.address}/app:1") == first
    assert [request.method for request in faulty.seen] == ["HEAD", "HEAD", "PUT"]


async def test_a_plain_layer_is_compressed_once(
    store: ImageStore, faulty: FaultyRegistry, tmp_path: Path
) -> None:
    image = await imported(store, f"{faulty.address}/app:1", 3 << 20)
    before = (store.get(image).layers[0] / "file1").read_bytes()
    await store.push(f"{faulty.address}/app:1")
    _, manifest = faulty.manifests["app", "1"]
    (described,) = json.loads(manifest)["layers"]
    assert described["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert faulty.blobs[described["digest"]][:2] == b"\x1f\x8b"
    assert [path.name for path in (tmp_path / "images/blobs/sha256").iterdir()] == [described["digest"][7:]]
    store.remove(image)
    again = await store.pull(f"{faulty.address}/app:1")
    assert again.id == image
    assert (again.layers[0] / "file1").read_bytes() == before


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/uploads/", "POST", times=3, status=500),
        Fault("/uploads/", "PATCH", times=3, status=503),
        Fault("/uploads/", "PATCH", times=1, read_only=500_000),
        Fault("/uploads/", "PUT", times=2, status=502),
        Fault("/uploads/", "PUT", times=1, drop_after=0),
        Fault("/manifests/", "PUT", times=2, status=429, headers={"Retry-After": "0"}),
        Fault("/blobs/", "HEAD", times=2, status=500),
    ],
    ids=repr,
)
async def test_what_passes_is_got_over(store: ImageStore, faulty: FaultyRegistry, fault: Fault) -> None:
    image = await imported(store, f"{faulty.address}/app:1", 3 << 20)
    faulty.faults.append(fault)
    await store.push(f"{faulty.address}/app:1")
    assert fault.times == 0
    store.remove(image)
    assert (await store.pull(f"{faulty.address}/app:1")).id == image


async def test_a_broken_upload_goes_on_where_it_was(store: ImageStore, faulty: FaultyRegistry) -> None:
    await imported(store, f"{faulty.address}/app:1", 3 << 20)
    faulty.faults.append(Fault("/uploads/", "PATCH", read_only=2_000_000))
    await store.push(f"{faulty.address}/app:1")
    first, second = (r for r in faulty.seen if r.method == "PATCH")
    assert "Content-Range" not in first.headers
    assert second.headers["Content-Range"].startswith("2000000-")
    assert second.body_size == int(first.headers["Content-Length"]) - 2_000_000


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault("/uploads/", "POST", times=99, status=403), AccessDenied, "denied: requested access"),
        (Fault("/uploads/", "PATCH", times=99, status=500), ComposerError, "status 500: on purpose"),
        (Fault("/manifests/", "PUT", times=99, status=400), ComposerError, "status 400: on purpose"),
    ],
    ids=repr,
)
async def test_what_stays_is_told(
    store: ImageStore, faulty: FaultyRegistry, fault: Fault, error: type[ComposerError], words: str
) -> None:
    await imported(store, f"{faulty.address}/app:1", 2 << 20)
    faulty.faults.append(fault)
    with pytest.raises(error, match=words):
        await store.push(f"{faulty.address}/app:1")
    assert ("app", "1") not in faulty.manifests


async def test_what_cannot_be_pushed(store: ImageStore, faulty: FaultyRegistry) -> None:
    with pytest.raises(NotFound, match=r"An image does not exist locally with the tag: .*/nothing"):
        await store.push(f"{faulty.address}/nothing")
    with pytest.raises(InvalidArgument, match="is this machine itself"):
        await store.push("composer.local/host")
    assert digest_of(b"") and not faulty.seen
