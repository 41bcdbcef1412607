"""Manifests, indexes and image configurations: bytes from a stranger to checked values.

OCI image-spec v1.1 and Docker's schema 2 (the same but for media types). Pure. Everything is bounded, and
every digest and size is checked for its grammar; whether content matches it is checked by whoever reads that
content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from runtime.container.config import Healthcheck, ImageConfig
from runtime.errors import ComposerError
from runtime.image.digest import Digest
from runtime.image.platform import Platform, preferred

MANIFEST_LIMIT = 4 << 20
CONFIG_LIMIT = 8 << 20
LAYERS_LIMIT = 500
"""overlayfs takes 500 lower layers (fs/overlayfs/params.h, OVL_MAX_STACK)."""
INDEX_DEPTH = 4

LIMITS_HINT = (
    "If you trust the image, raise max-layer-size, max-layer-entries or max-layer-ratio in engine.json."
)

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
ACCEPTED = (DOCKER_MANIFEST, DOCKER_INDEX, OCI_MANIFEST, OCI_INDEX)
ATTESTATION = "vnd.docker.reference.type"

T = TypeVar("T")


class InvalidImage(ComposerError):
    """What a registry or an archive gave is not an image that can be used."""

    status = 500


class OverLimit(InvalidImage):
    """It has more than the configuration allows: so it has wherever else it is."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint=LIMITS_HINT)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to content: its type, digest and exact size in bytes."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()

    def annotation(self, name: str) -> str:
        return dict(self.annotations).get(name, "")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image: its configuration and its layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """Several images, usually of one name for several platforms."""

    media_type: str
    manifests: tuple[Descriptor, ...]


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str | None = None


class _Descriptor(msgspec.Struct):
    digest: str
    size: int
    media_type: str = msgspec.field(name="mediaType", default="")
    platform: _Platform | None = None
    annotations: dict[str, str] | None = None


class _Document(msgspec.Struct):
    schema_version: int = msgspec.field(name="schemaVersion", default=0)
    media_type: str = msgspec.field(name="mediaType", default="")
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    fs_layers: msgspec.Raw | None = msgspec.field(name="fsLayers", default=None)


def decode_json(data: bytes, into: type[T], limit: int, what: str) -> T:
    """Decode bounded, untrusted JSON. Raises InvalidImage that says what was being read."""
    if len(data) > limit:
        raise InvalidImage(f"{what} is larger than {limit} bytes")
    try:
        return msgspec.json.decode(data, type=into)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidImage(f"{what} is not valid: {error}") from None


def parse_manifest(data: bytes, media_type: str = "") -> Manifest | Index:
    """Parse what a registry or layout has under a name. ``media_type`` is what was said about it, if
    anything.

    Raises InvalidImage. A document that could be read both ways is refused (CVE-2021-41190).
    """
    document = decode_json(data, _Document, MANIFEST_LIMIT, "the manifest")
    said = media_type.partition(";")[0].strip()
    kind = document.media_type or (said if said in ACCEPTED else "")
    if document.schema_version == 1 or kind.startswith(_SCHEMA_1) or document.fs_layers is not None:
        raise InvalidImage(
            "the image has a manifest of Docker's schema 1, which is no longer supported",
            hint="Push it again with a current tool.",
        )
    if document.media_type and said in ACCEPTED and said != document.media_type:
        raise InvalidImage(f"the manifest says it is {document.media_type} but was served as {said}")
    if document.manifests is not None and (document.layers is not None or document.config is not None):
        raise InvalidImage("the manifest is ambiguous: it has both manifests and layers")
    if document.manifests is not None:
        if kind and kind not in (OCI_INDEX, DOCKER_INDEX):
            raise InvalidImage(f"the manifest has manifests but says it is {kind}")
        return Index(kind or OCI_INDEX, tuple(_descriptor(item) for item in document.manifests))
    if document.config is None:
        raise InvalidImage("the manifest has no configuration: this is not an image")
    if kind and kind not in (OCI_MANIFEST, DOCKER_MANIFEST):
        raise InvalidImage(f"the manifest is of the unsupported type {kind}")
    layers = tuple(_descriptor(item) for item in document.layers or ())
    if len(layers) > LAYERS_LIMIT:
        raise InvalidImage(f"the image has {len(layers)} layers; at most {LAYERS_LIMIT} can be stacked")
    config = _descriptor(document.config)
    if config.size > CONFIG_LIMIT:
        raise InvalidImage(f"the image's configuration is larger than {CONFIG_LIMIT} bytes")
    return Manifest(kind or OCI_MANIFEST, config, layers)


def _descriptor(raw: _Descriptor) -> Descriptor:
    if not 0 <= raw.size < 1 << 63:
        raise InvalidImage(f"the size of {raw.digest[:80]} is impossible: {raw.size}")
    platform = None
    if raw.platform is not None and raw.platform.os:
        platform = Platform.of(raw.platform.os, raw.platform.architecture, raw.platform.variant or "")
    try:
        digest = Digest.parse(raw.digest)
    except ComposerError as error:
        raise InvalidImage(f"the manifest is not valid: {error.message}") from None
    return Descriptor(
        raw.media_type, digest, raw.size, platform, tuple(sorted((raw.annotations or {}).items()))
    )


def choose(index: Index, wanted: Platform, *, exact: bool = False) -> Descriptor:
    """The entry for a platform: the first of the best match; attestations are passed over.

    ``exact`` (the user named a platform) does not fall back to a 32-bit architecture. Raises InvalidImage.
    """
    candidates = [item for item in index.manifests if not item.annotation(ATTESTATION)]
    for platform in preferred(wanted):
        if exact and platform.architecture != wanted.architecture:
            break
        for item in candidates:
            if item.platform == platform:
                return item
    if len(candidates) == 1 and candidates[0].platform is None:
        return candidates[0]
    available = sorted(
        {
            str(item.platform)
            for item in candidates
            if item.platform is not None and item.platform.os != "unknown"
        }
    )
    raise InvalidImage(
        f"no matching manifest for {wanted} in the manifest list entries",
        hint=f"It has: {', '.join(available)}." if available else "",
        status=404,
    )


# The image's configuration


class _Healthcheck(msgspec.Struct):
    Test: list[str] | None = None
    Interval: int | None = 0
    Timeout: int | None = 0
    StartPeriod: int | None = 0
    StartInterval: int | None = 0
    Retries: int | None = 0


class _Config(msgspec.Struct):
    User: str | None = ""
    Env: list[str] | None = None
    Entrypoint: list[str] | str | None = None
    Cmd: list[str] | str | None = None
    WorkingDir: str | None = ""
    ExposedPorts: dict[str, Any] | None = None
    Volumes: dict[str, Any] | None = None
    Labels: dict[str, str] | None = None
    StopSignal: str | None = ""
    Healthcheck: _Healthcheck | None = None
    Shell: list[str] | None = None
    OnBuild: list[str] | None = None


class _RootFS(msgspec.Struct):
    type: str = "layers"
    diff_ids: list[str] | None = None


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one layer came to be (OCI config.md, "history")."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class _ImageDocument(msgspec.Struct):
    architecture: str = ""
    os: str = ""
    variant: str | None = ""
    created: str | None = ""
    author: str | None = ""
    comment: str | None = ""
    docker_version: str | None = ""
    config: _Config | None = None
    rootfs: _RootFS | None = None
    history: list[History] | None = None


@dataclass(frozen=True, slots=True)
class ImageDocument:
    """A parsed image configuration: what containers inherit, and what describes the image itself."""

    config: ImageConfig
    on_build: tuple[str, ...]
    diff_ids: tuple[Digest, ...]
    history: tuple[History, ...]
    platform: Platform
    architecture: str
    os: str
    variant: str
    created: str
    """RFC 3339, or ""."""
    author: str
    comment: str
    docker_version: str


def parse_config(data: bytes) -> ImageDocument:
    """Parse an image configuration. Raises InvalidImage."""
    document = decode_json(data, _ImageDocument, CONFIG_LIMIT, "the image's configuration")
    rootfs = document.rootfs
    if rootfs is None or rootfs.type != "layers":
        raise InvalidImage("the image's configuration names no layers: this is not an image")
    try:
        diff_ids = tuple(Digest.parse(item) for item in rootfs.diff_ids or ())
    except ComposerError as error:
        raise InvalidImage(f"the image's configuration is not valid: {error.message}") from None
    raw = document.config or _Config()
    return ImageDocument(
        config=_image_config(raw),
        on_build=tuple(raw.OnBuild or ()),
        diff_ids=diff_ids,
        history=tuple(document.history or ()),
        platform=Platform.of(document.os or "linux", document.architecture, document.variant or ""),
        architecture=document.architecture,
        os=document.os or "linux",
        variant=document.variant or "",
        created=document.created or "",
        author=document.author or "",
        comment=document.comment or "",
        docker_version=document.docker_version or "",
    )


def _image_config(raw: _Config) -> ImageConfig:
    health = None
    if raw.Healthcheck is not None:
        health = Healthcheck(
            test=tuple(raw.Healthcheck.Test or ()),
            interval=raw.Healthcheck.Interval or 0,
            timeout=raw.Healthcheck.Timeout or 0,
            start_period=raw.Healthcheck.StartPeriod or 0,
            start_interval=raw.Healthcheck.StartInterval or 0,
            retries=raw.Healthcheck.Retries or 0,
        )
    return ImageConfig(
        env=tuple(raw.Env or ()),
        entrypoint=_words(raw.Entrypoint),
        cmd=_words(raw.Cmd),
        working_dir=raw.WorkingDir or "",
        user=raw.User or "",
        exposed_ports=tuple(sorted(raw.ExposedPorts or ())),
        volumes=tuple(sorted(raw.Volumes or ())),
        labels=dict(raw.Labels or {}),
        stop_signal=raw.StopSignal or "",
        healthcheck=health,
        shell=tuple(raw.Shell or ()),
    )


def _words(value: list[str] | str | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def encode_config(config: ImageConfig) -> dict[str, Any]:
    """The ``config`` member of an image configuration, in Docker's spelling; what is empty is left out."""
    out: dict[str, Any] = {
        "User": config.user,
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Env": list(config.env),
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "Volumes": {path: {} for path in config.volumes},
        "WorkingDir": config.working_dir,
        "Labels": dict(config.labels),
        "StopSignal": config.stop_signal,
        "Shell": list(config.shell),
    }
    if (health := config.healthcheck) is not None:
        out["Healthcheck"] = {
            key: value
            for key, value in {
                "Test": list(health.test),
                "Interval": health.interval,
                "Timeout": health.timeout,
                "StartPeriod": health.start_period,
                "StartInterval": health.start_interval,
                "Retries": health.retries,
            }.items()
            if value
        }
    return {key: value for key, value in out.items() if value}
