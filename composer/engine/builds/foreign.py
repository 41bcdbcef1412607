"""Base images of other platforms than this machine's: a name means an image of one platform, so these have none."""

from __future__ import annotations

from dataclasses import dataclass

from composer.engine.projects.parts import Parts
from runtime.errors import NotFound
from runtime.image.flight import KeyedLocks
from runtime.image.model import Image
from runtime.image.registry.authentication import CredentialSource
from runtime.storage.state import StateDatabase

_KIND = "foreign-image"


@dataclass
class ForeignImages:
    """``database`` remembers which image a name and a platform mean."""

    parts: Parts
    database: StateDatabase

    def __post_init__(self) -> None:
        self._locks = KeyedLocks()

    async def image(
        self, reference: str, platform: str, credentials: CredentialSource | None, *, pull: bool
    ) -> Image:
        """What ``reference`` is for ``platform``, pulled when it has to be; the name goes on meaning what it meant.
        Raises ComposerErrors."""
        images = self.parts.images
        wanted = images.platform_of(platform)
        here = images.resolve(reference, platform)
        if here is not None and here.platform == wanted and not pull:
            return here
        named = images.resolve(reference)
        key = f"{reference} {wanted}"
        async with self._locks.hold(reference):
            known = self.database.get(_KIND, key)
            if known is not None and not pull and (image := images.image(known.decode())) is not None:
                return image
            await self.parts.pull_image(reference, platform, lambda *_: None, credentials)
            image = images.get(reference, platform)
            if image.platform != wanted:
                raise NotFound(f"{reference} is for {image.platform}: there is none for {platform}")
            self.database.put(_KIND, key, image.id.encode())
            if here is None:
                images.untag(image, reference)
            if named is not None and images.resolve(reference) is None and images.image(named.id) is not None:
                images.tag(named.id, reference)
            return image
