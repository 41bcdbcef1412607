"""The lists of system calls (``runtime.container.launch_script``) for containers that are started, remembered for those
that are alike.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from runtime.container import copyup, launch_script, layer_users, mount_calls
from runtime.container.operations import CopyUp, Overlay
from runtime.container.wire import LaunchSpec
from runtime.kernel import script
from runtime.network.sandbox_script import Network, NotWritable

REMEMBERED, REMEMBERED_FAILURES = 8, 256
"""Tables, of which each takes some 80 kB; and those that have failed."""
MOST_FAILURES = 2
"""One after the other, of a table that is tried again at once."""
TRIED_AGAIN = 32
"""Starts after which it is tried once more: a machine may have been short of something."""
_ID_LENGTH, _SHORT_LENGTH = 64, 12
_ANY_ID = b"\xfe\xfd any container's id \xfd\xfe".ljust(_ID_LENGTH, b"\xfd")
_ANY_SHORT_ID = b"\xfe\xfc any id\xfd\xfe"


class Written(NamedTuple):
    """A table for one container."""

    table: script.Table
    key: bytes
    """The same for all that are alike but for their ids and addresses."""


class Tables:
    """Of containers that were started lately. Those that are alike but for their ids (replicas, and one that is started
    again with another id) have the same one, in which ids are exchanged."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[script.Table, list[int]]] = {}
        self._failed: dict[bytes, int] = {}

    def get(self, spec: LaunchSpec, document: bytes) -> Written:
        """``document``: all of ``spec`` that a first process depends on, encoded. Raises NotWritable, TooLong."""
        overlay = spec.operations[0] if spec.operations else None
        if not isinstance(overlay, Overlay) or not launch_script.is_writable(spec):
            raise NotWritable
        layers = (*overlay.layers, overlay.base)
        found = layer_users.find(overlay.upper, layers, spec.process.user, spec.process.groups)
        if found is None or len(spec.id) != _ID_LENGTH:
            raise NotWritable
        network = Network.look(spec.sandbox, mount_calls.NETNS, is_again=os.path.isdir(overlay.upper))
        ids = ((spec.id.encode(), _ANY_ID), (spec.id[:_SHORT_LENGTH].encode(), _ANY_SHORT_ID))
        copies = [operation.volume for operation in spec.operations if isinstance(operation, CopyUp)]
        # Elsewhere it may be on a disk that does not answer, for which nobody is to wait here.
        own = os.path.dirname(os.path.dirname(spec.state_dir)) + "/"
        filled = {volume for volume in copies if volume.startswith(own) and copyup.is_filled(volume)}
        facts = repr((found, network.shape, sorted(filled)))
        key = hashlib.blake2b(_exchange(document + facts.encode(), ids)).digest()
        failures = self._failed.get(key, 0)
        if failures >= MOST_FAILURES and failures % TRIED_AGAIN:
            self._failed[key] = failures + 1
            raise NotWritable
        if (known := self._known.pop(key, None)) is None:
            table, offsets = launch_script.write(spec, *found, network, filled)
            known = (table._replace(data=_exchange(table.data, ids)), offsets)
            _make_room(self._known, REMEMBERED)
        self._known[key] = known
        table, offsets = known
        data = bytearray(_exchange(table.data, [(to, of) for of, to in reversed(ids)]))
        for offset, piece in zip(offsets, network.pieces, strict=True):
            data[offset : offset + len(piece)] = piece
        return Written(table._replace(data=bytes(data)), key)

    def went(self, written: Written, *, well: bool) -> None:
        """How it ended: what has failed again and again is done the other way at once."""
        if well:
            self._failed.pop(written.key, None)
            return
        failures = self._failed.pop(written.key, 0) + 1
        _make_room(self._failed, REMEMBERED_FAILURES)
        self._failed[written.key] = failures


def _make_room(known: dict[bytes, Any], most: int) -> None:
    while len(known) >= most:
        del known[next(iter(known))]


def _exchange(data: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    for of, to in pairs:
        data = data.replace(of, to)
    return data
