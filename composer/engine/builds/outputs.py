"""``--output``: what becomes of a build's result (Docker's reference, "docker buildx build", --output). Pure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field

from runtime.errors import InvalidArgument
from runtime.image.packing import Packing
from runtime.nearest import nearest

_TYPES = ("local", "tar", "oci", "docker", "image", "registry", "cacheonly")
_PACKED = ("compression", "compression-level", "force-compression", "oci-mediatypes", "rewrite-timestamp")
_KEYS = {
    "local": ("dest", "platform-split"),
    "tar": ("dest", "platform-split"),
    "oci": ("dest", "name", "tar", *_PACKED),
    "docker": ("dest", "name", "tar", *_PACKED),
    "image": ("name", "push", "unpack", "store", *_PACKED),
    "registry": ("name", "unpack", "store", *_PACKED),
    "cacheonly": (),
}
_COMPRESSIONS = ("gzip", "zstd", "uncompressed")


@dataclass(frozen=True, slots=True)
class Output:
    """One thing to be made of a result."""

    type: str
    dest: str = ""
    """A path; "-" for the standard output of who asked."""
    names: tuple[str, ...] = ()
    pushes: bool = False
    is_tar: bool = True
    """Of an OCI layout: one file, not a directory."""
    splits_platforms: bool | None = None
    """None: when there are several."""
    packing: Packing = field(default_factory=Packing)

    @property
    def is_stored(self) -> bool:
        """Whether an image of it is kept here."""
        return self.type in ("image", "registry") or (self.type == "docker" and not self.dest)


def parse_output(text: str, annotations: Sequence[str] = ()) -> Output:
    """What ``text`` asks for. Raises InvalidArgument."""
    if "=" not in text:
        text = "type=tar,dest=-" if text == "-" else f"type=local,dest={text}"
    try:
        (parts,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        raise InvalidArgument(f"invalid output {text!r}: it is not key=value,...") from None
    options: dict[str, str] = {}
    manifest: list[str] = list(annotations)
    for part in parts:
        key, equals, value = part.strip().partition("=")
        if not equals:
            raise InvalidArgument(f"invalid output {text!r}: {part!r} is not key=value")
        if key.startswith("annotation"):
            manifest.append(_annotation_key(key) + f"={value}")
            continue
        options[key.lower()] = value
    kind = options.pop("type", "")
    if kind not in _TYPES:
        near = nearest(kind, _TYPES)
        advice = f"did you mean {near}?" if near else f"there are {', '.join(_TYPES)}"
        raise InvalidArgument(f"invalid output {text!r}: type {kind!r}: {advice}")
    for key in options:
        if key not in _KEYS[kind]:
            near = nearest(key, _KEYS[kind])
            advice = f"did you mean {near}?" if near else f"it has {', '.join(_KEYS[kind]) or 'no options'}"
            raise InvalidArgument(f"output of type {kind} has no option {key!r}: {advice}")
    if kind in ("local", "tar", "oci") and not options.get("dest"):
        raise InvalidArgument(f"an output of type {kind} needs a dest")
    # With SOURCE_DATE_EPOCH times of files are never later than that; without it there is nothing to rewrite them to.
    _switch(options, "rewrite-timestamp", False)
    for key in ("unpack", "store"):
        if not _switch(options, key, True):
            raise InvalidArgument(f"{key}=false is not supported: images are kept, and kept unpacked")
    if kind == "local" and options["dest"] == "-":
        raise InvalidArgument("dest cannot be stdout for the local exporter")
    return Output(
        kind,
        options.get("dest", ""),
        tuple(name.strip() for name in options.get("name", "").split(",") if name.strip()),
        kind == "registry" or _switch(options, "push", False),
        _switch(options, "tar", True),
        _switch(options, "platform-split", True) if "platform-split" in options else None,
        _packing(options, manifest),
    )


def _annotation_key(key: str) -> str:
    """``annotation-manifest[platform].NAME`` as ``--annotation`` writes it."""
    head, _, name = key.partition(".")
    level = head.removeprefix("annotation").lstrip("-")
    return f"{level}:{name}" if level else name


def _packing(options: dict[str, str], annotations: Sequence[str]) -> Packing:
    compression = options.get("compression", "")
    if compression and compression not in _COMPRESSIONS:
        raise InvalidArgument(
            f"compression {compression!r} is not supported: there are {', '.join(_COMPRESSIONS)}"
        )
    level = options.get("compression-level", "")
    if level and (not level.isdecimal() or int(level) > 22):
        raise InvalidArgument(f"compression-level {level!r} is no number from 0 to 22")
    manifest, index, descriptor = parse_annotations(annotations)
    return Packing(
        compression,
        int(level) if level else None,
        _switch(options, "force-compression", False),
        _switch(options, "oci-mediatypes", True),
        tuple(manifest.items()),
        tuple(index.items()),
        tuple(descriptor.items()),
    )


def parse_annotations(texts: Sequence[str]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """``[manifest,index,index-descriptor,manifest-descriptor:]KEY=VALUE``: those of the manifest, of the index, and
    of the index's descriptors of manifests. Raises InvalidArgument."""
    manifest: dict[str, str] = {}
    index: dict[str, str] = {}
    descriptor: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        levels, colon, name = key.partition(":")
        known = {
            "manifest": manifest,
            "index": index,
            "manifest-descriptor": descriptor,
            "index-descriptor": None,
        }
        if not colon or not all(level.partition("[")[0] in known for level in levels.split(",")):
            levels, name = "manifest", key
        if not equals or not name:
            raise InvalidArgument(f"invalid annotation {text!r}, expected key=value")
        for level in levels.split(","):
            target = known[level.partition("[")[0]]
            if target is None or "[" in level:
                raise InvalidArgument(f"annotations at {level} are not supported by composer: {text!r}")
            target[name] = value
    return manifest, index, descriptor


def _switch(options: dict[str, str], key: str, default: bool) -> bool:
    text = options.get(key, "").lower()
    if not text:
        return default
    if text not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"{key} of an output is true or false, not {text!r}")
    return text in ("true", "1")
