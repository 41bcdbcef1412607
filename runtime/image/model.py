"""What an image is to the rest of the program, and how it is remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from runtime.container.config import ImageConfig
from runtime.errors import ComposerError
from runtime.image.digest import Digest
from runtime.image.platform import Platform

Status = Literal[
    "Pulling from",
    "Pulling fs layer",
    "Waiting",
    "Downloading",
    "Downloading from",
    "Download complete",
    "Extracting",
    "Pull complete",
    "Already exists",
    "Importing",
    "Loading layer",
    "Preparing",
    "Pushing",
    "Pushed",
    "Layer already exists",
    "Mounted from",
    "Retrying",
]


@dataclass(frozen=True, slots=True)
class PullProgress:
    """One step of a pull, import or load. ``layer`` is the short digest of the layer, or "" for the whole
    image."""

    layer: str
    status: Status
    current: int = 0
    total: int = 0
    """Bytes; 0 while unknown."""
    text: str = ""


Progress = Callable[[PullProgress], None]


def tell_pause(progress: Progress, layer: str, error: ComposerError, seconds: float) -> None:
    """Why nothing happens for a while: after ``error`` it is tried again."""
    progress(PullProgress(layer, "Retrying", text=f"in {max(seconds, 1):.0f} s: {error.message}"))


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One step of an image's making, as ``history`` shows it."""

    created: int
    """Nanoseconds since the epoch, 0 when unknown."""
    created_by: str
    comment: str
    size: int
    empty_layer: bool
    author: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """A complete image: all of its layers are unpacked."""

    id: str
    """Digest of the configuration: ``sha256:...``."""
    config: ImageConfig
    layers: tuple[Path, ...]
    """Directories for overlayfs, topmost first."""
    tags: tuple[str, ...] = ()
    """Familiar references (``busybox:latest``), sorted."""
    digests: tuple[str, ...] = ()
    """``busybox@sha256:...``: what registries call it."""
    created: int = 0
    """Nanoseconds since the epoch, 0 when unknown."""
    size: int = 0
    """Bytes of the files in the layers."""
    content_size: int = 0
    """Bytes of the layers as they were brought in."""
    os: str = "linux"
    architecture: str = ""
    variant: str = ""
    author: str = ""
    comment: str = ""
    docker_version: str = ""
    diff_ids: tuple[str, ...] = ()
    """Lowest first."""
    chain_ids: tuple[str, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    """Oldest first."""
    on_build: tuple[str, ...] = ()
    binds: tuple[tuple[str, str], ...] = ()
    """Read-only mounts that belong to the image: (host path, path in the container). Only the host image has
    any."""
    is_embedded: bool = False
    """It comes with the program: cannot be removed or saved."""

    @property
    def short_id(self) -> str:
        return self.id.partition(":")[2][:12]

    @property
    def platform(self) -> Platform:
        return Platform.of(self.os, self.architecture, self.variant)


class LayerRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One layer of a stored image: its unpacked form and the blob that it came from."""

    diff_id: str
    chain_id: str
    size: int
    """Bytes of its files."""
    blob: str
    blob_size: int
    media_type: str


class ImageRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image as a document of the state database (kind ``image``, key: its id)."""

    id: str
    config: str
    """The configuration, JSON, byte for byte what ``id`` is the digest of."""
    layers: tuple[LayerRecord, ...] = ()
    """Lowest first."""
    manifest: str = ""
    """The manifest it was described by, byte for byte, or "" ."""
    tags: tuple[str, ...] = ()
    """Canonical references with a tag."""
    digests: tuple[str, ...] = ()
    """Canonical references with a digest."""
    indexes: tuple[str, ...] = ()
    """Digests of the indexes that list it for its platform."""
    is_removed: bool = False
    """Kept only until the containers that were made from it are gone."""
    added: int = 0

    @property
    def chain_ids(self) -> tuple[Digest, ...]:
        return tuple(Digest(layer.chain_id) for layer in self.layers)

    @property
    def origins(self) -> frozenset[str]:
        """Digests of what it came as or was a part of: of several platforms' images the same."""
        return frozenset(self.indexes) | {name.rpartition("@")[2] for name in self.digests}


@dataclass(frozen=True, slots=True)
class Removal:
    """What removing did, in order: Docker's list of ``Untagged`` and ``Deleted``, and the bytes given
    back."""

    changes: tuple[dict[str, str], ...] = ()
    reclaimed: int = 0


@dataclass(frozen=True, slots=True)
class ImageUse:
    """A container that was made from an image."""

    container: str
    """Its id or name, as a person should see it."""
    running: bool


@dataclass(slots=True)
class NewImage:
    """What a pull, load, import or build hands over to be registered."""

    config: bytes
    layers: list[LayerRecord] = field(default_factory=list)
    manifest: bytes = b""
    tags: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time with any number of decimals; 0 when there is none."""
    if not text:
        return 0
    head, dot, rest = text.replace("Z", "+00:00").replace("z", "+00:00").partition(".")
    digits = ""
    if dot:
        end = next((i for i, c in enumerate(rest) if not c.isdigit()), len(rest))
        digits, head = rest[:end], head + rest[end:]
    try:
        moment = datetime.fromisoformat(head)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        return 0
    return seconds * 1_000_000_000 + int((digits[:9] or "0").ljust(9, "0")) if seconds > 0 else 0
