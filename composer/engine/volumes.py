"""Volumes: what the runtime keeps as directories, with the names, labels and options people gave them."""

from __future__ import annotations

import builtins
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import trio

from composer.engine.events import Events
from composer.engine.model import VolumeRecord
from composer.engine.records import Records
from runtime.crash_points import crash_point
from runtime.errors import Conflict, NotFound
from runtime.storage.state import StateDatabase
from runtime.storage.volumes import (
    Bind,
    Directory,
    VolumeDirectories,
    VolumeSource,
    parse_options,
    validate_name,
)

log = logging.getLogger(__name__)

_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
"""As :meth:`Volumes.create` names them."""


class Volumes:
    """The engine's volumes. ``users`` answers which containers (names) use a volume."""

    def __init__(
        self,
        database: StateDatabase,
        directories: VolumeDirectories,
        events: Events,
        users: Callable[[str], Iterable[str]],
    ) -> None:
        self._records = Records(database, "volume", VolumeRecord)
        self._directories = directories
        self._events = events
        self._users = users

    def create(
        self,
        name: str = "",
        driver: str = "local",
        driver_opts: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        *,
        is_anonymous: bool = False,
    ) -> VolumeRecord:
        """Make a volume, or return the one of that name when its options agree. "" makes up a name."""
        is_anonymous = is_anonymous or not name
        name = validate_name(name) if name else secrets.token_hex(32)
        options = dict(driver_opts or {})
        parse_options(driver, options)
        if existing := self._records.get(name):
            if existing.driver_opts != options and options:
                raise Conflict(f"volume {name} exists with other options: {existing.driver_opts}")
            self._directories.create(name)
            return existing
        record = VolumeRecord(
            name=name,
            created=time.time_ns(),
            driver=driver,
            driver_opts=options,
            labels=dict(labels or {}),
            is_anonymous=is_anonymous,
        )
        # A directory without a record is swept as long as it is empty.
        is_new = self._directories.create(name)
        crash_point("core.volume.made")
        try:
            self._records.put(name, record)
        except BaseException:
            if is_new:
                self._directories.remove_empty(name)
            raise
        self._events.publish("volume", "create", name, {"driver": driver})
        return record

    def unmake(self, name: str) -> None:
        """Forget a volume whose making, in a transaction, has come to nothing."""
        self._records.drop(name)
        self._directories.remove_empty(name)

    def sweep(self) -> Sequence[str]:
        """Remove what a killed engine has left of volumes that there are not. Returns what failed. Blocking."""
        for name in self._directories.names():
            if self._records.get(name) is None and not self._directories.remove_empty(name):
                # Only a lost database leaves that behind: it is a volume, whatever it was labelled.
                log.warning("volume %s was not in the database: taken over from its directory", name)
                is_anonymous = _ANONYMOUS.fullmatch(name) is not None
                labels = {"com.docker.volume.anonymous": ""} if is_anonymous else {}
                record = VolumeRecord(
                    name=name, created=time.time_ns(), labels=labels, is_anonymous=is_anonymous
                )
                self._records.put(name, record, is_fact=True)
        return self._directories.sweep()

    def list(self) -> list[VolumeRecord]:
        return sorted(self._records.values(), key=lambda record: record.name)

    def get(self, name: str) -> VolumeRecord:
        record = self._records.get(name)
        if record is None:
            raise NotFound(f"get {name}: no such volume")
        return record

    def find(self, name: str) -> VolumeRecord | None:
        return self._records.get(name)

    def source(self, name: str) -> VolumeSource:
        """What to mount for the volume."""
        record = self.get(name)
        return parse_options(record.driver, record.driver_opts)

    def location(self, name: str) -> str:
        """Where the volume's data is, or will be: for people."""
        source = self.source(name)
        return source.source if isinstance(source, Bind) else str(self._directories.path(name))

    def mountpoint(self, name: str) -> str:
        """The host directory of the volume's data."""
        source = self.source(name)
        if isinstance(source, Bind):
            return source.source
        self._directories.create(name)
        return str(self._directories.path(name))

    def is_directory(self, name: str) -> bool:
        return isinstance(self.source(name), Directory)

    async def remove(self, name: str, force: bool = False) -> None:
        """Remove an unused volume. The space is given back in a thread; the volume is gone at once."""
        if self._records.get(name) is None:
            if force:
                return
            raise NotFound(f"get {name}: no such volume")
        if users := sorted(self._users(name)):
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        self._directories.remove(name)
        crash_point("core.volume-rm.moved")
        self._records.delete(name)
        crash_point("core.volume-rm.forgotten")
        self._events.publish("volume", "destroy", name, {"driver": "local"})
        await trio.to_thread.run_sync(self._directories.sweep)

    async def prune(self, *, everything: bool = False) -> tuple[builtins.list[str], int]:
        """Remove unused volumes (anonymous ones only unless ``everything``): names and bytes given back."""
        removed, freed = [], 0
        for record in self.list():
            if (record.is_anonymous or everything) and not list(self._users(record.name)):
                if self.is_directory(record.name):
                    freed += await self.size(record.name)
                await self.remove(record.name)
                removed.append(record.name)
        return removed, freed

    async def size(self, name: str) -> int:
        """Bytes on disk."""
        return await trio.to_thread.run_sync(self._directories.size, name)
