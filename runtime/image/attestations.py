"""What is said of an image beside it: in-toto statements in a manifest of their own, which an index holds next to the
image's (BuildKit's "Image attestation storage", in-toto attestation framework v0.1). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from runtime.image.digest import Digest
from runtime.image.manifest import OCI_CONFIG, OCI_MANIFEST, Descriptor
from runtime.image.reference import Reference

IN_TOTO = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v0.1"
PROVENANCE_FILE = "provenance.json"
SPDX = "https://spdx.dev/Document"
_UNKNOWN = {"architecture": "unknown", "os": "unknown"}


@dataclass(frozen=True, slots=True)
class Attestation:
    """One statement but for what it is about. ``file`` is what it is called beside files."""

    predicate_type: str
    predicate: Mapping[str, object]
    file: str
    is_inline_only: bool = False
    """It is not wanted beside files."""


@dataclass(frozen=True, slots=True)
class Attached:
    """The manifest of statements about one image, and all blobs that it needs."""

    manifest: Descriptor
    data: bytes
    blobs: tuple[tuple[Descriptor, bytes], ...]
    about: Digest
    """The digest of the image's manifest."""

    @property
    def entry(self) -> dict[str, object]:
        """Its element in an index."""
        return {
            "mediaType": self.manifest.media_type,
            "digest": self.manifest.digest,
            "size": self.manifest.size,
            "annotations": {
                "vnd.docker.reference.digest": self.about,
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": _UNKNOWN,
        }


def statement(attestation: Attestation, subjects: Sequence[tuple[str, str]]) -> bytes:
    """An in-toto statement about ``subjects``: names with SHA-256 digests in hex."""
    document = {
        "_type": STATEMENT,
        "predicateType": attestation.predicate_type,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects],
        "predicate": attestation.predicate,
    }
    return json.dumps(document).encode()


def attach(
    image: Descriptor, platform: str, names: Sequence[Reference], attestations: Sequence[Attestation]
) -> Attached:
    """The manifest of ``attestations`` about the manifest ``image``, which leaves as ``names``."""
    subjects = [(package_url(name, platform), image.digest.hex) for name in names]
    blobs: list[tuple[Descriptor, bytes]] = []
    layers: list[dict[str, object]] = []
    for attestation in attestations:
        data = statement(attestation, subjects or [("_", image.digest.hex)])
        blob = Descriptor(IN_TOTO, Digest.of(data), len(data))
        blobs.append((blob, data))
        layers.append(
            {
                "mediaType": blob.media_type,
                "digest": blob.digest,
                "size": blob.size,
                "annotations": {"in-toto.io/predicate-type": attestation.predicate_type},
            }
        )
    diff_ids = [str(blob.digest) for blob, _ in blobs]
    config = json.dumps(
        {**_UNKNOWN, "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()
    described = Descriptor(OCI_CONFIG, Digest.of(config), len(config))
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": described.media_type,
            "digest": described.digest,
            "size": described.size,
        },
        "layers": layers,
    }
    data = json.dumps(document).encode()
    manifest = Descriptor(OCI_MANIFEST, Digest.of(data), len(data))
    return Attached(manifest, data, ((described, config), *blobs), image.digest)


def package_url(name: Reference, platform: str) -> str:
    """``pkg:docker/NAME@TAG?platform=...`` (package-url specification, type docker)."""
    parts = [quote(part, safe="") for part in name.familiar_name.split("/")]
    version = f"@{quote(name.tag or 'latest', safe='')}"
    qualifiers = [f"digest={name.digest}"] if name.digest is not None else []
    qualifiers += [f"platform={quote(platform, safe='')}"] if platform else []
    return f"pkg:docker/{'/'.join(parts)}{version}" + (f"?{'&'.join(qualifiers)}" if qualifiers else "")
