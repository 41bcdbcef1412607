"""``ADD https://...``: what is at a URL, fetched again only when the server says that it has changed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import posixpath
import secrets
import shutil
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import trio

from runtime.build.steps import FetchSource
from runtime.image.flight import KeyedLocks
from runtime.image.registry.transport import make_client, unreachable
from runtime.storage.files import directory_size, write_atomically

_STALL = 60.0
"""Seconds without data after which fetching ends."""


class Fetched:
    """Files that were fetched: ``<root>/<hash of the URL>/<digest>/<name>``, with a note of the last one beside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._locks = KeyedLocks()

    def all(self) -> list[tuple[str, str, int, int, int]]:
        """Of each URL: what it is known by, its file's name, bytes, and ns when it was fetched and last asked for.
        Blocking."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for place in self.root.iterdir():
                with contextlib.suppress(OSError):
                    names = [path.name for path in place.glob("*/*")]
                    note, made = (place / "note.json").stat(), place.stat()
                    size = directory_size(place)
                    name = names[0] if names else ""
                    found.append((place.name, name, size, made.st_mtime_ns, note.st_mtime_ns))
        return found

    def remove(self, ids: Iterable[str]) -> None:
        """Forget what URLs had. Blocking."""
        for key in ids:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.root / key / "note.json")
            shutil.rmtree(self.root / key, ignore_errors=True)

    async def fetch(self, step: FetchSource) -> Path:
        """A directory with nothing but the file, named as the URL's path ends, mode 600. Raises ComposerErrors."""
        key = hashlib.sha256(step.url.encode()).hexdigest()[:32]
        async with self._locks.hold(key):
            return await self._fetch(step, self.root / key)

    async def _fetch(self, step: FetchSource, place: Path) -> Path:
        parts = urlsplit(step.url)
        name = posixpath.basename(unquote(parts.path)) or "file"
        note = _note(place / "note.json")
        known = _place(place, note.get("digest", ""))
        if note and step.checksum == note.get("digest"):
            os.utime(place / "note.json")
        if note and (known / name).is_file() and step.checksum == note.get("digest"):
            return known
        headers = {}
        if note and (known / name).is_file():
            if etag := note.get("etag"):
                headers["If-None-Match"] = etag
            elif changed := note.get("changed"):
                headers["If-Modified-Since"] = changed
        total = hashlib.sha256()
        await trio.to_thread.run_sync(lambda: place.mkdir(mode=0o700, parents=True, exist_ok=True))
        fresh = place / f".{secrets.token_hex(6)}"
        try:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(
                    make_client(parts.netloc, verify=True, stall=_STALL, env=os.environ)
                )
                request = client.build_request("GET", step.url, headers=headers)
                answer = await client.send(request, stream=True, follow_redirects=True)
                stack.push_async_callback(answer.aclose)
                if answer.status_code == httpx.codes.NOT_MODIFIED and headers:
                    _check(step, note.get("digest", ""))
                    os.utime(place / "note.json")
                    return known
                if answer.status_code != httpx.codes.OK:
                    raise step.place.error(
                        f"invalid response status {answer.status_code} for {step.url}", step.url
                    )
                fresh.mkdir(mode=0o755)
                with io.FileIO(
                    os.open(fresh / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
                ) as file:
                    async for piece in answer.aiter_raw():
                        total.update(piece)
                        await trio.to_thread.run_sync(file.write, piece)
            digest = f"sha256:{total.hexdigest()}"
            _check(step, digest)
            kept = {
                "digest": digest,
                "etag": answer.headers.get("etag", ""),
                "changed": answer.headers.get("last-modified", ""),
            }
            known = _place(place, digest)
            # Other builds may read what was there before: it stays, until it is pruned.
            with contextlib.suppress(OSError):
                os.rename(fresh, known)
            write_atomically(place / "note.json", json.dumps(kept).encode())
            return known
        except httpx.TransportError as error:
            raise unreachable(step.url, error) from None
        except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise step.place.error(f"{step.url}: {error}", step.url) from None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _place(place: Path, digest: str) -> Path:
    return place / (digest.removeprefix("sha256:")[:32] or "nothing")


def _check(step: FetchSource, digest: str) -> None:
    if step.checksum and step.checksum != digest:
        raise step.place.error(f"digest mismatch {digest}: {step.checksum}", "--checksum")


def _note(path: Path) -> dict[str, str]:
    try:
        note = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
