"""COPY and ADD: what of the sources comes where in the layer, archives unpacked. Blocking."""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from runtime.build.ignore import Ignore, keep_all, parse_ignore
from runtime.build.modes import parse_modes
from runtime.build.steps import Copy, GitCheckout, Step
from runtime.build.worker import copying
from runtime.build.worker.layer_tar import Placed
from runtime.build.worker.owners import owner_of
from runtime.build.worker.snapshot import Snapshot
from runtime.files.tree import Node, Tree, open_node
from runtime.image.compression import decompressed
from runtime.image.manifest import InvalidImage
from runtime.image.unpack import unpack


def place_copy(
    step: Copy, target: Tree, results: Mapping[Step, Snapshot], held: ExitStack
) -> Sequence[Placed]:
    """What the layer of a step has, on top of ``target``. Directories for what is unpacked are removed with ``held``.
    Raises NotFound, InvalidArgument, InvalidImage, OSError."""
    owner = owner_of(target, step.owner) if step.owner else None
    modes = parse_modes(step.modes) if step.modes else None
    exclude = parse_ignore("\n".join(step.exclude)) if step.exclude else keep_all
    nodes: list[Node] = []
    pivots: list[str] = []
    origin, keeps_parents, keeps_owners = step.origin, False, False
    source = target
    ignore: Ignore = keep_all
    if origin is not None:
        snapshot = results[origin.source]
        source, ignore = snapshot.tree, snapshot.ignore
        keeps_parents, keeps_owners = origin.keeps_parents, origin.keeps_owners
        for pattern in origin.patterns:
            before, found, _ = pattern.partition("/./")
            chosen = copying.chosen_sources(source, pattern, ignore, deep=keeps_parents)
            nodes += chosen
            pivots += [posixpath.normpath("/" + before).lstrip("/") if found else ""] * len(chosen)
    fetched: list[Node] = []
    for one in step.fetched:
        tree = results[one].tree
        fetched += [tree.root] if isinstance(one, GitCheckout) else tree.children(tree.root)
    archives: list[Node] = []
    if step.unpacks is not False:
        archives = [node for node in nodes if is_archive(node)]
    if step.unpacks:
        archives += [node for node in fetched if is_archive(node)]
    plain = [node for node in (*nodes, *fetched) if node not in archives]
    placed: dict[str, Placed] = {}
    if plain or step.files:
        items = copying.place(
            source,
            plain,
            step.files,
            target,
            step.destination,
            owner=owner,
            modes=modes,
            keeps_owners=keeps_owners,
            ignore=ignore,
            exclude=exclude,
            pivots=pivots if keeps_parents else None,
        )
        if step.latest is not None and (
            fetched or (origin is not None and results[origin.source].image is None)
        ):
            items = [replace(item, is_undated=True) for item in items]
        placed |= {item.path: item for item in items}
    for archive in archives:
        inside = _unpacked(archive, held)
        # As with Docker, --chown and --chmod are not for what an archive says itself.
        items = copying.place(
            inside,
            [inside.root],
            (),
            target,
            step.destination,
            keeps_owners=True,
            exclude=exclude,
            replaces=True,
        )
        made = copying.make_directories(target, step.destination, owner or (0, 0))
        placed |= {item.path: item for item in (*items, *made)}
    return list(placed.values())


def is_archive(node: Node) -> bool:
    """Whether a file is a (compressed) tar, by what is in it."""
    if not stat.S_ISREG(node.status.st_mode):
        return False
    try:
        with open(open_node(node, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:
            stream, block = decompressed(source), b""
            while len(block) < tarfile.BLOCKSIZE and (piece := stream.read(tarfile.BLOCKSIZE - len(block))):
                block += piece
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (InvalidImage, tarfile.HeaderError):
        return False
    return True


def _unpacked(archive: Node, held: ExitStack) -> Tree:
    directory = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="composer-add-")))
    directory.chmod(0o755)
    with open(open_node(archive, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
        unpack(source, directory, is_layer=False)
    return Tree([directory])
