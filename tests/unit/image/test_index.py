"""Indexes put together here: Docker's bytes, order, what entries keep."""

from __future__ import annotations

import json

import pytest

from runtime.errors import ComposerError
from runtime.image.index import combine, encode_docker_list, encode_index, ordered, parts_of, platform_of
from runtime.image.manifest import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from runtime.image.platform import Platform
from runtime.image.registry.referrers import referrer_of, referrers_tag

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def test_a_list_has_the_bytes_that_docker_sends() -> None:
    """Recorded from ``docker manifest create``, ``annotate`` and ``push`` of Docker 28."""
    platform = {
        "variant": "v8",
        "os.features": ["a", "b"],
        "architecture": "arm64",
        "os.version": "1",
        "os": "linux",
    }
    entry = {
        "mediaType": DOCKER_MANIFEST,
        "digest": "sha256:db2545ec76d44fb0b3eec9bf4655fac50156e222d64922e7d51b86a445a35f99",
        "size": 736,
        "platform": platform,
    }
    made = encode_docker_list([entry])
    assert made.digest == "sha256:4a6e325e71b914acf8407f687d90f284c6958023f5bdbeeafe65db99b24be97d"
    assert made.media_type == DOCKER_INDEX
    assert encode_docker_list([entry | {"mediaType": OCI_MANIFEST}]).media_type == OCI_INDEX


def test_each_digest_is_in_an_index_once() -> None:
    first = {"mediaType": OCI_MANIFEST, "digest": ONE, "size": 1, "annotations": {"a": "1"}, "x": 5}
    again = {"mediaType": OCI_MANIFEST, "digest": ONE, "size": 1, "annotations": {"b": "2"}}
    with_platform = again | {"platform": {"os": "linux", "architecture": "arm64"}}
    other = {"mediaType": OCI_MANIFEST, "digest": TWO, "size": 2}
    found = combine([[first, other], [with_platform]])
    assert [entry["digest"] for entry in found] == [ONE, TWO]
    assert found[0]["annotations"] == {"a": "1", "b": "2"}
    assert found[0]["x"] == 5
    assert platform_of(found[0]) == Platform("linux", "arm64")
    assert first["annotations"] == {"a": "1"}


def test_the_kind_of_an_index() -> None:
    docker = {"mediaType": DOCKER_MANIFEST, "digest": ONE, "size": 1}
    oci = {"mediaType": OCI_MANIFEST, "digest": TWO, "size": 1}
    assert encode_index([docker], {}).media_type == DOCKER_INDEX
    assert encode_index([docker, oci], {}).media_type == OCI_INDEX
    assert encode_index([docker], {"a": "b"}).media_type == OCI_INDEX
    assert encode_index([docker | {"annotations": {"a": "b"}}], {}).media_type == OCI_INDEX
    assert json.loads(encode_index([oci], {"z": "1", "a": "2"}).data)["annotations"] == {"a": "2", "z": "1"}


def test_an_entry_keeps_what_is_not_known_here() -> None:
    entry = {
        "size": 1,
        "x": 2,
        "platform": {"os": "linux", "architecture": "arm64", "variant": ""},
        "digest": ONE,
    }
    assert list(ordered(entry)) == ["digest", "size", "platform", "x"]
    assert ordered(entry)["platform"] == {"architecture": "arm64", "os": "linux"}


def test_what_a_manifest_needs() -> None:
    blob = {"mediaType": "x", "digest": ONE, "size": 3}
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": TWO,
        "size": 4,
    }
    parts = parts_of(
        json.dumps(
            {"config": blob, "layers": [blob, foreign], "blobs": [blob], "subject": blob | {"digest": TWO}}
        ).encode()
    )
    assert [item.digest for item in parts.blobs] == [ONE, ONE, ONE]
    assert parts.subject == TWO
    assert [item.digest for item in parts_of(json.dumps({"manifests": [blob]}).encode()).manifests] == [ONE]


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{",
        b'{"manifests": {}}',
        b'{"manifests": [1]}',
        b'{"layers": [{"digest": "sha256:00", "size": 1}]}',
        b'{"layers": [{"digest": "sha256:' + b"1" * 64 + b'"}]}',
        b'{"layers": [{"digest": "sha256:' + b"1" * 64 + b'", "size": -1}]}',
        b'{"layers": [{"digest": "sha256:' + b"1" * 64 + b'", "size": true}]}',
        b'{"layers": [{"digest": "../../etc", "size": 1}]}',
    ],
)
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(ComposerError):
        parts_of(data)


def test_referrers() -> None:
    entry = {"digest": ONE, "size": 3, "artifactType": "sig", "annotations": {"b": "2", "a": "1"}}
    assert referrer_of(entry).annotations == (("a", "1"), ("b", "2"))
    assert referrers_tag(referrer_of(entry).digest) == "sha256-" + "1" * 64
