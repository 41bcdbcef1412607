"""Stores of a test's own, and registries that fail on purpose."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.image.manifest import OCI_MANIFEST
from runtime.image.platform import Platform
from runtime.image.store import ImageStore
from runtime.storage.state import StateDatabase
from tests.faulty_registry import FaultyRegistry

AMD64 = Platform.of("linux", "amd64", "")


def layer(seed: int, size: int = 1000) -> bytes:
    """A tar with one file of random bytes."""
    info = tarfile.TarInfo(f"file{seed}")
    info.size = size
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(info, io.BytesIO(random.Random(seed).randbytes(size)))
    return buffer.getvalue()


def add_index(
    registry: FaultyRegistry, tag: str, *platforms: str, is_attested: bool = True
) -> dict[str, str]:
    """An index of one-layer images, with an attestation; digests of the manifests by platform."""
    digests = {}
    for number, platform in enumerate(platforms):
        system, architecture, *variant = platform.split("/")
        named = {"os": system, "architecture": architecture, "variant": "".join(variant)}
        digests[platform] = registry.add_image("app", f"only-{number}", [layer(number)], **named)
    entries = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": digest,
            "size": len(registry.manifests["app", digest][1]),
            "platform": dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False)),
        }
        for platform, digest in digests.items()
    ]
    attestation = {
        **entries[0],
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [attestation, *entries] if is_attested else entries,
    }
    registry.add_manifest("app", tag, index)
    return digests


@pytest.fixture
def faulty() -> Iterator[FaultyRegistry]:
    with FaultyRegistry().serving() as registry:
        yield registry


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageStore]:
    """An empty store whose retries do not wait long."""
    monkeypatch.setattr("runtime.image.registry.connection.FIRST_PAUSE", 0.001)
    database = StateDatabase(tmp_path / "state.db")
    try:
        yield ImageStore(
            tmp_path / "images", database, env={"DOCKER_CONFIG": str(tmp_path / "docker")}, platform=AMD64
        )
    finally:
        database.close()
