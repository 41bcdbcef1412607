"""What can be said of any mount without making one: a command that only checks a file imports no more than this."""

from __future__ import annotations

import posixpath

from runtime.errors import InvalidArgument

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
"""mount(8)'s words; ``runtime.kernel.mounts`` has the flags."""


def check_target(target: str) -> str:
    """Normalise a mount target. Raises InvalidArgument."""
    if not target.startswith("/"):
        name, colon, path = target.partition(":")
        is_drive = len(name) == 1 and name.isalpha() and colon and path.startswith("/")
        raise InvalidArgument(
            f"invalid mount target {target!r}: it must be an absolute path",
            hint=f"one letter before a colon is a drive of Windows, also in Docker Compose: give volume {name} a "
            "longer name, or write the long form"
            if is_drive
            else "",
        )
    if "\0" in target:
        raise InvalidArgument("a mount target cannot contain a NUL byte")
    normal = "/" + posixpath.normpath(target).strip("/")
    if normal == "/":
        raise InvalidArgument("invalid mount target: destination can't be '/'")
    if normal == "/proc" or normal.startswith("/proc/"):
        raise InvalidArgument(f"invalid mount target {target!r}: nothing can be mounted inside /proc")
    return normal


def check_propagation(propagation: str, target: str) -> None:
    """Raises InvalidArgument for a word that is none of mount(8)'s."""
    if propagation and propagation not in PROPAGATIONS:
        raise InvalidArgument(f"mount {target}: invalid propagation {propagation!r}")
