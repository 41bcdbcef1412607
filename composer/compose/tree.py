"""What loading hands from its first half (finding, reading, merging) to its second (typing)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tree:
    """A merged, validated, canonical, normalised project as plain values, and where it came from."""

    name: str
    working_dir: str
    tree: dict[str, Any]
    compose_files: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """What interpolation saw."""
    profiles: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unready: dict[str, str] = field(default_factory=dict)
    """What is wrong with services that no profile enables."""
    dropped: dict[tuple[str | int, ...], str] = field(default_factory=dict)
    """What ``!reset`` and ``!override`` took away, and the file that has them."""
    lines: dict[str, list[str]] = field(default_factory=dict)
    """The files that were read, by name, in lines: what places in errors show."""
