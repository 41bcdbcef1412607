"""The digest of what a step reads of a source: names, kinds, modes, owners as far as they are kept, contents.
Blocking."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator

from runtime.build.ignore import Ignore, keep_all, parse_ignore
from runtime.build.steps import Selection, told
from runtime.build.worker.context import ContextScan, digest_file
from runtime.build.worker.copying import chosen_sources
from runtime.files.tree import Node, Tree

_SHORT = 16
"""Digits of a digest that only has to differ from an earlier one of the same file."""
Line = tuple[str, int, int, int, str]
"""Path, mode, owner, group, digest."""


def digest_context(tree: Tree, selection: Selection, ignore: Ignore, scan: ContextScan) -> str:
    """Of files in a context. Raises NotFound, OSError."""
    total = hashlib.sha256()
    exclude = parse_ignore("\n".join(selection.exclude)) if selection.exclude else keep_all
    for pattern in selection.patterns:
        for node in chosen_sources(tree, pattern, ignore, deep=selection.keeps_parents):
            prefix = node.path if selection.keeps_parents else ("" if node.is_directory else node.name)
            total.update(f"{prefix}\0{node.status.st_mode:o}\0".encode("utf-8", "surrogateescape"))
            if not node.is_directory:
                total.update(scan.file(node.path, node.status.st_mode))
            elif exclude is keep_all:
                total.update(scan.tree(node.path))
            else:
                for line in _lines(scan, node.path, "", ignore, exclude):
                    total.update(repr(line).encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def _lines(
    scan: ContextScan, path: str, inner: str, ignore: Ignore, exclude: Ignore
) -> Iterator[tuple[str, int, str]]:
    for entry in scan.entries(path):
        own = f"{path}/{entry.name}".lstrip("/")
        name = f"{inner}/{entry.name}".lstrip("/")
        if not exclude(name) and not ignore(own):
            yield name, entry.mode, entry.digest.hex()
        if entry.is_directory:
            yield from _lines(scan, own, name, ignore, exclude)


def digest_tree(tree: Tree, selection: Selection) -> str:
    """Of files in an image, or in what a step has made; its owners count."""
    total = hashlib.sha256()
    exclude = parse_ignore("\n".join(selection.exclude)) if selection.exclude else keep_all

    def add(node: Node, name: str) -> None:
        info = node.status
        owner = (info.st_uid, info.st_gid) if selection.keeps_owners else ()
        total.update(repr((name, info.st_mode, owner)).encode("utf-8", "surrogatepass"))
        if not node.is_directory:
            total.update(digest_file(node.hosts[0], info.st_mode))

    for pattern in selection.patterns:
        for node in chosen_sources(tree, pattern, deep=selection.keeps_parents):
            prefix = node.path if selection.keeps_parents else ("" if node.is_directory else node.name)
            add(node, prefix)
            for child in tree.walk(node) if node.is_directory else ():
                name = child.path[len(node.path) :].lstrip("/")
                if not exclude(name):
                    add(child, f"{prefix}/{name}")
    return total.hexdigest()


def files_of(
    tree: Tree, selection: Selection, ignore: Ignore, scan: ContextScan, limit: int
) -> dict[str, str]:
    """Path -> digest of the files that a step reads of a context, up to ``limit``, to say later which have
    changed."""
    found: dict[str, str] = {}
    for pattern in selection.patterns:
        for node in chosen_sources(tree, pattern, ignore, deep=selection.keeps_parents):
            if not node.is_directory:
                found[told(node.path)] = (
                    f"{node.status.st_mode:o} {scan.file(node.path, node.status.st_mode).hex()[:_SHORT]}"
                )
                if len(found) > limit:
                    return found
                continue
            for name, mode, digest in _lines(scan, node.path, "", ignore, keep_all):
                if stat.S_ISDIR(mode):
                    continue
                found[told(f"{node.path}/{name}".lstrip("/"))] = f"{mode:o} {digest[:_SHORT]}"
                if len(found) > limit:
                    return found
    return found
