"""A mount namespace with as many mounts as sysctl fs.mount-max allows, which counts for each namespace by itself.

``python -m tests.chaos.mount_crowd PLACE`` makes and holds one until its standard input ends."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from runtime.kernel import syscalls

ROOT = Path(__file__).resolve().parents[2]
SPARE = 40
"""Mounts that can be taken away one by one."""


class Crowd:
    """The namespace of process ``pid``, which was filled in the directory ``place``."""

    def __init__(self, pid: int, place: Path) -> None:
        self.namespace = f"/proc/{pid}/ns/mnt"
        self._spare = [place / "spare" / str(number) for number in range(SPARE)]
        self._free = 0

    def leave_room_for(self, mounts: int) -> None:
        """So many mounts can be made from now on, and no more."""
        for path in self._spare[mounts : self._free]:
            self._run("mount", "--bind", path, path)
        for path in self._spare[self._free : mounts]:
            self._run("umount", path)
        self._free = mounts

    def _run(self, *words: str) -> None:
        subprocess.run(["nsenter", f"--mount={self.namespace}", *words], check=True)


@contextlib.contextmanager
def mount_crowd(place: Path) -> Iterator[Crowd]:
    words = [sys.executable, "-m", "tests.chaos.mount_crowd", str(place)]
    with subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "full\n"
        yield Crowd(process.pid, place)
        process.stdin.close()


def _fill(place: str) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, b"/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    for number in range(SPARE):
        os.makedirs(path := f"{place}/spare/{number}")
        _bind(path, path)
    many = f"{place}/many"
    os.mkdir(many)
    syscalls.mount(b"tmpfs", os.fsencode(many), b"tmpfs", 0)
    doubled = 0
    while _copy(many, f"{many}/{doubled}"):
        doubled += 1
    # Each of those has twice as many mounts as the one before: with some of them all that is left is filled.
    for number in reversed(range(doubled)):
        _copy(f"{many}/{number}", f"{many}/rest-{number}")


def _copy(source: str, target: str) -> bool:
    """Whether there was room for it."""
    os.mkdir(target)
    try:
        _bind(source, target)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        return False
    return True


def _bind(source: str, target: str) -> None:
    syscalls.mount(os.fsencode(source), os.fsencode(target), None, syscalls.MS_BIND | syscalls.MS_REC)


if __name__ == "__main__":
    _fill(sys.argv[1])
    print("full", flush=True)
    sys.stdin.read()
