"""A container's writable layer: the upper directory of its overlay, and the disk that this is on. Standard library
only."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from runtime.container.failure import Failure
from runtime.kernel.refusal import refusal


@contextlib.contextmanager
def naming_its_disk(doing: str, place: str, work: int) -> Iterator[None]:
    """What cannot be made in a root may be for want of the disk below it, whose path the overlay's error does not have:
    then ``place`` is named. ``work`` is the overlay's work directory, or -1 while there is none."""
    try:
        yield
    except OSError as error:
        number = refusal(".", work) if work >= 0 else 0
        if not number or number != error.errno:
            raise
        raise Failure("overlay", number, f"{doing}: {place}: {os.strerror(number)}") from None


def make_like(path: str, model: int) -> None:
    """A directory with owner and mode of the one behind ``model``, there with both or not at all: those of an upper
    directory are the root's."""
    state = os.fstat(model)
    before = os.umask(0)
    try:
        if not state.st_uid and not state.st_gid:
            os.mkdir(path, stat.S_IMODE(state.st_mode))
            return
        fresh = path + ".new"
        with contextlib.suppress(FileExistsError):
            os.mkdir(fresh, stat.S_IMODE(state.st_mode))
        os.chown(fresh, state.st_uid, state.st_gid)
        os.rename(fresh, path)
    finally:
        os.umask(before)
