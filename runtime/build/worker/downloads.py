"""Files of the web, for contexts and Dockerfiles."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import trio

from runtime.errors import ComposerError
from runtime.image.transport import make_client, unreachable

_STALL = 60.0
"""Seconds without data after which fetching ends."""


async def fetch_file(url: str, path: Path, env: Mapping[str, str]) -> str:
    """Put what is at ``url`` into a new file, mode 600, and return its digest. Raises ComposerError.

    ``env`` has the proxies.
    """
    total = hashlib.sha256()
    try:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                make_client(urlsplit(url).netloc, verify=True, stall=_STALL, env=env)
            )
            request = client.build_request("GET", url)
            answer = await client.send(request, stream=True, follow_redirects=True)
            stack.push_async_callback(answer.aclose)
            if answer.status_code != httpx.codes.OK:
                raise ComposerError(f"invalid response status {answer.status_code} for {url}")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb", buffering=0) as file:
                async for piece in answer.aiter_raw():
                    total.update(piece)
                    await trio.to_thread.run_sync(file.write, piece)
    except httpx.TransportError as error:
        raise unreachable(url, error) from None
    except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise ComposerError(f"{url}: {error}") from None
    return f"sha256:{total.hexdigest()}"
