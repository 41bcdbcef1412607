"""A build cache on its way to another machine, in the form that BuildKit gives its own (``cacheconfig.v0``): layers
with their parents, and records that say which key leads to which layer. Pure.

The keys are ours, so that each builder can read what the other has written and finds nothing of its own in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from runtime.errors import InvalidArgument

MEDIA_TYPE = "application/vnd.buildkit.cacheconfig.v0"
INLINE = "moby.buildkit.cache.v0"
"""Where the configuration of an image has the cache of its own steps."""
LIMIT = 32 << 20


@dataclass(frozen=True)
class CachedLayer:
    """A layer that can be fetched."""

    blob: str
    size: int
    media_type: str
    diff_id: str


@dataclass(frozen=True)
class CachedResult:
    """What some keys lead to: layers, lowest first. ``created`` in seconds."""

    keys: tuple[str, ...]
    layers: tuple[CachedLayer, ...]
    made: tuple[bool, ...]
    created: int
    description: str


def encode(results: Sequence[CachedResult]) -> bytes:
    """The document of a cache."""
    layers: list[dict[str, Any]] = []
    places: dict[tuple[str, ...], int] = {}
    records = []
    for result in results:
        parent = -1
        chain: tuple[str, ...] = ()
        for layer in result.layers:
            chain = (*chain, layer.diff_id)
            if chain not in places:
                places[chain] = len(layers)
                about = {"mediaType": layer.media_type, "diffID": layer.diff_id, "size": layer.size}
                layers.append({"blob": layer.blob, "parent": parent, "annotations": about})
            parent = places[chain]
        moment = datetime.fromtimestamp(result.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        own = {"made": "".join("01"[one] for one in result.made), "description": result.description}
        for key in result.keys:
            found = {"digest": f"sha256:{key}", "composer": own}
            records.append({**found, "layers": [{"layer": parent, "createdAt": moment}]})
    return msgspec.json.encode({"layers": layers, "records": records})


class _About(msgspec.Struct):
    media_type: str = msgspec.field(name="mediaType", default="")
    diff_id: str = msgspec.field(name="diffID", default="")
    size: int = 0


class _Layer(msgspec.Struct):
    blob: str = ""
    parent: int = 0
    annotations: _About | None = None


class _Own(msgspec.Struct):
    made: str = ""
    description: str = ""


class _Result(msgspec.Struct):
    layer: int = 0
    created: str = msgspec.field(name="createdAt", default="")


class _Record(msgspec.Struct):
    digest: str = ""
    layers: list[_Result] | None = None
    composer: _Own | None = None


class _Document(msgspec.Struct):
    layers: list[_Layer] | None = None
    records: list[_Record] | None = None


def decode(data: bytes) -> Mapping[str, CachedResult]:
    """By key, what is ours in a document. Raises InvalidArgument for one that cannot be read."""
    if len(data) > LIMIT:
        raise InvalidArgument(f"the cache's description is larger than {LIMIT} bytes")
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"the cache's description is not valid: {error}") from None
    layers = document.layers or []
    found: dict[str, CachedResult] = {}
    for record in document.records or []:
        if record.composer is None or not record.layers or not record.digest.startswith("sha256:"):
            continue
        last = record.layers[-1]
        key = record.digest.removeprefix("sha256:")
        made = tuple(one == "1" for one in record.composer.made)
        created = 0
        with contextlib.suppress(ValueError):
            created = int(datetime.fromisoformat(last.created.replace("Z", "+00:00")).timestamp())
        chain = _chain(layers, last.layer)
        if chain and made:
            found[key] = CachedResult((key,), chain, made, max(created, 0), record.composer.description)
    return found


def _chain(layers: Sequence[_Layer], place: int) -> tuple[CachedLayer, ...]:
    """Lowest first; none when a parent is not before its child."""
    found: list[CachedLayer] = []
    while place >= 0:
        if place >= len(layers) or layers[place].annotations is None:
            return ()
        layer = layers[place]
        about = layer.annotations
        assert about is not None
        found.append(CachedLayer(layer.blob, about.size, about.media_type, about.diff_id))
        if layer.parent >= place:
            return ()
        place = layer.parent
    return tuple(reversed(found))
