"""What the database has about one container, once more in the container's directory: where database and journal are
both lost, what runs is still known with all that it needs. In the journal's form, where what is written later counts;
one that was never started has none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from runtime.storage.files import read_regular
from runtime.storage.journal import Documents, decoded, encoded

_NAME = "records"
_HEAD = b"composer records 1\n"
_LIMIT = 64 << 20
_SLACK = 256 << 10
"""Bytes to which documents are added; one that is longer is to be written anew."""


def write_own_records(directory: Path, documents: Iterable[tuple[str, str, bytes]]) -> bool:
    """Replace what is there. Whether that could be done: where there is no directory, or no room, the database has
    it."""
    path = os.path.join(directory, _NAME)
    unfinished = f"{path}.new"
    try:
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return False
    try:
        with open(fd, "wb", buffering=0) as file:
            view = memoryview(_HEAD + encoded(documents))
            while view:
                view = view[file.write(view) :]
        os.rename(unfinished, path)
    except OSError:
        # Better the old ones than half of the new ones.
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        return False
    return True


def add_own_record(directory: Path, document: tuple[str, str, bytes]) -> bool:
    """Add a newer document to those that :func:`write_own_records` has written, in the same process: behind what
    another has left half written it could not be read. False when all is to be written anew instead."""
    data = encoded([document])
    try:
        path = os.path.join(directory, _NAME)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    with open(fd, "ab", buffering=0) as file:
        try:
            length = os.fstat(fd).st_size
            if length > _SLACK:
                return False
            if file.write(data) == len(data):
                return True
            os.ftruncate(fd, length)
        except OSError:
            pass
    return False


def read_own_records(directory: Path) -> Documents:
    """All documents, as far as they can be read; none when there is no file, or another."""
    try:
        data = read_regular(directory / _NAME, limit=_LIMIT)
    except Exception:  # of another kind, too large, unreadable: it is as good as gone
        return {}
    return decoded(data, len(_HEAD)) if data.startswith(_HEAD) else {}
