"""The short form of a service's volumes: ``[source:]target[:options]``."""

from __future__ import annotations

from posixpath import normpath
from typing import Any

_PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})


def parse_volume(text: str) -> dict[str, Any]:
    """The long form. A source that looks like a path is a bind mount, another a volume. Raises ValueError.

    >>> parse_volume("data:/var/lib/data:ro")["type"]
    'volume'
    """
    if not text:
        raise ValueError("invalid empty volume spec")
    if len(text.encode()) <= 2:
        return {"type": "volume", "target": clean_path(text)}
    sections = _sections(text)
    if not all(sections):
        raise ValueError(f"invalid volume {text!r}: empty section between colons")
    if len(sections) > 3:
        raise ValueError(f"invalid volume {text!r}: too many colons")
    if len(sections) == 1:
        return {"type": "volume", "target": clean_path(text), "volume": {}}
    source, target, *options = sections
    volume: dict[str, Any] = {"type": "bind" if is_path(source) else "volume", "source": source}
    volume["target"] = clean_path(target)
    bind: dict[str, Any] = {}
    named: dict[str, Any] = {}
    for option in options[0].split(",") if options else ():
        if option in ("ro", "rw"):
            volume["read_only"] = option == "ro"
        elif option == "nocopy":
            named["nocopy"] = True
        elif option in _PROPAGATIONS:
            bind["propagation"] = option
        elif option in ("z", "Z"):
            bind["selinux"] = option
        elif option.startswith("subpath="):
            named["subpath"] = option[len("subpath=") :]
    if volume.get("read_only") is False:
        del volume["read_only"]
    if volume["type"] == "bind":
        bind["create_host_path"] = True
    else:
        volume["volume"] = named
    if bind:
        volume["bind"] = bind
    if named:
        volume["volume"] = named
    return volume


def _sections(text: str) -> list[str]:
    """Split at colons, except that of a Windows drive and those within ``${...}``."""
    sections: list[str] = []
    current = ""
    depth = 0
    for char in text:
        if char == ":" and not depth and not (len(current) == 1 and current.isalpha()):
            sections.append(current)
            current = ""
            continue
        if char == "{" and (current.endswith("$") or depth):
            depth += 1
        elif char == "}" and depth:
            depth -= 1
        current += char
    sections.append(current)
    return sections


def is_path(source: str) -> bool:
    """Whether the source of a short form is a path of the host."""
    return source[:1] in (".", "/", "~") or source.startswith("\\\\") or is_drive(source)


def is_drive(source: str) -> bool:
    """``C:\\...``"""
    return len(source) > 1 and source[1] == ":" and source[0].isalpha()


def clean_path(path: str) -> str:
    """Go's path.Clean: like normpath, but two leading slashes become one."""
    cleaned = normpath(path) if path else "."
    return cleaned[1:] if cleaned.startswith("//") else cleaned
