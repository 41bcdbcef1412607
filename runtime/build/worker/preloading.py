"""Looking at many directories by two processes, from both ends.

Looking at what has not changed is system calls and little else, and between them the interpreter's lock is held: a
thread more wins nothing, a process more wins nearly half (git's core.preloadIndex is the same thought). It is not
forked: a fork of what has threads could wait for ever for what one of them held.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runtime.build.worker import looking
from runtime.build.worker.looking import MARK


class Preload:
    """The marks of directories, as far as the other process has come."""

    def __init__(self, paths: Sequence[str], marks: mmap.mmap) -> None:
        self._numbers = {path: number for number, path in enumerate(paths)}
        self._marks = marks

    def mark(self, path: str) -> bytes:
        """Zeros, or the half of a mark: not looked at yet."""
        number = self._numbers.get(path)
        return self._marks[number * MARK : (number + 1) * MARK] if number is not None else b""


@contextmanager
def preloading(root: str, paths: Sequence[str]) -> Iterator[Preload | None]:
    """The other process looks at ``paths``, the last one first, for as long as this is held. None where there can be
    none, or no processor for it."""
    if len(os.sched_getaffinity(0)) < 2:
        yield None
        return
    top = str(Path(looking.__file__).parents[3])
    start = f"import sys; sys.path.insert(0, {top!r}); from {looking.__name__} import main; main()"
    argv = [sys.executable, "-S", "-E", "-P", "-c", start]
    with ExitStack() as held:
        try:
            fd = os.memfd_create("composer-preload")
            held.callback(os.close, fd)
            os.ftruncate(fd, len(paths) * MARK)
            os.pwrite(fd, b"\0".join(map(os.fsencode, (root, *paths))), len(paths) * MARK)
            marks = held.enter_context(mmap.mmap(fd, len(paths) * MARK))
            nowhere = subprocess.DEVNULL
            argv += [str(fd), str(len(paths)), str(os.getpid())]
            other = subprocess.Popen(argv, stdin=nowhere, stdout=nowhere, stderr=nowhere, pass_fds=(fd,))
        except OSError:
            yield None
            return
        held.callback(other.wait)
        held.callback(other.kill)
        yield Preload(paths, marks)
