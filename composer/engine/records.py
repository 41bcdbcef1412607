"""Typed documents in the state database: what cannot be read is set aside and named, the rest works."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from runtime.storage.state import StateDatabase

log = logging.getLogger(__name__)
R = TypeVar("R", bound=msgspec.Struct)


class Records(Generic[R]):
    """All documents of one kind, held decoded; every change is written before it is seen."""

    def __init__(self, database: StateDatabase, kind: str, type_: type[R]) -> None:
        self._database = database
        self._kind = kind
        self._encoder = msgspec.json.Encoder()
        self._values: dict[str, R] = {}
        self.on_change: Callable[[R | None, R | None], None] = lambda before, after: None
        """Told what a document was and what it is now; None where it was not there, or is not any more."""
        decoder = msgspec.json.Decoder(type_)
        for key, body in database.items(kind):
            try:
                self._values[key] = decoder.decode(body)
            except msgspec.DecodeError as error:
                log.error("the record of %s %s cannot be read and was set aside: %s", kind, key, error)
                database.quarantine(kind, key, str(error))

    def __getitem__(self, key: str) -> R:
        return self._values[key]

    def get(self, key: str) -> R | None:
        return self._values.get(key)

    def values(self) -> list[R]:
        return list(self._values.values())

    def put(self, key: str, value: R, *, is_fact: bool = False) -> R:
        """``is_fact``: it is so already, and a full disk does not change it (see StateDatabase)."""
        self._database.put(self._kind, key, self._encoder.encode(value), is_fact=is_fact)
        before = self._values.get(key)
        self._values[key] = value
        self.on_change(before, value)
        return value

    def delete(self, key: str) -> None:
        self._database.delete(self._kind, key)
        self.drop(key)

    def drop(self, key: str) -> None:
        """Forget what was put in a transaction that was rolled back."""
        self.on_change(self._values.pop(key, None), None)
