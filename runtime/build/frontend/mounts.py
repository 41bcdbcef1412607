"""``RUN --mount``: ``key=value,...`` to what it means (Dockerfile reference, "RUN --mount"). Pure."""

from __future__ import annotations

import csv
import posixpath
import re
from dataclasses import dataclass

from runtime.nearest import nearest

_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_ALIASES = {
    "dst": "target",
    "destination": "target",
    "src": "source",
    "ro": "readonly",
    "rw": "readwrite",
}
_KEYS = {
    "bind": ("target", "source", "from", "readonly", "readwrite"),
    "cache": (
        *("target", "source", "from", "readonly", "readwrite"),
        *("id", "sharing", "mode", "uid", "gid"),
    ),
    "tmpfs": ("target", "size", "readonly", "readwrite"),
    "secret": ("target", "source", "id", "env", "required", "mode", "uid", "gid", "readonly"),
    "ssh": ("target", "id", "required", "mode", "uid", "gid", "readonly"),
}
_SWITCHES = ("readonly", "readwrite", "required")
_SHARING = ("shared", "private", "locked")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    """One mount of a RUN."""

    type: str
    target: str = ""
    """As written; "": the default of its type."""
    source: str = ""
    origin: str = ""
    """``from``: a stage, an image or a named context."""
    is_read_only: bool = True
    id: str = ""
    sharing: str = "shared"
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    size: int = 0
    """Bytes; 0: the kernel's default."""
    env: str = ""
    is_required: bool = False


def parse_mount(text: str) -> RunMount:
    """What ``text`` says. Raises ValueError with a sentence."""
    try:
        (parts,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise ValueError(f"failed to parse mount {text!r}: {error}") from None
    options: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.strip().partition("=")
        key = _ALIASES.get(key.lower(), key.lower())
        if not equals and key not in _SWITCHES:
            raise ValueError(f"invalid field '{part}' must be a key=value pair")
        options[key] = value if equals else "true"
    kind = options.pop("type", "bind").lower()
    if kind not in _TYPES:
        near = nearest(kind, _TYPES)
        raise ValueError(
            f"unsupported mount type {kind!r}"
            + (f" (did you mean {near}?)" if near else f": there are {', '.join(_TYPES)}")
        )
    _check_keys(kind, options)
    switches = {key: _switch(key, options[key]) for key in _SWITCHES if key in options}
    sharing = options.get("sharing", "shared").lower()
    if sharing not in _SHARING:
        raise ValueError(f"unsupported sharing value {sharing!r}: there are {', '.join(_SHARING)}")
    if "readonly" in switches and "readwrite" in switches:
        raise ValueError("a mount is either readonly or readwrite")
    is_read_only = switches.get("readonly", kind not in ("cache", "tmpfs"))
    if "readwrite" in switches:
        is_read_only = not switches["readwrite"]
    mount = RunMount(
        type=kind,
        target=options.get("target", ""),
        source=options.get("source", ""),
        origin=options.get("from", ""),
        is_read_only=is_read_only,
        id=options.get("id", ""),
        sharing=sharing,
        mode=_number("mode", options["mode"], 8) if "mode" in options else None,
        uid=_number("uid", options.get("uid", "0")),
        gid=_number("gid", options.get("gid", "0")),
        size=_size(options["size"]) if "size" in options else 0,
        env=options.get("env", ""),
        is_required=switches.get("required", False),
    )
    if kind in ("bind", "cache", "tmpfs") and mount.target.strip("/") in ("", "."):
        raise ValueError(f"a mount of type {kind} needs a target, which is not /")
    if kind == "secret" and not (mount.id or mount.source or mount.target):
        raise ValueError("invalid secret mount. one of source, target required")
    return mount


def secret_id(mount: RunMount) -> str:
    """Which secret a mount is."""
    return mount.id or mount.source or posixpath.basename(mount.target)


def _check_keys(kind: str, options: dict[str, str]) -> None:
    for key in options:
        if key in _KEYS[kind]:
            continue
        everything = sorted({name for names in _KEYS.values() for name in names})
        if key in everything:
            raise ValueError(f"unexpected key '{key}' for mount type '{kind}'")
        near = nearest(key, everything)
        raise ValueError(f"unexpected key '{key}'" + (f" (did you mean {near}?)" if near else ""))


def _switch(key: str, text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"invalid value for {key}: {text}")
    return text.lower() in ("true", "1")


def _number(key: str, text: str, base: int = 10) -> int:
    try:
        number = int(text, base)
    except ValueError:
        number = -1
    if not 0 <= number < 2**32:
        raise ValueError(f"invalid value {text!r} for {key}")
    return number


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"invalid size: {text!r}")
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " "))
