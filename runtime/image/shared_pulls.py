"""Pulls of the same image at the same time are one."""

from __future__ import annotations

import copy

from runtime.errors import ComposerError, NotFound
from runtime.image.catalogue import Catalogue
from runtime.image.flight import KeyedLocks
from runtime.image.model import Image, Progress, PullProgress
from runtime.image.platform import Platform
from runtime.image.pull import Puller
from runtime.image.reference import Reference
from runtime.image.registry.authentication import CredentialSource

_ATTEMPTS = 3
"""How often an image is pulled that somebody removes in the same moment."""


class SharedPulls:
    """Whoever asks for what is being pulled gets its progress from then on, and its result."""

    def __init__(self, puller: Puller, catalogue: Catalogue) -> None:
        self._puller = puller
        self._catalogue = catalogue
        self._turns = KeyedLocks()
        self._watchers: dict[object, list[Progress]] = {}
        self._results: dict[object, Image | ComposerError] = {}

    async def pull(
        self,
        reference: Reference,
        platform: Platform,
        progress: Progress,
        credentials: CredentialSource | None,
        *,
        exact: bool,
    ) -> Image:
        """An image that is there at the moment in which this returns. Raises as ``Puller.pull``."""
        for _ in range(_ATTEMPTS):
            result = await self._join(reference, platform, progress, credentials, exact)
            if (image := self._catalogue.image(result.id)) is not None:
                return image  # without a checkpoint in between
        raise NotFound(f"No such image: {reference.familiar}: it is removed whenever it has been pulled")

    async def _join(
        self,
        reference: Reference,
        platform: Platform,
        progress: Progress,
        credentials: CredentialSource | None,
        exact: bool,
    ) -> Image:
        """One pull for all who ask meanwhile. Somebody may have removed the image when this returns."""
        key = (str(reference), platform, exact)
        watchers = self._watchers.setdefault(key, [])
        watchers.append(progress)

        def tell(event: PullProgress) -> None:
            for watcher in tuple(watchers):
                watcher(event)

        try:
            async with self._turns.hold(key) as waited:
                if not waited:
                    self._results.pop(key, None)
                result = self._results.get(key)
                if result is None:
                    try:
                        result = await self._puller.pull(
                            reference, platform, tell, exact=exact, credentials=credentials
                        )
                    except ComposerError as error:
                        result = error
                    self._results[key] = result
        finally:
            watchers.remove(progress)
            if not watchers:
                self._watchers.pop(key, None)
                self._results.pop(key, None)
        if isinstance(result, ComposerError):
            raise copy.copy(result)
        return result
