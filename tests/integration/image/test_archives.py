"""Archives in and out, honest ones and others."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from runtime.errors import ComposerError, NotFound
from runtime.image.manifest import InvalidImage
from runtime.image.store import ImageStore
from tests.faulty_registry import FaultyRegistry, digest_of
from tests.integration.image.conftest import layer


def archive(**files: bytes) -> bytes:
    """A tar of ``files``; two underscores in a name stand for a slash."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def config(*layers: bytes) -> bytes:
    diff_ids = [digest_of(data) for data in layers]
    return json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()


def docker_archive(*layers: bytes, tags: list[str] | None = None, **changes: Any) -> bytes:
    entry = {"Config": "c.json", "RepoTags": tags, "Layers": [f"{n}/layer.tar" for n in range(len(layers))]}
    files = {f"{n}__layer.tar": data for n, data in enumerate(layers)}
    return archive(
        **{"manifest.json": json.dumps([entry | changes]).encode(), "c.json": config(*layers), **files}
    )


async def load(store: ImageStore, data: bytes, path: Path) -> list[str]:
    path.write_bytes(data)
    return [tag for image in await store.load(path) for tag in image.tags or (image.id,)]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress, lzma.compress, bz2.compress])
async def test_docker_archives(store: ImageStore, tmp_path: Path, compress: Any) -> None:
    data = compress(docker_archive(layer(1), gzip.compress(layer(2)), tags=["a:1", "r.io/b:2"]))
    with pytest.raises(InvalidImage):  # the layer's digest is of what it unpacks to
        await load(store, data, tmp_path / "bad.tar")
    data = compress(docker_archive(layer(1), layer(2), tags=["a:1", "r.io/b:2"]))
    assert await load(store, data, tmp_path / "good.tar") == ["a:1", "r.io/b:2"]


async def test_only_the_names_in_an_archive_are_told(store: ImageStore, tmp_path: Path) -> None:
    assert await load(store, docker_archive(layer(1), tags=["a:1"]), tmp_path / "one.tar") == ["a:1"]
    assert await load(store, docker_archive(layer(1), tags=["b:1"]), tmp_path / "two.tar") == ["b:1"]
    assert store.get("a:1").tags == ("a:1", "b:1")


async def test_what_is_saved_can_be_loaded(store: ImageStore, faulty: FaultyRegistry, tmp_path: Path) -> None:
    faulty.add_image("app", "1", [layer(1), layer(2)])
    faulty.add_image("other", "1", [layer(1)])
    first = await store.pull(f"{faulty.address}/app:1")
    second = await store.pull(f"{faulty.address}/other:1")
    store.tag(first.id, "x:1")
    pieces = [piece async for piece in store.save(["x:1", f"{faulty.address}/app:1", second.id])]
    saved = tmp_path / "saved.tar"
    saved.write_bytes(b"".join(pieces))
    with tarfile.open(saved) as tar:
        names = tar.getnames()
        tar.extractall(tmp_path / "layout")
    assert len(names) == len(set(names)), "a shared layer is there once"
    for name in (n for n in names if n.startswith("blobs/")):
        content = (tmp_path / "layout" / name).read_bytes()
        assert digest_of(content) == f"sha256:{Path(name).name}"
    for source in (saved, tmp_path / "layout"):
        for image in (first, second):
            store.remove(image.id, force=True)
        loaded = await store.load(source)
        assert [image.id for image in loaded] == [first.id, second.id]
        assert sorted(loaded[0].tags) == [f"{faulty.address}/app:1", "x:1"]
    with pytest.raises(NotFound):
        store.save(["x:1", "nothing"])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot be read: there is nothing in it"),
        (b"garbage", "cannot be read: it is no tar"),
        (bytes(10240), "neither a docker-archive nor an OCI layout"),
        (b"no tar at all" * 100, "not valid"),
        (archive(**{"manifest.json": b"{"}), r"manifest\.json is not valid"),
        (archive(**{"manifest.json": b'[{"Config": "../../etc/passwd"}]'}), "reaches outside|has no"),
        (docker_archive(layer(1), Layers=[]), "0 layers for the 1"),
        (docker_archive(layer(1), Layers=["/etc/passwd"]), "has no /etc/passwd"),
        (docker_archive(layer(1), tags=["Not A Name"]), "bad name"),
        (docker_archive(layer(1), tags=["composer.local/host:latest"]), "belongs to the embedded image"),
        (archive(**{"index.json": b'{"schemaVersion": 2, "manifests": []}'}), "no images"),
        (docker_archive(layer(1))[:2000], "truncated|has no"),
        (gzip.compress(docker_archive(layer(1)))[:-500], "damaged"),
    ],
    ids=range(13),
)
async def test_what_is_refused(store: ImageStore, tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ComposerError, match=words):
        await load(store, data, tmp_path / "bad.tar")
    assert [image for image in store.list() if not image.is_embedded] == []


async def test_a_layout_that_lies(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "blobs/sha256").mkdir(parents=True)
    manifest = b'{"schemaVersion": 2}'
    named = tmp_path / "blobs/sha256" / digest_of(manifest)[7:]
    named.write_bytes(manifest + b" ")
    entry = {"digest": digest_of(manifest), "size": len(manifest), "mediaType": "application/x"}
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    with pytest.raises(InvalidImage, match=r"larger than|does not match its digest"):
        await store.load(tmp_path)
    named.unlink()
    named.symlink_to("/etc/passwd")
    with pytest.raises(InvalidImage, match="has no"):
        await store.load(tmp_path)
