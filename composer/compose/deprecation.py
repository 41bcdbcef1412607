"""What is still read and should be written otherwise: a sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_RESOURCES = ("networks", "volumes", "configs", "secrets")


def deprecated(tree: dict[str, Any]) -> Iterator[str]:
    """About a merged tree whose forms are still as they were written."""
    if "version" in tree:
        yield (
            "the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion"
        )
    for section in _RESOURCES:
        resources = tree.get(section)
        for name, resource in resources.items() if isinstance(resources, dict) else ():
            external = resource.get("external") if isinstance(resource, dict) else None
            if isinstance(external, dict) and external.get("name"):
                yield (
                    f"{section}.{name}: external.name is deprecated. Please set name and external: true "
                    f"(name: {external['name']})"
                )
