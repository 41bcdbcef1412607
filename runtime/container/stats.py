"""A container's resource use in the form of Docker's ``GET /containers/{id}/stats``."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.kernel.cgroup_reading import BlockIO, Reading

NEVER = "0001-01-01T00:00:00Z"
_NETWORK_FIELDS = (
    ("rx_bytes", 0), ("rx_packets", 1), ("rx_errors", 2), ("rx_dropped", 3),
    ("tx_bytes", 8), ("tx_packets", 9), ("tx_errors", 10), ("tx_dropped", 11),
)  # fmt: skip
"""Columns of /proc/<pid>/net/dev behind the colon, proc_pid_net(5)."""


def read_networks(path: Path) -> dict[str, dict[str, int]]:
    """Counters by interface from ``/proc/<pid>/net/dev``, without loopback; empty when the process is gone."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    return parse_networks(text)


def parse_networks(text: str) -> dict[str, dict[str, int]]:
    """As :func:`read_networks`, from the file's content."""
    networks = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        columns = rest.split()
        if len(columns) >= 16 and name.strip() != "lo":
            networks[name.strip()] = {field: int(columns[index]) for field, index in _NETWORK_FIELDS}
    return networks


def document(
    container_id: str,
    name: str,
    reading: Reading | None,
    networks: Mapping[str, Mapping[str, int]],
    previous: Mapping[str, Any],
    now_ns: int,
) -> dict[str, Any]:
    """One statistics document. ``previous`` is the one before (or empty): its CPU part becomes ``precpu_stats``.

    Without a reading (the container does not run) all is zero and ``read`` is the year one, as with Docker."""
    is_running = reading is not None
    return {
        "read": timestamp(now_ns) if is_running else NEVER,
        "preread": previous.get("read", NEVER),
        "pids_stats": _pids(reading),
        "blkio_stats": _block_io(reading),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(reading),
        "precpu_stats": previous.get("cpu_stats") or _cpu(None),
        "memory_stats": _memory(reading),
        "name": f"/{name}",
        "id": container_id,
        "networks": {key: dict(value) for key, value in networks.items()},
    }


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits, as Go writes it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def _pids(reading: Reading | None) -> dict[str, int]:
    if reading is None:
        return {}
    limit = {"limit": reading.pids_limit} if reading.pids_limit else {}
    return {"current": reading.pids, **limit}


def _cpu(reading: Reading | None) -> dict[str, Any]:
    if reading is None:
        usage: dict[str, Any] = {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}
        throttling = {"periods": 0, "throttled_periods": 0, "throttled_time": 0}
        return {"cpu_usage": usage, "throttling_data": throttling}
    usage = {
        "total_usage": reading.cpu_total,
        "usage_in_kernelmode": reading.cpu_system,
        "usage_in_usermode": reading.cpu_user,
    }
    if reading.per_cpu:
        usage["percpu_usage"] = list(reading.per_cpu)
    return _pressure(reading, "cpu") | {
        "cpu_usage": usage,
        "system_cpu_usage": system_cpu_time(),
        "online_cpus": os.cpu_count() or 1,
        "throttling_data": {
            "periods": reading.periods,
            "throttled_periods": reading.throttled_periods,
            "throttled_time": reading.throttled_time,
        },
    }


def system_cpu_time() -> int:
    """CPU time of the whole machine since boot in nanoseconds, idle included: the first seven columns of /proc/stat."""
    with open("/proc/stat", encoding="ascii") as file:
        columns = file.readline().split()[1:8]
    return sum(map(int, columns)) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def _memory(reading: Reading | None) -> dict[str, Any]:
    if reading is None:
        return {}
    result: dict[str, Any] = {
        "usage": reading.memory_usage,
        "stats": dict(reading.memory),
        "limit": reading.memory_limit or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }
    if reading.memory_peak and reading.version == 1:
        result["max_usage"] = reading.memory_peak
    if reading.memory_failures:
        result["failcnt"] = reading.memory_failures
    return result | _pressure(reading, "memory")


def _pressure(reading: Reading, resource: str) -> dict[str, Any]:
    """Stall information as runc tells it, where there is any: on cgroup v2."""
    found = reading.pressure.get(resource)
    return {"psi": {kind: dict(values) for kind, values in found.items()}} if found else {}


def _block_io(reading: Reading | None) -> dict[str, Any]:
    if reading is None or reading.version == 2:
        empty: Any = None
    else:
        empty = []
    names = ("queue", "service_time", "wait_time", "merged", "time")
    result: dict[str, Any] = {f"io_{name}_recursive": empty for name in names}
    result["sectors_recursive"] = empty
    result["io_service_bytes_recursive"] = [_entry(io) for io in reading.bytes_moved] if reading else empty
    result["io_serviced_recursive"] = [_entry(io) for io in reading.operations] if reading else empty
    return result | (_pressure(reading, "io") if reading else {})


def _entry(io: BlockIO) -> dict[str, Any]:
    return {"major": io.major, "minor": io.minor, "op": io.operation, "value": io.value}
