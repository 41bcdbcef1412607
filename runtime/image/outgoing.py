"""How an image is described when it leaves, to an archive or a registry. Pure."""

from __future__ import annotations

import json

from runtime.errors import ComposerError
from runtime.image.digest import Digest
from runtime.image.manifest import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    parse_manifest,
)
from runtime.image.model import ImageRecord


def _kept_manifest(record: ImageRecord) -> Descriptor | None:
    """The descriptor of the manifest that an image came with, when it is still true of what is stored: the
    image can then leave byte for byte as it came."""
    data = record.manifest.encode()
    if not data:
        return None
    try:
        manifest = parse_manifest(data, "")
    except ComposerError:
        return None
    if not isinstance(manifest, Manifest) or manifest.config.digest != record.id:
        return None
    if [layer.digest for layer in manifest.layers] != [layer.blob for layer in record.layers]:
        return None
    return Descriptor(manifest.media_type, Digest.of(data), len(data))


def is_described(record: ImageRecord) -> bool:
    """Whether the manifest that an image came with still holds."""
    return _kept_manifest(record) is not None


def describe(record: ImageRecord, *, is_layout: bool = False) -> tuple[Descriptor, bytes]:
    """The manifest for an image and its descriptor: the one it came with, else an OCI manifest of what is
    stored. ``is_layout``: for an OCI layout, whose readers want nothing but OCI's types."""
    kept = _kept_manifest(record)
    if kept is not None and (kept.media_type == OCI_MANIFEST or not is_layout):
        return kept, record.manifest.encode()
    config = record.config.encode()
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": Digest.of(config), "size": len(config)},
        "layers": [
            {"mediaType": oci_layer_type(layer.media_type), "digest": layer.blob, "size": layer.blob_size}
            for layer in record.layers
        ],
    }
    data = json.dumps(document).encode()
    return Descriptor(OCI_MANIFEST, Digest.of(data), len(data)), data


def oci_layer_type(media_type: str) -> str:
    """The OCI media type of a layer that came as ``media_type``."""
    suffix = "+gzip" if "gzip" in media_type else "+zstd" if "zstd" in media_type else ""
    return OCI_LAYER + suffix
