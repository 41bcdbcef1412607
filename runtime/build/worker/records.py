"""What the build cache knows: which keys lead to which layers, and of each when it was made and used.

A record is written when its layers are complete, in one transaction: whatever ends the engine, a record is true or not
there. Keys of records that are gone are no keys.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from runtime.build.worker.snapshot import Snapshot
from runtime.image.store import STEP_COMMENT, ImageStore
from runtime.storage.state import StateDatabase

KEYS = "build-key"
RECORDS = "build-record"


class CacheRecord(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The result of a step. Times in ns."""

    id: str
    """The image with its layers ("" for a step without any), and ``made`` as ones and noughts."""
    made: tuple[bool, ...]
    description: str
    created: int
    used: int
    uses: int = 0
    keys: tuple[str, ...] = ()

    @property
    def image_id(self) -> str:
        return self.id.partition(" ")[0]

    @property
    def short_id(self) -> str:
        """For people: different for each record."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:25]


@dataclass
class CacheRecords:
    database: StateDatabase
    images: ImageStore

    def find(self, key: str) -> Snapshot | None:
        """The result that a key leads to."""
        record = self.by_key(key)
        return self.snapshot(record) if record is not None else None

    def by_key(self, key: str) -> CacheRecord | None:
        found = self.database.get(KEYS, key)
        return self.record(found.decode()) if found is not None else None

    def of(self, snapshot: Snapshot) -> CacheRecord | None:
        return self.record(_record_id(snapshot))

    def record(self, record_id: str) -> CacheRecord | None:
        body = self.database.get(RECORDS, record_id)
        return msgspec.json.decode(body, type=CacheRecord) if body is not None else None

    def snapshot(self, record: CacheRecord) -> Snapshot | None:
        image_id = record.image_id
        if not image_id:
            return Snapshot(
                layers=(self.images.empty_layer,), made=record.made, created=record.created // 10**9
            )
        image = self.images.image(image_id)
        if image is None:
            return None
        moment = record.created // 10**9
        return Snapshot(image=image, layers=image.layers, made=record.made, created=moment)

    def put(self, keys: Iterable[str], snapshot: Snapshot, description: str) -> None:
        """Remember a result. It may be known by other keys."""
        record_id = _record_id(snapshot)
        now = time.time_ns()
        made = snapshot.created * 10**9 or now
        with self.database.transaction():
            known = self.record(record_id)
            record = CacheRecord(
                id=record_id,
                made=snapshot.made,
                description=known.description if known is not None else description,
                created=known.created if known is not None else made,
                used=now,
                uses=known.uses if known is not None else 0,
                keys=tuple(dict.fromkeys((*(known.keys if known is not None else ()), *keys))),
            )
            self.database.put(RECORDS, record_id, msgspec.json.encode(record))
            for key in keys:
                self.database.put(KEYS, key, record_id.encode())

    def touch(self, keys: Iterable[str]) -> None:
        """These were used."""
        now = time.time_ns()
        with self.database.transaction():
            for record_id in {found.decode() for key in keys if (found := self.database.get(KEYS, key))}:
                record = self.record(record_id)
                if record is not None:
                    changed = msgspec.structs.replace(record, used=now, uses=record.uses + 1)
                    self.database.put(RECORDS, record_id, msgspec.json.encode(changed))

    def all(self) -> list[CacheRecord]:
        return [msgspec.json.decode(body, type=CacheRecord) for _, body in self.database.items(RECORDS)]

    def remove(self, records: Sequence[CacheRecord]) -> None:
        with self.database.transaction():
            for record in records:
                self.database.delete(RECORDS, record.id)
                for key in record.keys:
                    self.database.delete(KEYS, key)

    def unused_images(self) -> list[str]:
        """Step images that no record leads to: what a killed engine has made and could not remember."""
        wanted = {record.image_id for record in self.all()}
        return [
            image.id
            for image in self.images.everything()
            if image.comment == STEP_COMMENT and not image.tags and image.id not in wanted
        ]


def _record_id(snapshot: Snapshot) -> str:
    """The same layers may come of a different number of instructions."""
    image_id = snapshot.image.id if snapshot.image is not None else ""
    return f"{image_id} {''.join('01'[one] for one in snapshot.made)}"
