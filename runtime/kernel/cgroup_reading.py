"""What a cgroup's counters say at one moment, in the same terms for cgroup v1 and v2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BlockIO:
    """Bytes or operations of one kind (``Read``, ``Write`` ...) on one block device."""

    major: int
    minor: int
    operation: str
    value: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Times in nanoseconds, sizes in bytes, limits 0 when there is none."""

    version: int
    cpu_total: int = 0
    cpu_user: int = 0
    cpu_system: int = 0
    per_cpu: tuple[int, ...] = ()
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0
    memory_usage: int = 0
    memory_peak: int = 0
    memory_limit: int = 0
    memory_failures: int = 0
    memory: Mapping[str, int] = field(default_factory=dict)
    """memory.stat, with the kernel's names of that version."""
    pids: int = 0
    pids_limit: int = 0
    bytes_moved: tuple[BlockIO, ...] = ()
    operations: tuple[BlockIO, ...] = ()
