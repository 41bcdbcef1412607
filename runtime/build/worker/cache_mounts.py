"""``RUN --mount=type=cache``: directories that outlive builds, shared as the mount says.

``shared``: whoever comes gets the same directory. ``locked``: one step at a time. ``private``: a directory that
nobody else has at the moment, a new one when all are taken.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import trio

from runtime.build.steps import RunMount
from runtime.errors import ComposerError
from runtime.image.flight import KeyedLocks
from runtime.storage.removal import TRASH, discard, empty_trash
from runtime.storage.state import StateDatabase

KIND = "build-mount"


class CacheMount(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One directory. Times in ns."""

    id: str
    key: str
    """Which mounts it is for; several private ones have the same."""
    name: str
    created: int
    used: int
    uses: int = 0


@dataclass
class CacheMounts:
    """The directories below ``root`` (``<root>/<id>``), each with a record in the database."""

    root: Path
    database: StateDatabase
    _holders: dict[str, int] = field(default_factory=dict)
    _turns: KeyedLocks = field(default_factory=KeyedLocks)

    @contextlib.asynccontextmanager
    async def hold(self, mount: RunMount, origin: str, fill: Callable[[Path], None]) -> AsyncIterator[Path]:
        """The directory for a mount, kept from being pruned meanwhile. A new one begins with what ``fill`` (in a
        thread) puts into it; ``origin`` says what that is."""
        key = hashlib.sha256(repr((mount.id or mount.target, origin)).encode()).hexdigest()[:32]
        async with contextlib.AsyncExitStack() as stack:
            if mount.sharing == "locked":
                await stack.enter_async_context(self._turns.hold(key))
            directory_id = self._choose(key, mount.sharing == "private")
            self._holders[directory_id] = self._holders.get(directory_id, 0) + 1
            try:
                async with self._turns.hold(("make", directory_id)):
                    directory = self.root / directory_id
                    if not directory.is_dir():
                        await trio.to_thread.run_sync(self._make, directory, mount, fill)
                    self._note(directory_id, key, mount.id or mount.target)
                yield directory
            finally:
                self._holders[directory_id] -= 1
                if not self._holders[directory_id]:
                    del self._holders[directory_id]

    def _choose(self, key: str, is_private: bool) -> str:
        if not is_private:
            return key
        number = 0
        while self._holders.get(found := f"{key}-{number}" if number else key):
            number += 1
        return found

    def _make(self, directory: Path, mount: RunMount, fill: Callable[[Path], None]) -> None:
        """Blocking. It appears whole."""
        fresh = directory.with_name(f".{directory.name}")
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            discard(fresh, self.root / TRASH)
            fresh.mkdir()
            fill(fresh)
            os.chown(fresh, mount.uid, mount.gid)
            fresh.chmod(0o755 if mount.mode is None else mount.mode)
            os.rename(fresh, directory)
        except OSError as error:
            raise ComposerError(f"making the cache {mount.id or mount.target}: {error.strerror}") from error

    def _note(self, directory_id: str, key: str, name: str) -> None:
        now = time.time_ns()
        known = self.database.get(KIND, directory_id)
        record = msgspec.json.decode(known, type=CacheMount) if known is not None else None
        self.database.put(
            KIND,
            directory_id,
            msgspec.json.encode(
                CacheMount(
                    id=directory_id,
                    key=key,
                    name=name,
                    created=record.created if record is not None else now,
                    used=now,
                    uses=(record.uses if record is not None else 0) + 1,
                )
            ),
        )

    def all(self) -> list[CacheMount]:
        return [msgspec.json.decode(body, type=CacheMount) for _, body in self.database.items(KIND)]

    def is_held(self, directory_id: str) -> bool:
        return directory_id in self._holders

    def remove(self, ids: Collection[str]) -> None:
        """Let directories disappear that nobody holds; :meth:`sweep` gives the space back."""
        for directory_id in ids:
            if not self.is_held(directory_id):
                discard(self.root / directory_id, self.root / TRASH)
                self.database.delete(KIND, directory_id)

    def sweep(self) -> None:
        """Give back the space of what was removed, and of what a killed engine was making. Blocking."""
        empty_trash(self.root / TRASH)
