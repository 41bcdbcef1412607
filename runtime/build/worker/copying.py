"""What a COPY or ADD puts where: sources chosen from a tree, destinations found in an image's. Blocking."""

from __future__ import annotations

import posixpath
import re
import stat
from collections.abc import Sequence
from dataclasses import replace

from runtime.build.ignore import Ignore, compiled, keep_all
from runtime.build.modes import Modes
from runtime.build.worker.layer_tar import Placed
from runtime.errors import InvalidArgument, NotFound
from runtime.files.tree import Node, Tree
from runtime.nearest import nearest

_STARS = re.compile(r"(?<!\\)\*+")


class SourceNotFound(NotFound):
    """A source that is not there, as ``pattern`` names it; ``why`` is more than that, or ""."""

    def __init__(self, path: str, why: str, pattern: str) -> None:
        super().__init__(f'"{path}" is not there{why}')
        self.path = path
        self.why = why
        self.pattern = pattern

    def said_of(self, source: str) -> str:
        """The message with what it is looked for in."""
        return f'"{self.path}" is not in {source}{self.why}'


def chosen_sources(tree: Tree, pattern: str, ignore: Ignore = keep_all, *, deep: bool = False) -> list[Node]:
    """What a source means in ``tree``: one thing, or all that a pattern matches; with ``deep``, ``**`` matches
    any number of directories.

    Raises NotFound. Paths do not lead out of the tree: ``..`` ends at its root.
    """
    clean = posixpath.normpath("/" + pattern).lstrip("/")
    if not any(character in clean for character in "*?["):
        resolved, node = tree.resolve(clean)
        if node is None or (node.path and ignore(node.path)):
            raise SourceNotFound(f"/{clean or resolved}", _why(tree, pattern, node), pattern)
        name = posixpath.basename(clean)
        return [node if deep or not name or node.name == name else replace(node, alias=name)]
    nodes = [tree.root]
    for part in clean.split("/"):
        if part == "**" and deep:
            below = [child for node in nodes if node.is_directory for child in tree.walk(node)]
            nodes = [*nodes, *(child for child in below if not ignore(child.path))]
            continue
        matching = compiled(_STARS.sub("*", part)).fullmatch  # here ** is nothing of its own
        nodes = [
            child
            for node in nodes
            if node.is_directory
            for child in tree.children(node)
            if matching(child.name) and not ignore(child.path)
        ]
    unique = {node.path: node for node in nodes}.values()
    return [node if deep else _followed(tree, node) for node in unique]


def _followed(tree: Tree, node: Node) -> Node:
    """What a link leads to, under the link's name."""
    if not node.is_link:
        return node
    found = tree.resolve(node.path)[1]
    return node if found is None else replace(found, alias=node.name)


def _why(tree: Tree, pattern: str, node: Node | None) -> str:
    """More than that something is not there."""
    if node is not None:
        return ": .dockerignore excludes it"
    if posixpath.normpath(pattern.lstrip("/")).startswith(".."):
        return f": {pattern} is outside the context, and nothing is copied from there"
    above, _, name = pattern.strip("/").rpartition("/")
    names = [child.name for child in _children(tree, above)]
    if name in names:
        return ": it is a link to what is not there"
    near = nearest(name, names)
    return f" (did you mean {posixpath.join(above, near)}?)" if near else ""


def _children(tree: Tree, path: str) -> list[Node]:
    node = tree.resolve(path)[1]
    return list(tree.children(node)) if node is not None and node.is_directory else []


def place(
    tree: Tree,
    sources: Sequence[Node],
    files: Sequence[tuple[str, bytes]],
    target: Tree,
    destination: str,
    *,
    owner: tuple[int, int] | None = None,
    modes: Modes | None = None,
    keeps_owners: bool = False,
    ignore: Ignore = keep_all,
    exclude: Ignore = keep_all,
    pivots: Sequence[str] | None = None,
    replaces: bool = False,
) -> list[Placed]:
    """The entries of the layer that copying ``sources`` of ``tree`` and ``files`` (name, content) to ``destination``
    (absolute) in ``target`` makes, one after the other. ``owner`` None: root, or with
    ``keeps_owners`` the one in the source; ``modes`` None: as in the source. ``exclude`` (``--exclude``) has paths
    within a source. ``pivots`` (``--parents``): for each source, the directory from which its path is kept.
    ``replaces``: within the destination a directory takes a file's place, and the other way round (archives).

    Raises InvalidArgument for a directory on what is none, a file on a directory, and what is to be below a file.
    """
    placement = _Placement(tree, target, destination, owner, modes, keeps_owners, replaces)
    for number, node in enumerate(sources):
        if pivots is not None:
            if not exclude(node.path) or not node.path:
                placement.add_with_parents(node, pivots[number], ignore, exclude)
        elif node.is_directory:
            placement.add_directory(node, ignore, exclude)
        elif not exclude(node.name):
            placement.add_file(node, node.name)
    for name, content in files:
        placement.add_file(content, name)
    return list(placement.placed.values())


class _Placement:
    """What is placed so far, on top of ``target``."""

    def __init__(
        self,
        tree: Tree,
        target: Tree,
        destination: str,
        owner: tuple[int, int] | None,
        modes: Modes | None,
        keeps_owners: bool,
        replaces: bool,
    ) -> None:
        self.placed: dict[str, Placed] = {}
        self._tree = tree
        self._target = target
        self._destination = destination
        self._owner = owner
        self._modes = modes
        self._keeps_owners = keeps_owners and owner is None
        self._replaces = replaces
        self._resolved, there = target.resolve(destination)
        self._there: dict[str, Node | None] = {self._resolved: there}
        """What ``target`` has, as far as it was asked; never below what is no directory."""

    def add_file(self, source: Node | bytes, name: str) -> None:
        """A file, or whatever is no directory, under its name when the destination is a directory."""
        into = self._destination.endswith("/") or self._is_directory(self._resolved)
        path = posixpath.join(self._resolved, name) if into else self._resolved
        self._make_directories(path)
        self._put(source, path)

    def add_directory(self, node: Node, ignore: Ignore, exclude: Ignore) -> None:
        """What is in a directory."""
        self._make_directories(f"{self._resolved}/x" if self._resolved else "x")
        prefix = f"{node.path}/" if node.path else ""
        for child in self._tree.walk(node):
            if not ignore(child.path) and not exclude(child.path[len(prefix) :]):
                path = posixpath.join(self._resolved, child.path[len(prefix) :])
                self._make_directories(path)
                self._put(child, path)

    def add_with_parents(self, node: Node, pivot: str, ignore: Ignore, exclude: Ignore) -> None:
        """With the directories from ``pivot`` to it."""
        prefix = f"{pivot}/" if pivot and f"{node.path}/".startswith(f"{pivot}/") else ""
        parts = node.path[len(prefix) :].split("/")
        self._make_directories(f"{self._resolved}/x" if self._resolved else "x")
        for count in range(1, len(parts) + 1):
            kept = "/".join(parts[:count])
            parent = self._tree.resolve(prefix + kept, follow=False)[1]
            path = posixpath.join(self._resolved, kept)
            if parent is not None and kept and path not in self.placed:
                self._put(parent, path)
        for child in self._tree.walk(node) if node.is_directory else ():
            if not ignore(child.path) and not exclude(child.path[len(prefix) :]):
                self._put(child, posixpath.join(self._resolved, child.path[len(prefix) :]))

    def _make_directories(self, path: str) -> None:
        """Those that are missing on the way to ``path``."""
        parts = path.split("/")[:-1]
        uid, gid = self._owner or (0, 0)
        for count in range(1, len(parts) + 1):
            name = "/".join(parts[:count])
            if self._is_directory(name):
                continue
            if name in self.placed or self._node(name) is not None:
                raise InvalidArgument(f"cannot copy to {self._destination}: /{name} is not a directory")
            self.placed[name] = Placed(name, 0o755, uid, gid)

    def _is_directory(self, path: str) -> bool:
        if (item := self.placed.get(path)) is not None:
            return stat.S_ISDIR(item.kind)
        node = self._node(path)
        return node is not None and node.is_directory

    def _node(self, path: str) -> Node | None:
        """What ``target`` has there, links not followed."""
        if path in self._there:
            return self._there[path]
        if not path:
            return self._target.root
        above, _, name = path.rpartition("/")
        parent = self._node(above)
        found = self._target.child(parent, name) if parent is not None and parent.is_directory else None
        self._there[path] = found
        return found

    def _put(self, source: Node | bytes, path: str) -> None:
        is_directory = isinstance(source, Node) and source.is_directory
        is_there = path in self.placed or self._node(path) is not None
        if is_there and self._is_directory(path) != is_directory:
            if not self._replaces:
                raise InvalidArgument(
                    f"cannot copy a directory to /{path}, which is none"
                    if is_directory
                    else f"cannot replace the directory /{path} with a file"
                )
            self._there[path] = None
        uid, gid = self._owner or (0, 0)
        if isinstance(source, bytes):
            bits = 0o644 if self._modes is None else self._modes(0o644, False)
            self.placed[path] = Placed(path, bits, uid, gid, content=source)
            return
        if stat.S_ISSOCK(source.status.st_mode):
            return
        bits = stat.S_IMODE(source.status.st_mode)
        if self._modes is not None and not source.is_link:
            bits = self._modes(bits, source.is_directory)
        if self._keeps_owners:
            uid, gid = source.status.st_uid, source.status.st_gid
        self.placed[path] = Placed(path, bits, uid, gid, source)


def make_directories(target: Tree, path: str, owner: tuple[int, int] = (0, 0)) -> list[Placed]:
    """The directories that WORKDIR makes: those of ``path`` that ``target`` lacks."""
    resolved, node = target.resolve(path)
    if node is not None:
        return []
    parts = resolved.split("/")
    return [
        Placed(name, 0o755, *owner)
        for count in range(1, len(parts) + 1)
        if target.resolve(name := "/".join(parts[:count]))[1] is None
    ]
