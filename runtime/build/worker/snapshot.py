"""The result of a step: a file tree that later steps are put on, or read from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime.build.ignore import Ignore, keep_all
from runtime.build.worker.context import ContextScan
from runtime.files.tree import Tree
from runtime.image.model import Image


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Layers (``image``), or a directory that is no image's. ``made``: for each step from the base on
    whether it has made a layer."""

    image: Image | None = None
    layers: tuple[Path, ...]
    made: tuple[bool, ...] = ()
    created: int = 0
    """Seconds since the epoch; 0 for what has no time."""
    commit: str = ""
    """Of the repository that it is from."""
    name: str = ""
    """What a context is called: its path or URL."""
    ignore: Ignore = keep_all
    scan: ContextScan | None = None
    """Of a context, as it was when the build began."""
    rescan: Callable[[], ContextScan] | None = None

    @property
    def tree(self) -> Tree:
        return Tree(self.layers)

    @property
    def chain_id(self) -> str:
        """What identifies the layers; "" when there are none."""
        return self.image.chain_ids[-1] if self.image is not None and self.image.chain_ids else ""
