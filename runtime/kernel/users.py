"""Users and groups as a container's own files have them.

:func:`check_user` is for the core; :func:`resolve` is called by the process that is about to become the user, with a
descriptor of the container's root: files are opened inside that root, never wait, and are bounded. Docker's rules:
a number is never looked up as a name, a numeric user found in passwd brings its group and home. Standard library only.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from runtime.kernel import syscalls

FILE_LIMIT = 4 << 20
LINE_LIMIT = 64 << 10
LARGEST_ID = (1 << 31) - 1
_MOST_DIGITS = 20
"""Python makes no number of thousands of them: int() raises ValueError."""
_TEXT = re.compile(r"[^\x00-\x20\x7f]*")


class Identity(NamedTuple):
    """Who a process is."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    """Supplementary groups, the primary one included."""
    home: str


class UserNotFound(LookupError):
    """Docker's sentences about users and groups that are not there."""


def check_user(text: str) -> str:
    """``text`` if it can be a user (``name|uid[:group|gid]``). Raises InvalidArgument."""
    # Late: the keeper and its forks carry this module, and never get here.
    from runtime.errors import InvalidArgument

    user, _, group = text.partition(":")
    if not _TEXT.fullmatch(text) or ":" in group:
        raise InvalidArgument(f"invalid user {text!r}", hint="write name, uid, name:group or uid:gid")
    for part in (user, group):
        if part.isdecimal() and _is_too_large(part):
            raise InvalidArgument(f"invalid user {text!r}: uids and gids must be in range 0-{LARGEST_ID}")
    return text


def resolve(root: int, user: str, groups: Sequence[str] = ()) -> Identity:
    """Look up ``user`` and supplementary ``groups`` below the directory descriptor ``root``. Raises UserNotFound."""
    return identify(user, groups, read_inside(root, b"etc/passwd"), read_inside(root, b"etc/group"))


def identify(user: str, groups: Sequence[str], passwd: bytes, group_file: bytes) -> Identity:
    """As :func:`resolve`, from the files' contents. Pure."""
    wanted, _, wanted_group = user.partition(":")
    uid, gid, home, name = 0, 0, "/", ""
    number = int(wanted) if wanted.isdecimal() else None
    entry = next(
        (
            fields
            for fields in _entries(passwd, 7, wanted if number is None and wanted else f":{number or 0}:")
            if (fields[0] == wanted if number is None and wanted else fields[2] == str(number or 0))
        ),
        None,
    )
    if entry is not None:
        name, uid, gid, home = entry[0], int(entry[2]), int(entry[3]), entry[5] or "/"
    elif number is not None:
        uid = number
    elif wanted:
        raise UserNotFound(f"unable to find user {wanted}: no matching entries in passwd file")
    supplementary = [gid]
    if wanted_group:
        gid = _group_id(wanted_group, group_file)
        supplementary = [gid]
    elif name:
        supplementary += [int(g[2]) for g in _entries(group_file, 4, name) if name in g[3].split(",")]
    supplementary += [_group_id(g, group_file) for g in groups]
    return Identity(uid, gid, tuple(dict.fromkeys(supplementary)), home)


def _group_id(text: str, group_file: bytes) -> int:
    if text.isdecimal():
        if _is_too_large(text):
            raise UserNotFound(f"uids and gids must be in range 0-{LARGEST_ID}")
        return int(text)
    for fields in _entries(group_file, 3, text):
        if fields[0] == text:
            return int(fields[2])
    raise UserNotFound(f"unable to find group {text}: no matching entries in group file")


def _entries(content: bytes, count: int, part: str) -> Iterator[list[str]]:
    """Lines of passwd(5) or group(5) with ``part`` in them, ``count`` fields, and numbers where numbers belong."""
    numeric = (2, 3) if count == 7 else (2,)
    wanted = part.encode("utf-8", "surrogateescape")
    for line in _lines(content):
        if wanted not in line:
            continue
        fields = line.decode("utf-8", "replace").split(":")
        fields += [""] * (count - len(fields))
        if line.startswith(b"#") or not all(_is_id(fields[i]) for i in numeric):
            continue
        yield fields


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and not _is_too_large(text)


def _is_too_large(digits: str) -> bool:
    return len(digits) > _MOST_DIGITS or int(digits) > LARGEST_ID


def _lines(content: bytes) -> Iterable[bytes]:
    return (line.strip() for line in content.split(b"\n") if line.strip() and len(line) <= LINE_LIMIT)


def read_inside(root: int, path: bytes, limit: int = FILE_LIMIT) -> bytes:
    """The beginning of a regular file below ``root``; b"" when there is none. Never waits (a FIFO is no file)."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = syscalls.openat2(root, path, flags, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b""
        parts = []
        while limit > 0 and (part := os.read(fd, min(limit, 65536))):
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)
    finally:
        os.close(fd)
