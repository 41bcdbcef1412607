"""Writing to a registry (distribution-spec v1.1, "Push"): blobs, mounts from other repositories, manifests.

A blob of up to ``_MONOLITHIC`` bytes is sent in one request; a larger one as a stream that goes on where the
registry says it has come to when the connection broke.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO
from urllib.parse import urlencode, urlsplit

import httpx
import trio

from runtime.errors import NotFound
from runtime.image.digest import Digest
from runtime.image.manifest import Descriptor, InvalidImage
from runtime.image.reference import Reference
from runtime.image.registry.authentication import join, pull_scope, push_scope
from runtime.image.registry.connection import Connection, Retry
from runtime.image.registry.responses import Unreachable

_MONOLITHIC = 1 << 20
_PIECE = 1 << 17
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")
_OPENED = frozenset((201, 202))
_WRITTEN = frozenset((200, 201, 202, 204))

Open = Callable[[], BinaryIO]


class Uploader:
    """Writes to one repository of a registry. Methods raise as those of ``Registry``."""

    def __init__(self, connection: Connection, reference: Reference) -> None:
        self._connection = connection
        self._reference = reference
        self._blobs = f"/v2/{reference.path}/blobs/"
        self._scopes = (push_scope(reference.path),)

    async def has(self, digest: Digest) -> bool:
        """Whether the repository has a blob already."""

        async def attempt() -> bool:
            answer = self._connection.response(
                "HEAD",
                f"{self._blobs}{digest}",
                self._reference,
                scopes=self._scopes,
                expected=frozenset((200, 404)),
            )
            async with answer as response:
                return response.status_code == 200

        return await self._connection.retrying(attempt)

    async def mount(self, digest: Digest, source: str) -> bool:
        """Take a blob over from the repository ``source`` of the same registry; False when it may not be."""

        async def attempt() -> bool:
            query = urlencode({"mount": digest, "from": source})
            scopes = (*self._scopes, pull_scope(source))
            async with self._connection.response(
                "POST",
                f"{self._blobs}uploads/?{query}",
                self._reference,
                {"Content-Length": "0"},
                scopes=scopes,
                expected=_OPENED,
            ) as response:
                if response.status_code == 201:
                    return True
                location = self._location(response, "")
            # What was opened instead is not needed: another request opens it with the usual token.
            async with self._connection.response(
                "DELETE",
                location,
                self._reference,
                scopes=scopes,
                expected=frozenset((*_WRITTEN, 400, 404, 405)),
            ):
                return False

        return await self._connection.retrying(attempt)

    async def upload(
        self, descriptor: Descriptor, open_blob: Open, on_progress: Callable[[int], None]
    ) -> None:
        """Send a blob. ``open_blob`` is called for each attempt."""
        failures = 0
        while True:
            reached = 0
            try:
                location = await self._begin()
                if descriptor.size <= _MONOLITHIC:
                    with open_blob() as blob:
                        data = await trio.to_thread.run_sync(blob.read)
                    await self._finish(location, descriptor.digest, data)
                    on_progress(len(data))
                    return
                while reached < descriptor.size:
                    try:
                        location = await self._send_from(
                            location, descriptor, open_blob, reached, on_progress
                        )
                        reached = descriptor.size
                    except Retry as retry:
                        location, now = await self._where(location, retry)
                        failures = 0 if now > reached else failures + 1
                        reached = now
                        await self._connection.pause_after(retry, failures)
                await self._finish(location, descriptor.digest, b"")
                return
            except Retry as retry:
                failures += 1
                await self._connection.pause_after(retry, failures)

    async def _begin(self) -> str:
        async with self._connection.response(
            "POST",
            f"{self._blobs}uploads/",
            self._reference,
            {"Content-Length": "0"},
            scopes=self._scopes,
            expected=frozenset((202,)),
        ) as response:
            return self._location(response, "")

    async def _send_from(
        self,
        location: str,
        descriptor: Descriptor,
        open_blob: Open,
        start: int,
        on_progress: Callable[[int], None],
    ) -> str:
        """Send all from ``start`` on; where to finish."""

        async def pieces() -> AsyncIterator[bytes]:
            with open_blob() as blob:
                blob.seek(start)
                sent = start
                while piece := await trio.to_thread.run_sync(blob.read, _PIECE):
                    yield piece
                    sent += len(piece)
                    on_progress(sent)

        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(descriptor.size - start),
        }
        if start:
            headers["Content-Range"] = f"{start}-{descriptor.size - 1}"
        async with self._connection.response(
            "PATCH", location, self._reference, headers, body=pieces, scopes=self._scopes, expected=_WRITTEN
        ) as response:
            return self._location(response, location)

    async def _where(self, location: str, failure: Retry) -> tuple[str, int]:
        """How far an interrupted upload has come. Raises ``failure`` when the registry does not know it any
        more."""

        async def attempt() -> tuple[str, int]:
            async with self._connection.response(
                "GET", location, self._reference, scopes=self._scopes, expected=frozenset((200, 204))
            ) as response:
                told = _RANGE.fullmatch(response.headers.get("Range", ""))
                return self._location(response, location), int(told[1]) + 1 if told and told[1] != "0" else 0

        try:
            return await self._connection.retrying(attempt)
        except (NotFound, InvalidImage):
            raise failure from None

    async def _finish(self, location: str, digest: Digest, data: bytes) -> None:
        separator = "&" if urlsplit(location).query else "?"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(data))}
        async with self._connection.response(
            "PUT",
            f"{location}{separator}{urlencode({'digest': digest})}",
            self._reference,
            headers,
            body=data,
            scopes=self._scopes,
            expected=_WRITTEN,
        ):
            pass

    async def put_manifest(self, descriptor: Descriptor, data: bytes, name: str) -> bool:
        """Name a manifest (or index): ``name`` is a tag, or its digest. Returns whether the registry lists it with
        what it is attached to, if anything."""

        async def attempt() -> bool:
            path = f"/v2/{self._reference.path}/manifests/{name}"
            headers = {"Content-Type": descriptor.media_type, "Content-Length": str(len(data))}
            async with self._connection.response(
                "PUT", path, self._reference, headers, body=data, scopes=self._scopes, expected=_WRITTEN
            ) as response:
                told = response.headers.get("Docker-Content-Digest", descriptor.digest)
                if told != descriptor.digest:
                    raise InvalidImage(
                        f"{self._connection.name} has stored the manifest as {told} instead of {descriptor.digest}"
                    )
                return "OCI-Subject" in response.headers

        return await self._connection.retrying(attempt)

    def _location(self, response: httpx.Response, default: str) -> str:
        """The URL to go on with."""
        told = response.headers.get("Location", "")
        if not told and not default:
            raise Unreachable(f"{self._connection.name} does not say where to upload to")
        return join(str(response.url), told, self._connection.name) if told else default
