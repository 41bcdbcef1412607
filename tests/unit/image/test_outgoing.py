"""What an image is said to be when it leaves."""

from __future__ import annotations

import json

import pytest

from runtime.image.digest import Digest
from runtime.image.manifest import DOCKER_MANIFEST, OCI_MANIFEST
from runtime.image.model import ImageRecord, LayerRecord
from runtime.image.outgoing import describe, is_described, oci_layer_type

CONFIG = b'{"os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}'
LAYER = Digest.of(b"layer")
IMAGE = Digest.of(CONFIG)


def manifest(kind: str, layer: Digest = LAYER, config: Digest = IMAGE) -> str:
    document = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {"digest": config, "size": len(CONFIG)},
        "layers": [{"digest": layer, "size": 5}],
    }
    return json.dumps(document, indent=3)


def record(text: str) -> ImageRecord:
    stored = LayerRecord("sha256:d", "sha256:c", 1, str(LAYER), 5, "application/x.tar.gzip")
    return ImageRecord(str(Digest.of(CONFIG)), CONFIG.decode(), (stored,), text)


def test_a_manifest_that_holds_leaves_as_it_came() -> None:
    text = manifest(DOCKER_MANIFEST)
    descriptor, data = describe(record(text))
    assert data.decode() == text
    assert (descriptor.media_type, descriptor.digest) == (DOCKER_MANIFEST, Digest.of(data))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"manifests": []}',
        manifest(OCI_MANIFEST, layer=Digest.of(b"recompressed")),
        manifest(OCI_MANIFEST, config=Digest.of(b"other")),
    ],
)
def test_one_that_does_not_hold_is_written_anew(text: str) -> None:
    assert not is_described(record(text))
    descriptor, data = describe(record(text))
    assert descriptor.media_type == OCI_MANIFEST
    document = json.loads(data)
    assert document["config"]["digest"] == str(Digest.of(CONFIG))
    (layer,) = document["layers"]
    assert layer == {"mediaType": oci_layer_type("gzip"), "digest": str(LAYER), "size": 5}


def test_a_layout_has_no_types_of_dockers() -> None:
    assert describe(record(manifest(DOCKER_MANIFEST)), is_layout=True)[0].media_type == OCI_MANIFEST
    assert describe(record(manifest(OCI_MANIFEST)), is_layout=True)[1].decode() == manifest(OCI_MANIFEST)
