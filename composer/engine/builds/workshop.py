"""What the builds of an engine share: the worker, the cache, and what is under way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import trio

from runtime.build.worker.records import CacheRecords
from runtime.image.flight import KeyedLocks
from runtime.image.store import ImageStore

if TYPE_CHECKING:
    from runtime.build.worker.worker import Worker

Tell = Callable[[str, str, str], Awaitable[None]]
"""Told of progress: the step's title, its status (Building, Cached, Built), a line of output."""


@dataclass
class Workshop:
    """``hire`` makes the worker, when there is something to do for it."""

    images: ImageStore
    cache: CacheRecords
    limit: trio.CapacityLimiter
    """Of the steps that are done at one time."""
    hire: Callable[[], Worker]
    flight: KeyedLocks = field(default_factory=KeyedLocks)
    in_use: Counter[str] = field(default_factory=Counter)
    """Ids of the images that builds have results in: they are not pruned."""
    builds: int = 0
    """How many go on."""
    has_grown: trio.Event = field(default_factory=trio.Event)
    """Set when there is more than before."""
    undurable: set[str] = field(default_factory=set)
    """Ids of images that were built and may not have reached the disk."""

    @cached_property
    def worker(self) -> Worker:
        return self.hire()
