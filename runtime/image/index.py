"""Indexes put together from what registries have (OCI image-index, Docker's manifest list). Pure.

Descriptors stay JSON objects here: whatever somebody has put into one (annotations, ``artifactType``, ``os.version``)
goes on into the new index.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import ComposerError
from runtime.image.digest import Digest
from runtime.image.manifest import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    MANIFEST_LIMIT,
    OCI_INDEX,
    Descriptor,
    InvalidImage,
    decode_json,
)
from runtime.image.platform import Platform

Entry = dict[str, Any]
"""A descriptor: ``mediaType``, ``digest``, ``size``, and whatever else."""

PLATFORM_ORDER = ("architecture", "os", "os.version", "os.features", "variant")
INDEXES = (OCI_INDEX, DOCKER_INDEX)
_DOCKER_TYPES = (DOCKER_MANIFEST, DOCKER_INDEX)
_UNSENT = ("nondistributable", ".foreign.")
"""Layers that stay where their ``urls`` say."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A document for a registry."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.data))


@dataclass(frozen=True, slots=True)
class Parts:
    """What a manifest or index needs, so that a registry takes it."""

    blobs: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    subject: Digest | None
    """What it is attached to."""


def parts_of(data: bytes) -> Parts:
    """Of any manifest, artifacts' among them. Raises InvalidImage."""
    document = document_of(data)
    blobs = [document.get("config"), *_list(document, "layers"), *_list(document, "blobs")]
    subject = document.get("subject")
    return Parts(
        tuple(
            _descriptor(entry)
            for entry in blobs
            if isinstance(entry, dict)
            and not any(kind in str(entry.get("mediaType", "")) for kind in _UNSENT)
        ),
        tuple(map(_descriptor, _list(document, "manifests"))),
        _descriptor(subject).digest if isinstance(subject, dict) else None,
    )


def document_of(data: bytes) -> dict[str, Any]:
    """A manifest or index as it stands. Raises InvalidImage."""
    document: dict[str, Any] = decode_json(data, dict, MANIFEST_LIMIT, "the manifest")
    return document


def media_type_of(data: bytes, told: str = "") -> str:
    """What a document says that it is, else what was told about it."""
    said = document_of(data).get("mediaType")
    return said if isinstance(said, str) and said else told.partition(";")[0].strip()


def entries_of(data: bytes) -> list[Entry]:
    """The descriptors in an index. Raises InvalidImage."""
    entries = _list(document_of(data), "manifests")
    for entry in entries:
        _descriptor(entry)
    return entries


def _list(document: Mapping[str, Any], key: str) -> list[Entry]:
    found = document.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise InvalidImage(f"the manifest is not valid: {key} is not a list of descriptors")
    return found


def _descriptor(entry: Mapping[str, Any]) -> Descriptor:
    size = entry.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise InvalidImage("the manifest is not valid: a descriptor without a size")
    try:
        digest = Digest.parse(str(entry.get("digest", "")))
    except ComposerError as error:
        raise InvalidImage(f"the manifest is not valid: {error.message}") from None
    return Descriptor(str(entry.get("mediaType", "")), digest, size)


def platform_of(entry: Mapping[str, Any]) -> Platform | None:
    """The platform of an index's entry; None where it has none, or is for none (attestations)."""
    told = entry.get("platform")
    if not isinstance(told, dict) or told.get("os") in (None, "", "unknown"):
        return None
    return Platform.of(str(told["os"]), str(told.get("architecture") or ""), str(told.get("variant") or ""))


def combine(sources: Sequence[Sequence[Entry]]) -> list[Entry]:
    """The entries of several sources in order, each digest once: later ones add annotations and a platform."""
    found: dict[str, Entry] = {}
    for entry in (entry for entries in sources for entry in entries):
        known = found.get(entry["digest"])
        if known is None:
            found[entry["digest"]] = dict(entry)
            continue
        if "platform" not in known and "platform" in entry:
            known["platform"] = entry["platform"]
        if annotations := {**known.get("annotations", {}), **entry.get("annotations", {})}:
            known["annotations"] = annotations
    return list(found.values())


def encode_index(entries: Sequence[Entry], annotations: Mapping[str, str]) -> Encoded:
    """An index of ``entries``: Docker's kind where all of them are Docker's and nothing is annotated, else OCI's."""
    is_docker = not annotations and all(
        entry.get("mediaType") in _DOCKER_TYPES and not entry.get("annotations") for entry in entries
    )
    media_type = DOCKER_INDEX if is_docker and entries else OCI_INDEX
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(entries)}
    if annotations:
        document["annotations"] = dict(sorted(annotations.items()))
    return Encoded(json.dumps(document, indent=2, ensure_ascii=False).encode(), media_type)


def ordered(entry: Entry) -> Entry:
    """The same descriptor with its members in the usual order."""
    order = ("mediaType", "digest", "size", "annotations", "platform", "artifactType")
    made = {key: entry[key] for key in order if key in entry}
    if isinstance(platform := entry.get("platform"), dict):
        made["platform"] = {key: platform[key] for key in PLATFORM_ORDER if platform.get(key)}
    return made | {key: entry[key] for key in entry if key not in order}


def encode_docker_list(entries: Sequence[Entry]) -> Encoded:
    """The same bytes as ``docker manifest push`` sends for them: its kind is that of the first."""
    is_docker = not entries or entries[0].get("mediaType") in _DOCKER_TYPES
    media_type = DOCKER_INDEX if is_docker else OCI_INDEX
    listed = []
    for entry in entries:
        platform = entry.get("platform", {})
        described = {key: platform[key] for key in PLATFORM_ORDER if platform.get(key)}
        for key in ("architecture", "os"):
            described.setdefault(key, "")
        listed.append(
            {"mediaType": entry["mediaType"], "size": entry["size"], "digest": entry["digest"]}
            | {"platform": {key: described[key] for key in PLATFORM_ORDER if key in described}}
        )
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": listed}
    return Encoded(json.dumps(document, indent=3, ensure_ascii=False).encode(), media_type)
