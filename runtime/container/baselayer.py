"""The layer at the bottom of every container's root: the mount points that an image may lack.

Without it they would be made in each container's own layer, file by file, through overlayfs. What an image brings along
hides what is here. And ``/.dockerenv``, by which programs and scripts tell that they are in a container.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from runtime.storage.removal import remove_tree

DIRECTORIES = ("dev", "proc", "sys", "etc")
FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")
LINKS = (("etc/mtab", "/proc/mounts"),)


MARK = ".dockerenv"


def make_base_layer(path: Path) -> None:
    """Make it at ``path`` unless it is there; whole or not at all, whoever else does the same."""
    if path.is_dir():
        if not (path / MARK).exists():  # older engines made none
            (path / MARK).touch(mode=0o755)
        return
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fresh.mkdir(mode=0o755, parents=True)
    for name in DIRECTORIES:
        (fresh / name).mkdir()
    for name in FILES:
        (fresh / name).touch()
    for name, text in LINKS:
        (fresh / name).symlink_to(text)
    for entry in (fresh, *(fresh / name for name in DIRECTORIES)):
        entry.chmod(0o755)
    for name in FILES:
        (fresh / name).chmod(0o644)
    (fresh / MARK).touch()
    (fresh / MARK).chmod(0o755)
    try:
        os.rename(fresh, path)
    except OSError:
        remove_tree(fresh)
        if not path.is_dir():
            raise
