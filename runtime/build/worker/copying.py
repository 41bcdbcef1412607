"""What a COPY or ADD puts where: sources chosen from a tree, destinations found in an image's. Blocking."""

from __future__ import annotations

import difflib
import posixpath
import re
import stat
from collections.abc import Sequence

from runtime.build.ignore import Ignore, compiled, keep_all
from runtime.build.modes import Modes
from runtime.build.worker.layer_tar import Placed
from runtime.errors import InvalidArgument, NotFound
from runtime.files.tree import Node, Tree

_STARS = re.compile(r"(?<!\\)\*+")


def chosen_sources(tree: Tree, pattern: str, ignore: Ignore = keep_all, *, deep: bool = False) -> list[Node]:
    """What a source means in ``tree``: one thing, or all that a pattern matches; with ``deep``, ``**`` matches
    any number of directories.

    Raises NotFound. Paths do not lead out of the tree: ``..`` ends at its root.
    """
    clean = posixpath.normpath("/" + pattern).lstrip("/")
    if not any(character in clean for character in "*?["):
        resolved, node = tree.resolve(clean)
        if node is None or (node.path and ignore(node.path)):
            raise NotFound(
                f'failed to calculate checksum: "/{clean or resolved}": not found{_why(tree, pattern, node)}'
            )
        return [node]
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
    return [node if deep else tree.resolve(node.path)[1] or node for node in unique]


def _why(tree: Tree, pattern: str, node: Node | None) -> str:
    """More than that something is not there."""
    if node is not None:
        return ": .dockerignore excludes it"
    if posixpath.normpath(pattern.lstrip("/")).startswith(".."):
        return f": {pattern} is outside the context, and nothing is copied from there"
    above, _, name = pattern.strip("/").rpartition("/")
    near = difflib.get_close_matches(name, [child.name for child in _children(tree, above)], 1)
    return f" (did you mean {posixpath.join(above, near[0])}?)" if near else ""


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
) -> list[Placed]:
    """The entries of the layer that copying ``sources`` of ``tree`` and ``files`` (name, content) to ``destination``
    (absolute) in ``target`` makes. ``owner`` None: root, or with
    ``keeps_owners`` the one in the source; ``modes`` None: as in the source. ``exclude`` (``--exclude``) has paths
    within a source. ``pivots`` (``--parents``): for each source, the directory from which its path is kept.

    Raises InvalidArgument when several things are copied to what is no directory.
    """
    resolved, there = target.resolve(destination)
    uid, gid = owner or (0, 0)
    several = len(sources) + len(files) > 1 and pivots is None
    into = destination.endswith("/") or several or (there is not None and there.is_directory)
    if several and not destination.endswith("/") and not (there is not None and there.is_directory):
        raise InvalidArgument(
            "When using COPY with more than one source file, the destination must be a directory and end with a /"
        )
    if into and there is not None and not there.is_directory:
        raise InvalidArgument(f"cannot copy to {destination}: /{resolved} is not a directory")
    placed: dict[str, Placed] = {}

    def directories(path: str) -> None:
        """Make what is missing of the directories on the way to ``path``."""
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            name = "/".join(parts[:count])
            if name not in placed and target.resolve(name)[1] is None:
                placed[name] = Placed(name, 0o755, uid, gid)

    def put(node: Node, path: str) -> None:
        if stat.S_ISSOCK(node.status.st_mode):
            return
        bits = stat.S_IMODE(node.status.st_mode)
        ids = (node.status.st_uid, node.status.st_gid) if keeps_owners and owner is None else (uid, gid)
        placed[path] = Placed(
            path, bits if modes is None or node.is_link else modes(bits, node.is_directory), *ids, node
        )

    def put_with_parents(node: Node, pivot: str) -> None:
        prefix = f"{pivot}/" if pivot and f"{node.path}/".startswith(f"{pivot}/") else ""
        parts = node.path[len(prefix) :].split("/")
        directories(f"{resolved}/x" if resolved else "x")
        for count in range(1, len(parts) + 1):
            kept = "/".join(parts[:count])
            parent = tree.resolve(prefix + kept, follow=False)[1]
            path = posixpath.join(resolved, kept)
            if parent is not None and kept and path not in placed:
                put(parent, path)
        for child in tree.walk(node) if node.is_directory else ():
            if not ignore(child.path) and not exclude(child.path[len(prefix) :]):
                put(child, posixpath.join(resolved, child.path[len(prefix) :]))

    for number, node in enumerate(sources):
        if pivots is not None:
            if not exclude(node.path) or not node.path:
                put_with_parents(node, pivots[number])
            continue
        if not node.is_directory:
            if exclude(node.name):
                continue
            path = posixpath.join(resolved, node.name) if into else resolved
            directories(path)
            put(node, path)
            continue
        directories(f"{resolved}/x" if resolved else "x")
        prefix = f"{node.path}/" if node.path else ""
        for child in tree.walk(node):
            if not ignore(child.path) and not exclude(child.path[len(prefix) :]):
                path = posixpath.join(resolved, child.path[len(prefix) :])
                directories(path)
                put(child, path)
    for name, content in files:
        path = posixpath.join(resolved, name) if into else resolved
        directories(path)
        placed[path] = Placed(
            path, 0o644 if modes is None else modes(0o644, False), uid, gid, content=content
        )
    return list(placed.values())


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
