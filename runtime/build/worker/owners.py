"""``--chown``: names of an image's users and groups, by its own /etc/passwd and /etc/group. Blocking."""

from __future__ import annotations

from pathlib import Path

from runtime.errors import InvalidArgument
from runtime.files.tree import Tree


def owner_of(tree: Tree, text: str) -> tuple[int, int]:
    """``user[:group]``, names or numbers, as ids; without a group, the one with the user's number.

    Raises InvalidArgument for names that the image does not have.
    """
    user, colon, group = text.partition(":")
    uid, default = _id(tree, "etc/passwd", user, "user") if user else (0, 0)
    if not colon:
        return uid, default
    return uid, _id(tree, "etc/group", group, "group")[0]


def _id(tree: Tree, file: str, name: str, what: str) -> tuple[int, int]:
    if name.isdecimal():
        return int(name), int(name)
    _, node = tree.resolve(file)
    text = Path(node.hosts[0]).read_text(errors="replace") if node is not None else ""
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 3 and fields[0] == name and fields[2].isdecimal():
            second = fields[3] if fields[3].isdecimal() else fields[2]
            return int(fields[2]), int(second)
    raise InvalidArgument(f"invalid {what}: the image has no {what} {name!r}")
