"""One registry to speak to: connections, authorization, redirects, retries (distribution-spec v1.1).

Credentials go to the registry and its token server only, never on to where a redirect or an upload's location
leads. What fails in passing (drops, stalls, 429, 5xx) is tried again with growing pauses.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
import trio

from runtime.errors import ComposerError
from runtime.image.manifest import InvalidImage
from runtime.image.reference import DEFAULT_DOMAIN, Reference, parse_reference
from runtime.image.registry.authentication import (
    Credentials,
    basic,
    join,
    parse_challenges,
    parse_token,
    pull_scope,
    push_scope,
    refresh_form,
    same_origin,
    token_url,
)
from runtime.image.registry.configuration import RegistryConfiguration
from runtime.image.registry.responses import (
    AccessDenied,
    Unauthorized,
    Unreachable,
    describe_failure,
    is_retried,
    retry_after,
)
from runtime.image.registry.transport import base_urls, is_wrong_scheme, make_client, unreachable

STALL = 25.0
"""Seconds without data after which a connection is given up."""
FIRST_PAUSE = 0.2
"""Seconds until the second attempt."""
_NOTICED = 0.9
"""Seconds from which on a pause is told."""
_DOCKER_HUB_HOST = "registry-1.docker.io"
_REDIRECTS = 8
_SMALL_DOCUMENT = 60.0
"""Seconds for a manifest, a configuration or a token."""
_CONNECT_ATTEMPTS = 3
_TOKEN_LIMIT = 1 << 20
_READ = frozenset((200, 206, 416))

T = TypeVar("T")
Body = bytes | Callable[[], AsyncIterator[bytes]]
"""What is sent: as it is, or made anew for each attempt (then ``Content-Length`` has to be among the
headers)."""


class Retry(Exception):
    """An attempt failed in a way that may pass; ``attempts`` in a row are enough."""

    def __init__(self, error: ComposerError, *, pause: float | None = None, attempts: int = 1000) -> None:
        super().__init__(error.message)
        self.error = error
        self.pause = pause
        self.attempts = attempts


OnPause = Callable[[ComposerError, float], None]
"""Told why an attempt failed, and how many seconds it takes until the next one."""


def _ignore(_error: ComposerError, _seconds: float) -> None:
    pass


class Connection:
    """The registry ``domain``, or a mirror of it at ``url``. Sockets and tokens are kept until
    :meth:`aclose`. ``credentials`` is called once, in a thread, when the registry first wants to know who asks."""

    on_pause: OnPause

    def __init__(
        self,
        domain: str,
        configuration: RegistryConfiguration,
        *,
        url: str = "",
        credentials: Callable[[], Credentials | None] | None = None,
    ) -> None:
        host = _DOCKER_HUB_HOST if domain == DEFAULT_DOMAIN else domain
        self.name = url or domain
        """What to call it in messages."""
        self.attempts = configuration.attempts
        self.on_pause = _ignore
        self._bases = (url,) if url else base_urls(host, configuration)
        self._find_credentials = credentials
        self._credentials: Credentials | None = None
        self._no_credentials = ""
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self._token_lock = trio.Lock()
        netloc = urlsplit(self._bases[0]).netloc
        self._client = make_client(
            netloc, verify=not configuration.is_insecure(netloc), stall=STALL, env=configuration.env
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def login(self) -> None:
        """Make sure that the registry accepts the credentials. Raises Unauthorized when it does not, or wants
        none of them but a protocol that is not known here."""
        anonymous = parse_reference("login")

        async def attempt() -> None:
            try:
                async with self.response("GET", "/v2/", anonymous, scopes=("",)):
                    pass
            except AccessDenied as error:
                raise Unauthorized(
                    "unauthorized: incorrect username or password", hint=f"{self.name} does not accept them."
                ) from error

        await self.retrying(attempt)

    async def retrying(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Do something small until it succeeds, or fails in a way that stays."""
        failures = 0
        while True:
            try:
                with trio.fail_after(_SMALL_DOCUMENT):
                    return await attempt()
            except trio.TooSlowError:
                retry = Retry(Unreachable(f"{self.name} stalled"), attempts=2)
            except Retry as error:
                retry = error
            failures += 1
            await self.pause_after(retry, failures)

    async def pause_after(self, retry: Retry, failures: int, on_pause: OnPause | None = None) -> None:
        """Sleep before the next attempt; raises what ``retry`` is about when ``failures`` are enough."""
        if failures >= min(self.attempts, retry.attempts):
            raise retry.error from None
        pause = _pause(max(failures, 1), retry.pause)
        if pause >= _NOTICED:
            (on_pause or self.on_pause)(retry.error, pause)
        await trio.sleep(pause)

    @contextlib.asynccontextmanager
    async def response(
        self,
        method: str,
        path: str,
        reference: Reference,
        headers: Mapping[str, str] | None = None,
        *,
        body: Body = b"",
        scopes: tuple[str, ...] = (),
        expected: frozenset[int] = _READ,
    ) -> AsyncIterator[httpx.Response]:
        """An answer whose body is yet to be read, its status being one of ``expected``.

        ``path`` is below the registry, or an URL that it gave; ``scopes`` is what a token has to allow (pulling
        ``reference`` unless told otherwise). Raises Retry and ComposerErrors.
        """
        wanted = scopes or (pull_scope(reference.path),)
        response = await self._open(method, path, reference, headers or {}, body, wanted, expected)
        try:
            yield response
        except httpx.TimeoutException:
            raise Retry(Unreachable(f"{self.name} stalled")) from None
        except (httpx.TransportError, httpx.StreamError) as error:
            raise Retry(Unreachable(f"{self.name} broke the connection: {error}")) from None
        finally:
            with trio.CancelScope(shield=True):
                await response.aclose()

    async def _open(
        self,
        method: str,
        path: str,
        reference: Reference,
        headers: Mapping[str, str],
        body: Body,
        scopes: tuple[str, ...],
        expected: frozenset[int],
    ) -> httpx.Response:
        authorization = self._authorization(scopes)
        for _ in range(3):
            response = await self._send(method, path, {**headers, **authorization}, body)
            if response.status_code in expected:
                return response
            try:
                text = b"" if method == "HEAD" else await read(response, 1 << 16, "the answer")
            except (httpx.HTTPError, httpx.StreamError, InvalidImage):
                text = b""
            finally:
                await response.aclose()
            if response.status_code == 401:
                renewed = await self._authenticate(response, reference, scopes, authorization)
                if renewed:
                    authorization = renewed
                    continue
            if response.status_code in (401, 403):
                raise self._denied(reference, scopes)
            error = describe_failure(response.status_code, text, path, reference, self.name)
            if is_retried(response.status_code):
                raise Retry(error, pause=retry_after(response.headers.get("Retry-After", ""), time.time()))
            raise error
        raise self._denied(reference, scopes)

    async def _send(self, method: str, path: str, headers: Mapping[str, str], body: Body) -> httpx.Response:
        """Send to the first base URL that can be spoken to, and follow redirects."""
        secure: httpx.TransportError | None = None
        for base in self._bases:
            url = path if "://" in path else base + path
            try:
                response = await self._follow(method, url, base, headers, body)
            except httpx.TransportError as error:
                if base != self._bases[-1] and is_wrong_scheme(error):
                    secure = error
                    continue
                if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
                    raise Retry(unreachable(self.name, error), attempts=_CONNECT_ATTEMPTS) from None
                raise Retry(unreachable(self.name, error)) from None
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise Unreachable(f"{self.name}: invalid address: {error}") from None
            if base != self._bases[-1] and response.status_code == 400 and base.startswith("http:"):
                # "Client sent an HTTP request to an HTTPS server"
                await response.aclose()
                continue
            if secure is not None and response.status_code == 400:
                # It does speak TLS, but not with us: that is what to tell.
                await response.aclose()
                raise Retry(unreachable(self.name, secure), attempts=_CONNECT_ATTEMPTS)
            self._bases = (base,)
            return response
        raise Unreachable(f"{self.name} could not be reached")

    async def _follow(
        self, method: str, url: str, origin: str, headers: Mapping[str, str], body: Body = b""
    ) -> httpx.Response:
        """The answer after all redirects. ``headers`` keep their Authorization at ``origin`` only."""
        for _ in range(_REDIRECTS):
            if urlsplit(url).scheme not in ("http", "https"):
                raise Unreachable(f"{self.name} redirects to an invalid address")
            if origin.startswith("https:") and url.startswith("http:"):
                raise Unreachable(f"{self.name} redirects to {urlsplit(url).hostname} without TLS")
            if not same_origin(origin, url):
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            content = body if isinstance(body, bytes) else body()
            request = self._client.build_request(method, url, headers=dict(headers), content=content or None)
            response = await self._client.send(request, stream=True)
            if response.status_code not in (301, 302, 303, 307, 308):
                return response
            await response.aclose()
            url = join(url, response.headers.get("Location", ""), self.name)
        raise Unreachable(f"{self.name} redirects again and again")

    # Authorization

    def _authorization(self, scopes: tuple[str, ...]) -> dict[str, str]:
        value, expiry = self._tokens.get(scopes, ("", 0.0))
        return {"Authorization": value} if value and time.monotonic() < expiry else {}

    async def _authenticate(
        self,
        response: httpx.Response,
        reference: Reference,
        scopes: tuple[str, ...],
        used: Mapping[str, str],
    ) -> dict[str, str]:
        """A new Authorization after a 401; {} when there is none to be had."""
        async with self._token_lock:
            present = self._authorization(scopes)
            if present and present != used:
                return present  # another layer's request has just got it
            await self._identify()
            challenges = parse_challenges(response.headers.get("WWW-Authenticate", ""))
            schemes = {challenge.scheme: challenge for challenge in challenges}
            if "bearer" in schemes:
                url = token_url(schemes["bearer"], scopes, self._bases[0])
                value, lifetime = await self._fetch_token(url, reference, scopes)
            elif "basic" in schemes and self._credentials is not None:
                value, lifetime = basic(self._credentials), 3600.0
            else:
                return {}
            if used.get("Authorization") == value:
                return {}
            self._tokens[scopes] = (value, time.monotonic() + lifetime * 0.9)
            return {"Authorization": value}

    async def _identify(self) -> None:
        """Find out once who one is. A registry may answer those who are nobody, too."""
        find, self._find_credentials = self._find_credentials, None
        if find is not None:
            try:
                self._credentials = await trio.to_thread.run_sync(find, abandon_on_cancel=True)
            except ComposerError as error:
                self._no_credentials = error.message

    def _denied(self, reference: Reference, scopes: tuple[str, ...]) -> AccessDenied:
        user = self._credentials.username or "an account" if self._credentials is not None else ""
        error = AccessDenied.of(reference, is_write=push_scope(reference.path) in scopes, user=user)
        if self._no_credentials:
            error.hint = f"There are no credentials: {self._no_credentials}"
        return error

    async def _fetch_token(
        self, url: str, reference: Reference, scopes: tuple[str, ...]
    ) -> tuple[str, float]:
        method, headers, form = "GET", {}, b""
        if self._credentials is not None and self._credentials.identity_token:
            method, headers = "POST", {"Content-Type": "application/x-www-form-urlencoded"}
            url, form = refresh_form(url, self._credentials.identity_token)
        elif self._credentials is not None:
            headers = {"Authorization": basic(self._credentials)}
        try:
            response = await self._follow(method, url, url, headers, form)
            try:
                body = await read(response, _TOKEN_LIMIT, "the token")
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise Retry(unreachable(f"{self.name} (token server)", error)) from None
        except httpx.InvalidURL:
            raise Unreachable(f"{self.name} asks for a token from an invalid address") from None
        if response.status_code in (401, 403):
            raise self._denied(reference, scopes)
        if response.status_code != 200:
            failure = ComposerError(f"the token server of {self.name} answered {response.status_code}")
            raise Retry(failure) if is_retried(response.status_code) else failure
        token = parse_token(body)
        return f"Bearer {token.value}", token.expires_in


def _pause(failures: int, asked: float | None) -> float:
    """Seconds until the next attempt: what the server asks for, else doubling from ``FIRST_PAUSE``,
    with some jitter."""
    if asked is not None:
        return asked
    return min(FIRST_PAUSE * 2.0 ** (failures - 1), 10.0) * random.uniform(0.75, 1.25)


async def read(response: httpx.Response, limit: int, what: str) -> bytes:
    """A whole body of at most ``limit`` bytes. Raises InvalidImage when it is longer."""
    data = bytearray()
    async for chunk in response.aiter_raw(1 << 16):
        data += chunk
        if len(data) > limit:
            raise InvalidImage(f"{what} is larger than {limit} bytes")
    return bytes(data)
