"""Checking a store: whether everything that images need is on the disk, as it came, and mending what can be.

A blob has to be what its digest says. An unpacked layer has to have as many bytes of files as it had when it was
unpacked: that finds what a power cut or a failing disk takes away. What is damaged is fetched again by the next pull,
and a layer is unpacked anew from its blob.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from runtime.errors import ComposerError
from runtime.image.content import Content
from runtime.image.digest import Digest
from runtime.image.model import ImageRecord, ImageUse, LayerRecord
from runtime.image.reference import parse_reference
from runtime.storage.files import apparent_size

Users = Callable[[str], Sequence[ImageUse]]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be."""

    kind: str
    """``blob`` or ``layer``."""
    id: str
    """Its digest, or chain id."""
    what: str
    images: tuple[str, ...]
    """Names (or ids) of the images that need it."""
    is_mended: bool = False
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """How far a check has come, and what the last step found."""

    done: int
    total: int
    problem: Problem | None = None


class Checker:
    """Goes through one :class:`Content`. ``users`` tells the containers of an image."""

    def __init__(self, content: Content, users: Users) -> None:
        self._content = content
        self._users = users

    async def run(self, on_step: Callable[[Checked], None], *, repair: bool = False) -> list[Problem]:
        """Check every blob and layer of all images, in threads; reads all of them.

        ``repair``: mend what can be mended. Content that a pull brings meanwhile is not looked at.
        """
        blobs, layers = self._wanted()
        total = len(blobs) + len(layers)
        problems: list[Problem] = []
        for done, (kind, layer) in enumerate(
            [*(("blob", item) for item in blobs.values()), *(("layer", item) for item in layers.values())], 1
        ):
            look = self._check_blob if kind == "blob" else self._check_layer
            problem = await look(layer, repair)
            if problem is not None:
                problems.append(problem)
            on_step(Checked(done, total, problem))
        return problems

    async def settle(self) -> list[Problem]:
        """Look once at the layers that were unpacked before the machine was last started, and mend those that a
        power cut has damaged."""
        problems: list[Problem] = []
        _, layers = self._wanted()
        for chain_id in self._content.layers.unsettled():
            layer = layers.get(chain_id)
            if layer is None:
                continue
            problem = await self._check_layer(layer, True)
            if problem is None:
                self._content.layers.settle(chain_id)
            else:
                problems.append(problem)
        return problems

    def _wanted(self) -> tuple[dict[str, LayerRecord], dict[str, LayerRecord]]:
        blobs: dict[str, LayerRecord] = {}
        layers: dict[str, LayerRecord] = {}
        for record in self._content.catalogue.records():
            for layer in record.layers:
                blobs.setdefault(layer.blob, layer)
                layers.setdefault(layer.chain_id, layer)
        return blobs, layers

    def _records(self, layer: LayerRecord) -> Iterator[ImageRecord]:
        for record in self._content.catalogue.records():
            if any(layer.blob == one.blob or layer.chain_id == one.chain_id for one in record.layers):
                yield record

    def _names(self, layer: LayerRecord) -> tuple[str, ...]:
        names: list[str] = []
        for record in self._records(layer):
            names += [parse_reference(tag).familiar for tag in record.tags] or [record.id[7:19]]
        return tuple(sorted(set(names)))

    async def _check_blob(self, layer: LayerRecord, repair: bool) -> Problem | None:
        store, digest = self._content.blobs, Digest(layer.blob)
        if await trio.to_thread.run_sync(store.verify, digest, abandon_on_cancel=True):
            store.trust(digest)
            return None
        is_there = store.path(digest).exists()
        if is_there and repair:
            store.remove(digest)
        elif is_there:
            store.distrust(digest)
        return Problem(
            "blob",
            layer.blob,
            "does not match its digest" if is_there else "is missing",
            self._names(layer),
            advice="Pull or load these images again; their containers are not affected.",
        )

    async def _check_layer(self, layer: LayerRecord, repair: bool) -> Problem | None:
        path = self._content.layers.diff(Digest(layer.chain_id))
        found = await trio.to_thread.run_sync(_size, path, abandon_on_cancel=True)
        if found == layer.size:
            return None
        what = "is missing" if found is None else f"has {found} bytes of files instead of {layer.size}"
        advice, is_mended = "", False
        running = [use.container for r in self._records(layer) for use in self._users(r.id) if use.running]
        if running:
            advice = f"Stop {', '.join(sorted(set(running)))} and check again with --repair."
        elif repair:
            try:
                await self._content.unpack_again(layer)
                is_mended = True
            except ComposerError as error:
                advice = f"It cannot be unpacked again ({error.message}): remove these images and pull them."
        else:
            advice = "Check again with --repair."
        return Problem("layer", layer.chain_id, what, self._names(layer), is_mended, advice)


def _size(path: Path) -> int | None:
    return apparent_size(path) if path.is_dir() else None
