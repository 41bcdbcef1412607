"""What ``cp`` does with a source and a destination that may or may not be there, as ``cp -a`` does. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from runtime.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class End:
    """One end of a copy. ``path`` is as it was given, a trailing "/" or "/." included."""

    path: str
    is_there: bool = True
    is_directory: bool = False

    @property
    def must_be_directory(self) -> bool:
        return self.path.endswith(("/", "/."))


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a copy goes: names that begin with ``old`` begin with ``new`` in ``directory`` ("" both: as they are)."""

    directory: str
    old: str = ""
    new: str = ""


def last_name(path: str) -> str:
    """The name under which a tar of ``path`` has it: its last, "." when it ends so."""
    return "." if path == "." or path.endswith("/.") else posixpath.basename(path.rstrip("/")) or "/"


def place(source: End, destination: End) -> Placing:
    """Raises InvalidArgument for a directory onto a file, and for a file into a directory that is not there."""
    path = destination.path
    bare = path.removesuffix("/.").rstrip("/") or "/"
    above, name = posixpath.split(bare)
    if destination.is_there and destination.is_directory:
        return Placing(path)
    if destination.is_there and source.is_directory:
        raise InvalidArgument("cannot copy directory")
    if destination.is_there and destination.must_be_directory:
        raise InvalidArgument("not a directory")
    if not source.is_directory and destination.must_be_directory:
        raise InvalidArgument("no such directory")
    return Placing(above or ".", last_name(source.path), name)
