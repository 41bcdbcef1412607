"""A client of OCI registries, for pulling (distribution-spec v1.1): manifests, blobs, lists of tags.

What a registry sends is checked against digests and bounded in size and time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import trio

from runtime.errors import ComposerError
from runtime.image.blobs import Ingest
from runtime.image.digest import Digest
from runtime.image.manifest import ACCEPTED, MANIFEST_LIMIT, InvalidImage, decode_json
from runtime.image.reference import Reference
from runtime.image.registry.authentication import Credentials, join
from runtime.image.registry.configuration import RegistryConfiguration
from runtime.image.registry.connection import STALL, Connection, OnPause, Retry, read
from runtime.image.registry.responses import Unreachable, begins_at

_SLOWEST = 1024
"""Bytes that must come within ``STALL``: less is a stall, too."""
_PROGRESS = 1 << 16
"""Bytes after which an interrupted download has come on, and gets its attempts anew."""
_TAGS_LIMIT = 4 << 20
_PAGES_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest as it came."""

    data: bytes
    media_type: str
    digest: Digest


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class Registry:
    """One place to pull from: the registry ``domain``, or a mirror of it at ``url``.

    Connections and tokens are kept: use one object for a whole pull, and close it with :meth:`aclose`. All
    methods raise NotFound, AccessDenied, Unreachable or InvalidImage.
    """

    def __init__(
        self,
        domain: str,
        configuration: RegistryConfiguration,
        *,
        url: str = "",
        credentials: Callable[[], Credentials | None] | None = None,
    ) -> None:
        self.connection = Connection(domain, configuration, url=url, credentials=credentials)
        self.name = self.connection.name

    async def aclose(self) -> None:
        await self.connection.aclose()

    async def head(self, reference: Reference) -> Digest | None:
        """The digest that a tag stands for at present; None when the registry does not tell."""

        async def attempt() -> str:
            path = f"/v2/{reference.path}/manifests/{reference.digest or reference.tag}"
            async with self.connection.response("HEAD", path, reference, _ACCEPT) as response:
                return str(response.headers.get("Docker-Content-Digest", ""))

        text = await self.connection.retrying(attempt)
        with contextlib.suppress(ComposerError):
            return Digest.parse(text)
        return None

    async def manifest(self, reference: Reference, digest: Digest | None = None) -> Fetched:
        """The manifest or index of a reference, or with ``digest`` another one of its repository; checked."""
        wanted = digest or reference.digest
        path = f"/v2/{reference.path}/manifests/{wanted or reference.tag}"

        async def attempt() -> Fetched:
            async with self.connection.response("GET", path, reference, _ACCEPT) as response:
                data = await read(response, MANIFEST_LIMIT, "the manifest")
            promised = wanted
            if promised is None:
                with contextlib.suppress(ComposerError):
                    promised = Digest.parse(response.headers.get("Docker-Content-Digest", ""))
            _check(data, promised, f"the manifest of {reference.familiar}")
            return Fetched(data, response.headers.get("Content-Type", ""), promised or Digest.of(data))

        return await self.connection.retrying(attempt)

    async def tags(self, reference: Reference) -> list[str]:
        """All tags of a repository, in the registry's order. Raises InvalidImage when there is no end to them."""
        found: list[str] = []
        path = f"/v2/{reference.path}/tags/list"

        async def attempt() -> tuple[bytes, str]:
            async with self.connection.response("GET", path, reference) as response:
                data = await read(response, _TAGS_LIMIT, "the list of tags")
            following = response.links.get("next", {}).get("url", "")
            return data, join(str(response.url), following, self.name) if following else ""

        for _ in range(_PAGES_LIMIT):
            data, path = await self.connection.retrying(attempt)
            page = decode_json(data, _Tags, _TAGS_LIMIT, "the list of tags")
            found += page.tags or ()
            if not path:
                return found
        raise InvalidImage(f"{self.name} has more tags of {reference.path} than can be pulled at once")

    async def blob(self, reference: Reference, digest: Digest, limit: int) -> bytes:
        """A small blob (at most ``limit`` bytes); checked."""

        async def attempt() -> bytes:
            path = f"/v2/{reference.path}/blobs/{digest}"
            async with self.connection.response("GET", path, reference) as response:
                data = await read(response, limit, "the image's configuration")
            _check(data, digest, f"the configuration of {reference.familiar}")
            return data

        return await self.connection.retrying(attempt)

    async def download(
        self,
        reference: Reference,
        ingest: Ingest,
        on_progress: Callable[[int], None] | None = None,
        on_pause: OnPause | None = None,
    ) -> None:
        """Write a blob into ``ingest`` and commit it, going on where an earlier attempt or pull ended. ``on_pause`` is
        told of failures instead of the connection's."""
        descriptor = ingest.descriptor
        failures = mismatches = 0
        while True:
            start = ingest.offset
            try:
                if not ingest.is_complete:
                    await self._download_once(reference, ingest, on_progress)
                if not ingest.is_complete:
                    message = f"{self.name} sent {ingest.offset} bytes of {descriptor.size}"
                    raise Retry(InvalidImage(message))
                try:
                    await trio.to_thread.run_sync(ingest.commit)
                    return
                except InvalidImage as error:
                    # Bytes of an earlier attempt may be to blame: once more from the start, then it is a lie.
                    mismatches += 1
                    if mismatches == 2:
                        raise
                    raise Retry(error) from None
            except Retry as retry:
                failures = 0 if ingest.offset >= start + _PROGRESS else failures + 1
                await self.connection.pause_after(retry, failures, on_pause)

    async def _download_once(
        self, reference: Reference, ingest: Ingest, on_progress: Callable[[int], None] | None
    ) -> None:
        path = f"/v2/{reference.path}/blobs/{ingest.descriptor.digest}"
        headers = {"Range": f"bytes={ingest.offset}-"} if ingest.offset else {}
        async with self.connection.response("GET", path, reference, headers) as response:
            if response.status_code != 206 or not begins_at(response, ingest.offset):
                ingest.restart()
            if response.status_code == 416:
                raise Retry(InvalidImage(f"{self.name} cannot go on with {ingest.descriptor.digest}"))
            since, received = trio.current_time(), 0
            async for chunk in response.aiter_raw():
                ingest.write(chunk)
                received += len(chunk)
                if on_progress is not None:
                    on_progress(ingest.offset)
                if trio.current_time() - since > STALL:
                    if received < _SLOWEST:
                        raise Retry(Unreachable(f"{self.name} stalled"))
                    since, received = trio.current_time(), 0


_ACCEPT = {"Accept": ", ".join(ACCEPTED)}


def _check(data: bytes, digest: Digest | None, what: str) -> None:
    if digest is not None:
        hasher = digest.hasher()
        hasher.update(data)
        if not digest.matches(hasher):
            raise Retry(InvalidImage(f"{what} does not match its digest {digest}"), attempts=2)
