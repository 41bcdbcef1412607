"""Files of the web, for imports, contexts and Dockerfiles."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import trio

from runtime.errors import ComposerError
from runtime.image.registry.transport import make_client, unreachable

_STALL = 60.0
"""Seconds without data after which fetching ends."""


def _ignore(_done: int, _total: int) -> None:
    pass


async def download(
    url: str,
    write: Callable[[bytes], object],
    env: Mapping[str, str],
    on_progress: Callable[[int, int], None] = _ignore,
) -> str:
    """Give what is at ``url`` to ``write`` (in a thread), piece by piece, and return its digest. ``env`` has the
    proxies. ``on_progress`` gets the bytes so far, 0 once the server has agreed, and how many there will be (0 when it
    does not say). Raises ComposerError, and what ``write`` raises."""
    digest, done = hashlib.sha256(), 0
    try:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                make_client(urlsplit(url).netloc, verify=True, stall=_STALL, env=env)
            )
            answer = await client.send(client.build_request("GET", url), stream=True, follow_redirects=True)
            stack.push_async_callback(answer.aclose)
            if answer.status_code != httpx.codes.OK:
                raise ComposerError(f"invalid response status {answer.status_code} for {url}")
            length = answer.headers.get("Content-Length", "")
            total = int(length) if length.isascii() and length.isdecimal() else 0
            on_progress(done, total)
            async for piece in answer.aiter_raw():
                digest.update(piece)
                await trio.to_thread.run_sync(write, piece)
                done += len(piece)
                on_progress(done, total)
    except httpx.TransportError as error:
        raise unreachable(url, error) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise ComposerError(f"{url}: {error}") from None
    return f"sha256:{digest.hexdigest()}"


async def fetch_file(url: str, path: Path, env: Mapping[str, str]) -> str:
    """Put what is at ``url`` into a new file, mode 600, and return its digest. Raises ComposerError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        return await download(url, file.write, env)
