"""Disks for the lasting half of an engine's state: with little room, in memory, and how it is filled; and such as turn
read-only."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

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


class Ext4:
    """A file system that turns read-only when the kernel finds an error in it."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image = image
        self.place = place

    def mount(self) -> None:
        words = ["mount", "-o", "loop,errors=remount-ro", self.image, self.place]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"needs a kernel with ext4 and loop devices: {done.stderr}")

    def fail(self) -> None:
        """From now on it is read-only; what was written until now is on it."""
        subprocess.run(["sync", "-f", self.place], check=True)
        for line in Path("/proc/self/mounts").read_text().splitlines():
            device, place, *_ = line.split()
            if place == str(self.place):
                Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("1")

    def umount(self, *flags: str) -> None:
        subprocess.run(["umount", *flags, self.place], check=True)


@contextlib.contextmanager
def ext4_disk(composer: Composer, image: Path) -> Iterator[Ext4]:
    """In the file ``image``. At the end all is removed, and the engine with it."""
    composer.paths.lib.mkdir()
    with open(image, "wb") as file:
        file.truncate(128 << 20)
    try:
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", image], check=True)
    except FileNotFoundError:
        pytest.skip("needs a kernel with ext4, and the mke2fs command")
    made = Ext4(image, composer.paths.lib)
    made.mount()
    try:
        yield made
    finally:
        try:
            composer.remove_everything()
        finally:
            composer.end_by_force()
            made.umount("-l")
