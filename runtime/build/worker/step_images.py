"""Layers of steps, as images without a configuration: what keeps them, and what a step's container runs on.

The same layers make the same image: its id says nothing but them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from runtime.container.config import ImageConfig
from runtime.errors import ComposerError
from runtime.image.digest import Digest
from runtime.image.manifest import encode_config
from runtime.image.model import Image, LayerRecord, NewImage
from runtime.image.platform import Platform
from runtime.image.reference import parse_reference
from runtime.image.store import STEP_COMMENT, ImageStore
from runtime.image.unpack import Unpacked

_EPOCH = "1970-01-01T00:00:00Z"


@dataclass
class StepImages:
    store: ImageStore

    def layers(self, image: Image | None) -> list[LayerRecord]:
        """Lowest first."""
        if image is None:
            return []
        record = self.store.content.catalogue.record(image.id)
        if record is None:
            raise ComposerError(f"the image {image.short_id} was removed while something was built on it")
        return list(record.layers)

    def chain_of(self, image_id: str) -> tuple[str, ...]:
        """The chain ids of an image, lowest first; none when it is gone."""
        record = self.store.content.catalogue.record(image_id)
        return tuple(layer.chain_id for layer in record.layers) if record is not None else ()

    async def add(self, below: Image | None, write: Callable[[Path, BinaryIO], Unpacked]) -> Image:
        """With one more layer, which ``write`` (in a thread) puts into a directory and, as a tar, into a file."""
        content = self.store.content
        layers = self.layers(below)
        chain = tuple(Digest(item.chain_id) for item in reversed(layers))
        with content.collecting_stopped():
            layers.append(await content.make_layer(write, chain))
            return self.register(layers, below.platform if below is not None else self.store.platform_of(""))

    async def put_upon(self, image: Image, below: Image | None) -> Image:
        """The only layer of ``image`` on top of those of another."""
        content = self.store.content
        layers = self.layers(below)
        chain = tuple(Digest(item.chain_id) for item in reversed(layers))
        with content.collecting_stopped():
            layers.append(await content.put_upon(self.layers(image)[0], chain))
            return self.register(layers, below.platform if below is not None else image.platform)

    def plain(self, image: Image) -> Image:
        """The layers of an image, and nothing else of it."""
        return self.register(self.layers(image), image.platform)

    def register(self, layers: Sequence[LayerRecord], platform: Platform) -> Image:
        document: dict[str, Any] = {
            "architecture": platform.architecture,
            "os": platform.os,
            **({"variant": platform.variant} if platform.variant else {}),
            "created": _EPOCH,
            "comment": STEP_COMMENT,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [item.diff_id for item in layers]},
            "history": [],
        }
        return self._register(document, layers, ())

    def result(
        self,
        image: Image | None,
        base: Image | None,
        config: ImageConfig,
        history: Sequence[Mapping[str, object]],
        *,
        created: int,
        tags: Sequence[str] = (),
        on_build: Sequence[str] = (),
        platform: str = "",
        further: Mapping[str, object] | None = None,
        author: str = "",
    ) -> Image:
        """The image that a build results in: the layers of ``image``, the history of ``base`` and what comes after it.
        ``created`` in seconds; ``platform`` when it is not this machine's; ``further`` fields of the
        configuration."""
        layers = self.layers(image)
        own = base.platform if base is not None else self.store.platform_of("")
        meant = self.store.platform_of(platform) if platform else own
        known: dict[str, Any] = json.loads(self.store.config_json(base.id)) if base is not None else {}
        moment = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        fields = encode_config(config) | ({"OnBuild": list(on_build)} if on_build else {})
        document: dict[str, Any] = {
            "architecture": meant.architecture,
            "os": meant.os,
            **({"variant": meant.variant} if meant.variant else {}),
            "created": moment,
            **({"author": author or known["author"]} if author or known.get("author") else {}),
            "config": fields,
            "rootfs": {"type": "layers", "diff_ids": [item.diff_id for item in layers]},
            "history": [*known.get("history", ()), *({"created": moment, **entry} for entry in history)],
            **(further or {}),
        }
        names = [str(parse_reference(tag).with_default_tag()) for tag in tags]
        return self._register(document, layers, names)

    def _register(
        self, document: Mapping[str, object], layers: Sequence[LayerRecord], tags: Sequence[str]
    ) -> Image:
        config = json.dumps(document).encode()
        catalogue = self.store.content.catalogue
        known = catalogue.image(str(Digest.of(config)))
        if known is not None and not tags:
            return known
        return catalogue.register(NewImage(config=config, layers=list(layers), tags=list(tags)))
