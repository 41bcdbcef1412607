"""``--cache-from`` and ``--cache-to``, ``cache_from`` and ``cache_to`` in a Compose file: what they say. Pure."""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from runtime.errors import InvalidArgument
from runtime.nearest import nearest

_NOT_OURS = {
    "gha": "GitHub's cache service",
    "s3": "S3",
    "azblob": "Azure Blob Storage",
}
_FROM = {"registry": ("ref",), "local": ("src", "tag", "digest")}
_TO: Mapping[str, tuple[str, ...]] = {
    "inline": (),
    "registry": ("ref", "mode", "image-manifest", "oci-mediatypes", "compression", "ignore-error"),
    "local": ("dest", "tag", "mode", "image-manifest", "oci-mediatypes", "compression", "ignore-error"),
}
_FIXED = {"image-manifest": "true", "oci-mediatypes": "true", "compression": "gzip"}


@dataclass(frozen=True)
class CachePlace:
    """Where a cache is or goes."""

    type: str
    ref: str = ""
    directory: str = ""
    tag: str = "latest"
    digest: str = ""
    is_max: bool = False
    """All steps, also those that are not in the result."""
    ignores_errors: bool = False

    def __str__(self) -> str:
        return self.ref or self.directory or self.type


def parse_cache_from(text: str) -> CachePlace:
    """An image's name, or ``type=registry|local,...``. Raises InvalidArgument."""
    options = _options(text, "registry")
    kind = _kind(options, _FROM, text)
    if kind == "local":
        directory = _needed(options, "src", text)
        return CachePlace(kind, "", directory, options.get("tag", "latest"), options.get("digest", ""))
    return CachePlace(kind, _needed(options, "ref", text))


def parse_cache_to(text: str) -> CachePlace:
    """``type=inline|registry|local,...`` or the name of an image. Raises InvalidArgument."""
    options = _options(text, "registry")
    kind = _kind(options, _TO, text)
    for key, value in _FIXED.items():
        if options.get(key, value) != value:
            raise InvalidArgument(f"{text}: composer's caches have {key}={value}")
    mode = options.get("mode", "min")
    if mode not in ("min", "max"):
        raise InvalidArgument(f"{text}: mode {mode!r} is neither min nor max")
    ignores = options.get("ignore-error", "false") == "true"
    if kind == "inline":
        return CachePlace(kind)
    if kind == "local":
        directory, tag = _needed(options, "dest", text), options.get("tag", "latest")
        return CachePlace(kind, "", directory, tag, "", mode == "max", ignores)
    return CachePlace(kind, _needed(options, "ref", text), is_max=mode == "max", ignores_errors=ignores)


def absolute_cache(text: str, directory: str) -> str:
    """With a path that begins at ``directory``."""
    parts = [part.partition("=") for part in text.split(",")]
    return ",".join(
        f"{key}={posixpath.join(directory, value)}"
        if key in ("src", "dest") and value
        else f"{key}{equals}{value}"
        for key, equals, value in parts
    )


def _options(text: str, default: str) -> dict[str, str]:
    try:
        (parts,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise InvalidArgument(f"invalid cache {text!r}: {error}") from None
    if len(parts) == 1 and "=" not in parts[0]:
        return {"type": default, "ref": parts[0]}
    found: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.strip().partition("=")
        if not equals:
            raise InvalidArgument(f"invalid cache {text!r}: {part!r} is no key=value")
        found[key.lower()] = value
    return found


def _kind(options: Mapping[str, str], known: Mapping[str, tuple[str, ...]], text: str) -> str:
    kind = options.get("type", "")
    if kind in _NOT_OURS:
        raise InvalidArgument(
            f"a cache of type={kind} is not supported: composer does not speak to {_NOT_OURS[kind]}",
            hint=f"use {' or '.join(known)}",
        )
    if kind not in known:
        raise InvalidArgument(f"invalid cache {text!r}: type is one of {', '.join(known)}")
    for key in options:
        if key != "type" and key not in known[kind]:
            near = nearest(key, known[kind])
            advice = f" (did you mean {near}?)" if near else ""
            raise InvalidArgument(f"invalid cache {text!r}: unknown option {key}{advice}")
    return kind


def _needed(options: Mapping[str, str], key: str, text: str) -> str:
    if not options.get(key):
        raise InvalidArgument(f"invalid cache {text!r}: {key} is missing")
    return options[key]
