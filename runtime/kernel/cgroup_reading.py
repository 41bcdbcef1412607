"""What a cgroup's counters say at one moment, in the same terms for cgroup v1 and v2."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.kernel import cgroup_tree as tree


@dataclass(frozen=True, slots=True)
class BlockIO:
    """Bytes or operations of one kind (``Read``, ``Write`` ...) on one block device."""

    major: int
    minor: int
    operation: str
    value: int


Pressure = Mapping[str, Mapping[str, float]]
"""``some`` and ``full``, each with its figures."""


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
    pressure: Mapping[str, Pressure] = field(default_factory=dict)
    """By resource (``cpu``, ``memory``, ``io``): those that this kernel has stall information of."""


def parse_pressure(text: str) -> Pressure:
    """What ``cpu.pressure`` and the like say: ``avg10``, ``avg60``, ``avg300`` (per cent) and ``total`` (microseconds)
    of ``some`` and ``full`` (kernel: accounting/psi.rst).

    >>> parse_pressure("some avg10=1.50 avg60=0.00 avg300=0.00 total=7")
    {'some': {'avg10': 1.5, 'avg60': 0.0, 'avg300': 0.0, 'total': 7}}
    """
    found: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        kind, *fields = line.split()
        values = dict(item.split("=", 1) for item in fields if "=" in item)
        found[kind] = {name: int(v) if name == "total" else float(v) for name, v in values.items()}
    return found


def read_v1(directory_of: dict[str, str]) -> Reading:
    """All counters. ``directory_of`` holds the cgroup's directory by controller."""

    def path(controller: str, name: str) -> str:
        return f"{directory_of.get(controller, '/nonexistent')}/{name}"

    ticks = tree.read_table(path("cpuacct", "cpuacct.stat"))
    per_tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    throttling = tree.read_table(path("cpu", "cpu.stat"))
    limit = tree.read_number(path("memory", "memory.limit_in_bytes"))
    return Reading(
        version=1,
        cpu_total=tree.read_number(path("cpuacct", "cpuacct.usage")),
        cpu_user=ticks.get("user", 0) * per_tick,
        cpu_system=ticks.get("system", 0) * per_tick,
        per_cpu=tuple(int(n) for n in tree.read(path("cpuacct", "cpuacct.usage_percpu")).split()),
        periods=throttling.get("nr_periods", 0),
        throttled_periods=throttling.get("nr_throttled", 0),
        throttled_time=throttling.get("throttled_time", 0),
        memory_usage=tree.read_number(path("memory", "memory.usage_in_bytes")),
        memory_peak=tree.read_number(path("memory", "memory.max_usage_in_bytes")),
        memory_limit=0 if limit >= 1 << 62 else limit,
        memory_failures=tree.read_number(path("memory", "memory.failcnt")),
        memory=tree.read_table(path("memory", "memory.stat")),
        pids=tree.read_number(path("pids", "pids.current")),
        pids_limit=tree.read_number(path("pids", "pids.max")),
        bytes_moved=_block_io(directory_of, "io_service_bytes"),
        operations=_block_io(directory_of, "io_serviced"),
    )


def _block_io(directory_of: dict[str, str], name: str) -> tuple[BlockIO, ...]:
    directory = directory_of.get("blkio", "/nonexistent")
    for prefix in ("blkio.bfq.", "blkio.throttle."):
        found = []
        for line in tree.read(f"{directory}/{prefix}{name}_recursive").splitlines():
            fields = line.split()
            if len(fields) == 3:
                major, _, minor = fields[0].partition(":")
                found.append(BlockIO(int(major), int(minor), fields[1], int(fields[2])))
        if found:
            return tuple(found)
    return ()


def read_v2(directory: str) -> Reading:
    """All counters."""
    cpu = tree.read_table(f"{directory}/cpu.stat")
    operations = {"rbytes": "Read", "wbytes": "Write"}, {"rios": "Read", "wios": "Write"}
    moved: tuple[list[BlockIO], list[BlockIO]] = [], []
    for line in tree.read(f"{directory}/io.stat").splitlines():
        device, *values = line.split()
        major, _, minor = device.partition(":")
        for item in values:
            name, _, value = item.partition("=")
            for names, found in zip(operations, moved, strict=True):
                if name in names and value.isdecimal():
                    found.append(BlockIO(int(major), int(minor), names[name], int(value)))
    pressures = {name: tree.read(f"{directory}/{name}.pressure") for name in ("cpu", "memory", "io")}
    return Reading(
        version=2,
        cpu_total=cpu.get("usage_usec", 0) * 1000,
        cpu_user=cpu.get("user_usec", 0) * 1000,
        cpu_system=cpu.get("system_usec", 0) * 1000,
        periods=cpu.get("nr_periods", 0),
        throttled_periods=cpu.get("nr_throttled", 0),
        throttled_time=cpu.get("throttled_usec", 0) * 1000,
        memory_usage=tree.read_number(f"{directory}/memory.current"),
        memory_peak=tree.read_number(f"{directory}/memory.peak"),
        memory_limit=tree.read_number(f"{directory}/memory.max"),
        memory_failures=tree.read_table(f"{directory}/memory.events").get("oom", 0),
        memory=tree.read_table(f"{directory}/memory.stat"),
        pids=tree.read_number(f"{directory}/pids.current"),
        pids_limit=tree.read_number(f"{directory}/pids.max"),
        bytes_moved=tuple(moved[0]),
        operations=tuple(moved[1]),
        pressure={name: parse_pressure(text) for name, text in pressures.items() if text},
    )
