"""Caches elsewhere: what is said of them, and what they say."""

from __future__ import annotations

import json

import pytest

from composer.engine.builds.cache_options import absolute_cache, parse_cache_from, parse_cache_to
from runtime.build.solver.cache_config import CachedLayer, CachedResult, decode, encode
from runtime.errors import InvalidArgument

_ONE = CachedLayer(
    "sha256:" + "1" * 64, 10, "application/vnd.oci.image.layer.v1.tar+gzip", "sha256:" + "a" * 64
)
_TWO = CachedLayer(
    "sha256:" + "2" * 64, 20, "application/vnd.oci.image.layer.v1.tar+gzip", "sha256:" + "b" * 64
)


def test_what_is_written_is_read() -> None:
    first = CachedResult(("k1", "k2"), (_ONE,), (True,), 1000, "RUN a")
    second = CachedResult(("k3",), (_ONE, _TWO), (True, False, True), 2000, "RUN b")
    data = encode([first, second])
    assert len(json.loads(data)["layers"]) == 2
    found = decode(data)
    assert set(found) == {"k1", "k2", "k3"}
    assert found["k3"] == second and found["k1"].layers == (_ONE,)


def test_what_buildkit_writes_is_read_and_has_nothing_for_us() -> None:
    document = {
        "layers": [{"blob": _ONE.blob, "parent": -1, "annotations": {"diffID": _ONE.diff_id, "size": 1}}],
        "records": [
            {"digest": "sha256:" + "c" * 64, "inputs": [[{"link": 0}]], "layers": [{"layer": 0}]},
            {
                "digest": "sha256:" + "d" * 64,
                "chains": [{"layers": [0], "createdAt": "2024-01-01T00:00:00Z"}],
            },
        ],
    }
    assert decode(json.dumps(document).encode()) == {}


@pytest.mark.parametrize(
    "layers",
    [
        [{"blob": "x", "parent": 0, "annotations": {}}],
        [{"blob": "x", "parent": 5, "annotations": {}}],
        [{"blob": "x", "parent": -1}],
        [],
    ],
)
def test_layers_that_lead_nowhere_are_not_followed(layers: list[object]) -> None:
    records = [{"digest": "sha256:k", "layers": [{"layer": 0}], "composer": {"made": "1"}}]
    assert decode(json.dumps({"layers": layers, "records": records}).encode()) == {}


@pytest.mark.parametrize("data", [b"", b"[]", b'{"layers": 1}', b"\xff", b"[" * 100_000])
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="not valid"):
        decode(data)


def test_places() -> None:
    assert parse_cache_from("host/name:tag").ref == "host/name:tag"
    assert parse_cache_from("type=local,src=/a,tag=x").tag == "x"
    assert parse_cache_to("type=registry,ref=a/b,mode=max").is_max
    assert parse_cache_to("type=inline").type == "inline"
    assert absolute_cache("type=local,src=a,tag=b", "/here") == "type=local,src=/here/a,tag=b"
    assert absolute_cache("name", "/here") == "name"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=gha", "type=gha is not supported"),
        ("type=s3,bucket=x", "type=s3 is not supported"),
        ("type=azblob,name=x", "type=azblob is not supported"),
        ("type=magic", "type is one of"),
        ("type=registry,mode=max", "ref is missing"),
        ("type=registry,ref=x,mode=most", "neither min nor max"),
        ("type=registry,ref=x,compression=zstd", "compression=gzip"),
        ("type=local,dset=x", r"did you mean dest\?"),
        ("type=local,x", "is no key=value"),
    ],
)
def test_places_that_are_wrong(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_cache_to(text)
