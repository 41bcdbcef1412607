"""Disks with little room: the lasting half of an engine's state, in memory, and how it is filled."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.engine import Composer


@contextlib.contextmanager
def small_disk(composer: Composer, options: str) -> Iterator[Path]:
    """The directory; ``options`` are those of tmpfs(5). At the end all is removed, and the engine with it."""
    lib = composer.paths.lib
    lib.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", lib], check=True)
    try:
        yield lib
    finally:
        try:
            composer.remove_everything()
        finally:
            composer.end_by_force()
            subprocess.run(["umount", "-l", lib], check=True)


def use_up_bytes(path: Path) -> None:
    """Add to a file until not one byte more finds room."""
    with open(path, "ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
