"""What a COPY or ADD puts where: sources chosen from a tree, destinations found in an image's. Blocking."""

from __future__ import annotations

import fnmatch
import posixpath
import stat
from collections.abc import Sequence

from runtime.build.ignore import Ignore
from runtime.build.layer_tar import Placed
from runtime.build.tree import Node, Tree
from runtime.errors import InvalidArgument, NotFound


def keep_all(_: str) -> bool:
    """Ignores nothing."""
    return False


def chosen_sources(tree: Tree, pattern: str, ignore: Ignore = keep_all) -> list[Node]:
    """What a source means in ``tree``: one thing, or all that a pattern matches.

    Raises NotFound. Paths do not lead out of the tree: ``..`` ends at its root.
    """
    clean = posixpath.normpath("/" + pattern).lstrip("/")
    if not any(character in clean for character in "*?["):
        resolved, node = tree.resolve(clean)
        if node is None or (node.path and ignore(node.path)):
            raise NotFound(f'failed to calculate checksum: "/{clean or resolved}": not found')
        return [node]
    nodes = [tree.root]
    for part in clean.split("/"):
        nodes = [
            child
            for node in nodes
            if node.is_directory
            for child in tree.children(node)
            if fnmatch.fnmatchcase(child.name, part) and not ignore(child.path)
        ]
    found = [tree.resolve(node.path)[1] or node for node in nodes]
    if not found:
        raise NotFound(f"no source files were specified: nothing matches {pattern}")
    return found


def place(
    tree: Tree,
    sources: Sequence[Node],
    files: Sequence[tuple[str, bytes]],
    target: Tree,
    destination: str,
    *,
    owner: tuple[int, int] | None = None,
    mode: int | None = None,
    keeps_owners: bool = False,
    ignore: Ignore = keep_all,
) -> list[Placed]:
    """The entries of the layer that copying ``sources`` of ``tree`` and ``files`` (name, content) to ``destination``
    (absolute) in ``target`` makes. ``owner`` None: root, or with
    ``keeps_owners`` the one in the source; ``mode`` None: as in the source.

    Raises InvalidArgument when several things are copied to what is no directory.
    """
    resolved, there = target.resolve(destination)
    uid, gid = owner or (0, 0)
    several = len(sources) + len(files) > 1
    into = destination.endswith("/") or several or (there is not None and there.is_directory)
    if several and not destination.endswith("/") and not (there is not None and there.is_directory):
        raise InvalidArgument(
            "When using COPY with more than one source file, the destination must be a directory and end with a /"
        )
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
        placed[path] = Placed(path, bits if mode is None or node.is_link else mode, *ids, node)

    for node in sources:
        if not node.is_directory:
            path = posixpath.join(resolved, node.name) if into else resolved
            directories(path)
            put(node, path)
            continue
        directories(f"{resolved}/x" if resolved else "x")
        prefix = f"{node.path}/" if node.path else ""
        for child in tree.walk(node):
            if not ignore(child.path):
                path = posixpath.join(resolved, child.path[len(prefix) :])
                directories(path)
                put(child, path)
    for name, content in files:
        path = posixpath.join(resolved, name) if into else resolved
        directories(path)
        placed[path] = Placed(path, 0o644 if mode is None else mode, uid, gid, content=content)
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
