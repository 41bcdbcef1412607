"""A client of OCI registries, for pulling (distribution-spec v1.1): manifests, blobs, redirects, retries.

What a registry sends is checked against digests and bounded in size and time. Credentials go to the registry
and its token server only, never on to where a redirect leads.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import httpx
import trio

from runtime.errors import ComposerError
from runtime.image.authentication import (
    basic,
    parse_challenges,
    parse_token,
    same_origin,
    token_url,
)
from runtime.image.blobs import Ingest
from runtime.image.configuration import Credentials, RegistryConfiguration
from runtime.image.digest import Digest
from runtime.image.manifest import ACCEPTED, MANIFEST_LIMIT, InvalidImage
from runtime.image.reference import DEFAULT_DOMAIN, Reference
from runtime.image.responses import (
    AccessDenied,
    Unreachable,
    begins_at,
    describe_failure,
    is_retried,
    retry_after,
)
from runtime.image.transport import base_urls, is_wrong_scheme, make_client, unreachable

_DOCKER_HUB_HOST = "registry-1.docker.io"
_REDIRECTS = 8
_STALL = 25.0
"""Seconds without data after which a connection is given up."""
_SLOWEST = 1024
"""Bytes that must come within ``_STALL``: less is a stall, too."""
_PROGRESS = 1 << 16
"""Bytes after which an interrupted download has come on, and gets its attempts anew."""
_SMALL_DOCUMENT = 60.0
"""Seconds for a manifest, a configuration or a token."""
_CONNECT_ATTEMPTS = 3
_TOKEN_LIMIT = 1 << 20

T = TypeVar("T")


class _Retry(Exception):
    """An attempt failed in a way that may pass; ``attempts`` in a row are enough."""

    def __init__(self, error: ComposerError, *, pause: float | None = None, attempts: int = 1000) -> None:
        super().__init__(error.message)
        self.error = error
        self.pause = pause
        self.attempts = attempts


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest as it came."""

    data: bytes
    media_type: str
    digest: Digest


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
        credentials: Credentials | None = None,
    ) -> None:
        host = _DOCKER_HUB_HOST if domain == DEFAULT_DOMAIN else domain
        self.name = url or domain
        """What to call it in messages."""
        self._attempts = configuration.attempts
        self._bases = (url,) if url else base_urls(host, configuration)
        self._credentials = credentials
        self._tokens: dict[str, tuple[str, float]] = {}
        self._token_lock = trio.Lock()
        netloc = urlsplit(self._bases[0]).netloc
        self._client = make_client(netloc, verify=not configuration.is_insecure(netloc), stall=_STALL)

    async def aclose(self) -> None:
        await self._client.aclose()

    # What is asked

    async def head(self, reference: Reference) -> Digest | None:
        """The digest that a tag stands for at present; None when the registry does not tell."""

        async def attempt() -> str:
            path = f"/v2/{reference.path}/manifests/{reference.digest or reference.tag}"
            async with self._response("HEAD", path, reference, _ACCEPT) as response:
                return str(response.headers.get("Docker-Content-Digest", ""))

        text = await self._retrying(attempt)
        with contextlib.suppress(ComposerError):
            return Digest.parse(text)
        return None

    async def manifest(self, reference: Reference, digest: Digest | None = None) -> Fetched:
        """The manifest or index of a reference, or with ``digest`` another one of its repository; checked."""
        wanted = digest or reference.digest
        path = f"/v2/{reference.path}/manifests/{wanted or reference.tag}"

        async def attempt() -> Fetched:
            async with self._response("GET", path, reference, _ACCEPT) as response:
                data = await _read(response, MANIFEST_LIMIT, "the manifest")
            promised = wanted
            if promised is None:
                with contextlib.suppress(ComposerError):
                    promised = Digest.parse(response.headers.get("Docker-Content-Digest", ""))
            _check(data, promised, f"the manifest of {reference.familiar}")
            return Fetched(data, response.headers.get("Content-Type", ""), promised or Digest.of(data))

        return await self._retrying(attempt)

    async def blob(self, reference: Reference, digest: Digest, limit: int) -> bytes:
        """A small blob (at most ``limit`` bytes); checked."""

        async def attempt() -> bytes:
            path = f"/v2/{reference.path}/blobs/{digest}"
            async with self._response("GET", path, reference, {}) as response:
                data = await _read(response, limit, "the image's configuration")
            _check(data, digest, f"the configuration of {reference.familiar}")
            return data

        return await self._retrying(attempt)

    async def download(
        self, reference: Reference, ingest: Ingest, on_progress: Callable[[int], None] | None = None
    ) -> None:
        """Write a blob into ``ingest`` and commit it, going on where an earlier attempt or pull ended."""
        descriptor = ingest.descriptor
        failures = mismatches = 0
        while True:
            start = ingest.offset
            try:
                if not ingest.is_complete:
                    await self._download_once(reference, ingest, on_progress)
                if not ingest.is_complete:
                    message = f"{self.name} sent {ingest.offset} bytes of {descriptor.size}"
                    raise _Retry(InvalidImage(message))
                try:
                    await trio.to_thread.run_sync(ingest.commit)
                    return
                except InvalidImage as error:
                    # Bytes of an earlier attempt may be to blame: once more from the start, then it is a lie.
                    mismatches += 1
                    if mismatches == 2:
                        raise
                    raise _Retry(error) from None
            except _Retry as retry:
                failures = 0 if ingest.offset >= start + _PROGRESS else failures + 1
                if failures >= min(self._attempts, retry.attempts):
                    raise retry.error from None
                await trio.sleep(_pause(max(failures, 1), retry.pause))

    async def _download_once(
        self, reference: Reference, ingest: Ingest, on_progress: Callable[[int], None] | None
    ) -> None:
        path = f"/v2/{reference.path}/blobs/{ingest.descriptor.digest}"
        headers = {"Range": f"bytes={ingest.offset}-"} if ingest.offset else {}
        async with self._response("GET", path, reference, headers) as response:
            if response.status_code != 206 or not begins_at(response, ingest.offset):
                ingest.restart()
            if response.status_code == 416:
                raise _Retry(InvalidImage(f"{self.name} cannot go on with {ingest.descriptor.digest}"))
            since, received = trio.current_time(), 0
            async for chunk in response.aiter_raw(1 << 18):
                ingest.write(chunk)
                received += len(chunk)
                if on_progress is not None:
                    on_progress(ingest.offset)
                if trio.current_time() - since > _STALL:
                    if received < _SLOWEST:
                        raise _Retry(Unreachable(f"{self.name} stalled"))
                    since, received = trio.current_time(), 0

    # How it is asked

    async def _retrying(self, attempt: Callable[[], Awaitable[T]]) -> T:
        failures = 0
        while True:
            try:
                with trio.fail_after(_SMALL_DOCUMENT):
                    return await attempt()
            except trio.TooSlowError:
                retry = _Retry(Unreachable(f"{self.name} stalled"), attempts=2)
            except _Retry as error:
                retry = error
            failures += 1
            if failures >= min(self._attempts, retry.attempts):
                raise retry.error from None
            await trio.sleep(_pause(failures, retry.pause))

    @contextlib.asynccontextmanager
    async def _response(
        self, method: str, path: str, reference: Reference, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx.Response]:
        """An answer whose body is yet to be read, its status being good (or 416)."""
        response = await self._open(method, path, reference, headers)
        try:
            yield response
        except httpx.TimeoutException:
            raise _Retry(Unreachable(f"{self.name} stalled")) from None
        except (httpx.TransportError, httpx.StreamError) as error:
            raise _Retry(Unreachable(f"{self.name} broke the connection: {error}")) from None
        finally:
            with trio.CancelScope(shield=True):
                await response.aclose()

    async def _open(
        self, method: str, path: str, reference: Reference, headers: Mapping[str, str]
    ) -> httpx.Response:
        authorization = self._authorization(reference)
        for _ in range(3):
            response = await self._send(method, path, {**headers, **authorization})
            if response.status_code in (200, 206, 416):
                return response
            try:
                body = b"" if method == "HEAD" else await _read(response, 1 << 16, "the answer")
            except (httpx.HTTPError, httpx.StreamError, InvalidImage):
                body = b""
            finally:
                await response.aclose()
            if response.status_code == 401:
                renewed = await self._authenticate(response, reference, authorization)
                if renewed:
                    authorization = renewed
                    continue
            error = describe_failure(response.status_code, body, path, reference, self.name)
            if is_retried(response.status_code):
                raise _Retry(error, pause=retry_after(response.headers.get("Retry-After", "")))
            raise error
        raise AccessDenied.of(reference)

    async def _send(self, method: str, path: str, headers: Mapping[str, str]) -> httpx.Response:
        """Send to the first base URL that can be spoken to, and follow redirects."""
        for base in self._bases:
            try:
                response = await self._follow(method, base + path, headers)
            except httpx.TransportError as error:
                if base != self._bases[-1] and is_wrong_scheme(error):
                    continue
                if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
                    raise _Retry(unreachable(self.name, error), attempts=_CONNECT_ATTEMPTS) from None
                raise _Retry(unreachable(self.name, error)) from None
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise Unreachable(f"{self.name}: invalid address: {error}") from None
            if base != self._bases[-1] and response.status_code == 400 and base.startswith("http:"):
                # "Client sent an HTTP request to an HTTPS server"
                await response.aclose()
                continue
            self._bases = (base,)
            return response
        raise Unreachable(f"{self.name} could not be reached")

    async def _follow(self, method: str, url: str, headers: Mapping[str, str]) -> httpx.Response:
        origin = url
        for _ in range(_REDIRECTS):
            request = self._client.build_request(method, url, headers=dict(headers))
            response = await self._client.send(request, stream=True)
            if response.status_code not in (301, 302, 303, 307, 308):
                return response
            target = urljoin(url, response.headers.get("Location", ""))
            await response.aclose()
            if urlsplit(target).scheme not in ("http", "https"):
                raise Unreachable(f"{self.name} redirects to an invalid address")
            if url.startswith("https:") and target.startswith("http:"):
                raise Unreachable(f"{self.name} redirects to {urlsplit(target).hostname} without TLS")
            url = target
            if not same_origin(origin, url):
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
        raise Unreachable(f"{self.name} redirects without end")

    # Authorization

    def _authorization(self, reference: Reference) -> dict[str, str]:
        value, expiry = self._tokens.get(reference.path, ("", 0.0))
        return {"Authorization": value} if value and time.monotonic() < expiry else {}

    async def _authenticate(
        self, response: httpx.Response, reference: Reference, used: Mapping[str, str]
    ) -> dict[str, str]:
        """A new Authorization after a 401; {} when there is none to be had."""
        async with self._token_lock:
            present = self._authorization(reference)
            if present and present != used:
                return present  # another layer's request has just got it
            challenges = parse_challenges(response.headers.get("WWW-Authenticate", ""))
            schemes = {challenge.scheme: challenge for challenge in challenges}
            if "bearer" in schemes:
                url = token_url(schemes["bearer"], reference.path, self._bases[0])
                value, lifetime = await self._fetch_token(url, reference)
            elif "basic" in schemes and self._credentials is not None:
                value, lifetime = basic(self._credentials), 3600.0
            else:
                return {}
            if used.get("Authorization") == value:
                return {}
            self._tokens[reference.path] = (value, time.monotonic() + lifetime * 0.9)
            return {"Authorization": value}

    async def _fetch_token(self, url: str, reference: Reference) -> tuple[str, float]:
        headers = {"Authorization": basic(self._credentials)} if self._credentials is not None else {}
        try:
            response = await self._follow("GET", url, headers)
            try:
                body = await _read(response, _TOKEN_LIMIT, "the token")
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise _Retry(unreachable(f"{self.name} (token server)", error)) from None
        except httpx.InvalidURL:
            raise Unreachable(f"{self.name} asks for a token from an invalid address") from None
        if response.status_code in (401, 403):
            raise AccessDenied.of(reference)
        if response.status_code != 200:
            failure = ComposerError(f"the token server of {self.name} answered {response.status_code}")
            raise _Retry(failure) if is_retried(response.status_code) else failure
        token = parse_token(body)
        return f"Bearer {token.value}", token.expires_in


_ACCEPT = {"Accept": ", ".join(ACCEPTED)}


def _pause(failures: int, asked: float | None) -> float:
    """Seconds until the next attempt: what the server asks for, else doubling from 0.2 s, with some
    jitter."""
    if asked is not None:
        return asked
    return min(0.2 * 2.0 ** (failures - 1), 10.0) * random.uniform(0.75, 1.25)


async def _read(response: httpx.Response, limit: int, what: str) -> bytes:
    data = bytearray()
    async for chunk in response.aiter_raw(1 << 16):
        data += chunk
        if len(data) > limit:
            raise InvalidImage(f"{what} is larger than {limit} bytes")
    return bytes(data)


def _check(data: bytes, digest: Digest | None, what: str) -> None:
    if digest is not None:
        hasher = digest.hasher()
        hasher.update(data)
        if not digest.matches(hasher):
            raise _Retry(InvalidImage(f"{what} does not match its digest {digest}"), attempts=2)
