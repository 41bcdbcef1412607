"""The rules of reading a stranger's manifest and configuration; what has to be refused is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.image.manifest import (
    CONFIG_LIMIT,
    LAYERS_LIMIT,
    MANIFEST_LIMIT,
    OCI_INDEX,
    OCI_MANIFEST,
    InvalidImage,
    parse_config,
    parse_manifest,
)

GOOD = {"digest": f"sha256:{'1' * 64}", "size": 1, "mediaType": "x"}


def manifest(**fields: Any) -> bytes:
    return json.dumps({"mediaType": OCI_MANIFEST, "config": GOOD, "layers": [GOOD]} | fields).encode()


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../../etc/passwd",
        f"sha256:{'1' * 63}",
        f"sha256:{'A' * 64}",
        f"sha256:{'1' * 64}/../x",
        f"../{'1' * 64}",
        f"md5:{'1' * 32}",
        "",
    ],
)
@pytest.mark.parametrize("place", ["config", "layers", "manifests"])
def test_digests_have_a_grammar(place: str, digest: str) -> None:
    """A digest names a file: no other text may."""
    bad: Any = GOOD | {"digest": digest}
    if place == "config":
        document = manifest(config=bad)
    elif place == "layers":
        document = manifest(layers=[bad])
    else:
        document = json.dumps({"mediaType": OCI_INDEX, "manifests": [bad]}).encode()
    with pytest.raises(InvalidImage, match="not valid"):
        parse_manifest(document)


@pytest.mark.parametrize("size", [-1, 1 << 80, "1", None])
def test_sizes_are_sizes(size: object) -> None:
    with pytest.raises(InvalidImage):
        parse_manifest(manifest(layers=[GOOD | {"size": size}]))


@pytest.mark.parametrize(
    "document",
    [
        manifest(manifests=[GOOD]),
        manifest(mediaType=OCI_INDEX),
        json.dumps({"mediaType": OCI_MANIFEST, "manifests": [GOOD]}).encode(),
        json.dumps({"mediaType": OCI_INDEX, "manifests": [], "config": GOOD}).encode(),
    ],
)
def test_nothing_is_two_things(document: bytes) -> None:
    """CVE-2021-41190: one digest that is an image for one reader and an index for another."""
    with pytest.raises(InvalidImage):
        parse_manifest(document)


def test_what_it_is_served_as_is_what_it_says() -> None:
    with pytest.raises(InvalidImage, match="but was served as"):
        parse_manifest(manifest(), OCI_INDEX)


def test_documents_are_bounded() -> None:
    with pytest.raises(InvalidImage, match="larger than"):
        parse_manifest(manifest(annotations={"x": "y" * MANIFEST_LIMIT}))
    with pytest.raises(InvalidImage, match="larger than"):
        parse_config(b'{"author": "' + b"x" * CONFIG_LIMIT + b'"}')
    with pytest.raises(InvalidImage, match="larger than"):
        parse_manifest(manifest(config=GOOD | {"size": CONFIG_LIMIT + 1}))
    with pytest.raises(InvalidImage, match="layers"):
        parse_manifest(manifest(layers=[GOOD] * (LAYERS_LIMIT + 1)))


@pytest.mark.parametrize("depth", [1_000, 1_000_000])
@pytest.mark.parametrize("text", ["[", '{"a":'])
def test_depth_ends_nobody(text: str, depth: int) -> None:
    """Nested without end, in a field that is read and in one that is not."""
    for key in ("config", "layers", "nothing"):
        data = f'{{"{key}": {text * depth}'.encode()
        for parse in (parse_manifest, parse_config):
            with pytest.raises(InvalidImage):
                parse(data)


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"\xff", b'{"layers": 1}', b'{"config": "x"}', b"{" * 9]
)
def test_what_is_no_document(data: bytes) -> None:
    for parse in (parse_manifest, parse_config):
        with pytest.raises(InvalidImage):
            parse(data)
