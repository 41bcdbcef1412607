"""A file tree as its layers show it, read without mounting anything: a context (one layer) or an image's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import InvalidArgument
from runtime.files.plain_paths import open_plainly

_LINKS = 40
"""As many links are followed as the kernel does (path_resolution(7))."""
OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


@dataclass(frozen=True, slots=True)
class Node:
    """Something in a tree. ``path`` is relative to its root and has no links but perhaps the last name."""

    path: str
    hosts: tuple[str, ...]
    """Where it is: a directory in each layer that has it (topmost first), anything else in one."""
    status: os.stat_result
    alias: str = ""
    """The name under which it was asked for, when a link of that name led to it."""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)

    @property
    def name(self) -> str:
        return self.alias or self.path.rpartition("/")[2]


class Tree:
    """The merged view of ``layers``, topmost first, as overlayfs would give it. Blocking."""

    def __init__(self, layers: Sequence[Path]) -> None:
        roots = tuple(os.path.realpath(layer) for layer in layers)
        self.root = Node("", roots, os.stat(roots[0]))

    def child(self, node: Node, name: str) -> Node | None:
        """What a directory has under ``name``, links not followed."""
        found: list[str] = []
        status: os.stat_result | None = None
        for host in node.hosts:
            path = f"{host}/{name}"
            try:
                info = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if is_whiteout(info):
                break
            if not stat.S_ISDIR(info.st_mode):
                if status is None:
                    found, status = [path], info
                break
            found.append(path)
            status = status or info
            if is_opaque(path):
                break
        if status is None:
            return None
        return Node(f"{node.path}/{name}".lstrip("/"), tuple(found), status)

    def children(self, node: Node) -> Iterator[Node]:
        """All that is in a directory, by name."""
        names: set[str] = set()
        for host in node.hosts:
            names.update(os.listdir(host))
        for name in sorted(names):
            if (child := self.child(node, name)) is not None:
                yield child

    def resolve(self, path: str, *, follow: bool = True) -> tuple[str, Node | None]:
        """The path with its links replaced (within this root) and what is there, None when nothing is.

        Raises OSError (ELOOP) for links that go in circles.
        """
        rest = [part for part in path.split("/") if part and part != "."]
        nodes: list[Node | None] = [self.root]
        names: list[str] = []
        links = 0
        while rest:
            name = rest.pop(0)
            if name == "..":
                if names:
                    names.pop()
                    nodes.pop()
                continue
            parent = nodes[-1]
            node = self.child(parent, name) if parent is not None and parent.is_directory else None
            if node is not None and node.is_link and (rest or follow):
                links += 1
                if links > _LINKS:
                    raise OSError(40, os.strerror(40), path)
                target = os.readlink(node.hosts[0])
                if target.startswith("/"):
                    nodes, names = [self.root], []
                rest = [part for part in target.split("/") if part and part != "."] + rest
                continue
            names.append(name)
            nodes.append(node)
        return "/".join(names), nodes[-1]

    def walk(self, node: Node) -> Iterator[Node]:
        """What is in a directory, at any depth, parents first."""
        for child in self.children(node):
            yield child
            if child.is_directory:
                yield from self.walk(child)


def open_node(node: Node, flags: int) -> int:
    """A descriptor of what is at ``node``, reached without any link: a directory on the way that was exchanged for one
    since it was looked at leads nowhere. Raises OSError (ELOOP)."""
    return open_plainly(node.hosts[0], flags, node.path)


def check_layer_name(path: str) -> None:
    """Raise InvalidArgument for what no layer can have: where it is unpacked, ``.wh.NAME`` says that NAME below is
    deleted (OCI image-spec, layer.md)."""
    if ".wh." in path and any(part.startswith(".wh.") for part in path.split("/")):
        raise InvalidArgument(
            f"{path} cannot be in an image: in a layer, a name that begins with .wh. says that a file below it is "
            "deleted"
        )


def is_whiteout(info: os.stat_result) -> bool:
    """overlayfs' mark for what an upper layer has deleted (kernel: filesystems/overlayfs.rst)."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def is_opaque(path: str) -> bool:
    """Whether a directory hides what lower layers have in its place."""
    for name in OPAQUE:
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False
