"""Which cgroup files hold which limit: Docker's resources said in the terms of cgroup v1 and of v2. Pure.

Sources: Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst of the kernel; the conversions between the two are
those of the OCI runtime specification's reference implementation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from runtime.errors import InvalidArgument


class DeviceNumber(Protocol):
    """A block device by its path on the host."""

    @property
    def path(self) -> str: ...


class Weight(DeviceNumber, Protocol):
    @property
    def weight(self) -> int: ...


class Throttle(DeviceNumber, Protocol):
    @property
    def rate(self) -> int: ...


class Limits(Protocol):
    """What can be limited (``runtime.container.config.Resources``); bytes, microseconds, 0 for no limit."""

    @property
    def memory(self) -> int: ...
    @property
    def memory_swap(self) -> int: ...
    @property
    def memory_reservation(self) -> int: ...
    @property
    def memory_swappiness(self) -> int | None: ...
    @property
    def oom_kill_disable(self) -> bool: ...
    @property
    def nano_cpus(self) -> int: ...
    @property
    def cpu_shares(self) -> int: ...
    @property
    def cpu_period(self) -> int: ...
    @property
    def cpu_quota(self) -> int: ...
    @property
    def cpu_rt_period(self) -> int: ...
    @property
    def cpu_rt_runtime(self) -> int: ...
    @property
    def cpuset_cpus(self) -> str: ...
    @property
    def cpuset_mems(self) -> str: ...
    @property
    def pids_limit(self) -> int: ...
    @property
    def blkio_weight(self) -> int: ...
    @property
    def blkio_weight_device(self) -> Sequence[Weight]: ...
    @property
    def device_read_bps(self) -> Sequence[Throttle]: ...
    @property
    def device_write_bps(self) -> Sequence[Throttle]: ...
    @property
    def device_read_iops(self) -> Sequence[Throttle]: ...
    @property
    def device_write_iops(self) -> Sequence[Throttle]: ...


@dataclass(frozen=True, slots=True)
class Setting:
    """One value to be written.

    ``files`` are alternatives (which one there is depends on the kernel's configuration) with the text for each;
    ``{device}`` in it stands for the numbers of the block device ``device``. One that is not ``required`` is left out
    when the kernel has none of the files, as Docker does, with a line in the engine's log."""

    controller: str
    files: tuple[tuple[str, str], ...]
    device: str = ""
    required: bool = True


DEFAULT_PERIOD = 100_000
"""Microseconds: the kernel's cpu.cfs_period_us."""
UNLIMITED_V1 = "-1"


def needed_controllers(limits: Limits) -> frozenset[str]:
    """The controllers (v1 names) without which ``limits`` cannot be applied."""
    needed = set()
    if limits.memory or limits.memory_reservation or limits.memory_swap:
        needed.add("memory")
    if limits.nano_cpus or limits.cpu_shares or limits.cpu_quota or limits.cpu_rt_runtime:
        needed.add("cpu")
    if limits.cpuset_cpus or limits.cpuset_mems:
        needed.add("cpuset")
    if limits.pids_limit > 0:
        needed.add("pids")
    if limits.blkio_weight or limits.blkio_weight_device or any(_throttles(limits)):
        needed.add("blkio")
    return frozenset(needed)


def settings(limits: Limits, version: int, *, lifts: bool = False) -> list[Setting]:
    """Everything to be written, in order. ``lifts``: also what -1 says, that a limit there has been is none any more.

    Raises InvalidArgument for what contradicts itself or cannot be said."""
    check(limits)
    check_version(limits, version)
    found = settings_v1(limits) if version == 1 else settings_v2(limits)
    return found + (lifted(limits, version) if lifts else [])


def lifted(limits: Limits, version: int) -> list[Setting]:
    """Limits that are taken away. Where there is no such file, there was no limit."""
    found = []
    if limits.pids_limit < 0:
        found.append(Setting("pids", (("pids.max", "max"),), required=False))
    if limits.cpu_quota < 0 and not limits.nano_cpus:
        name, text = ("cpu.cfs_quota_us", "-1") if version == 1 else ("cpu.max", "max")
        found.append(Setting("cpu", ((name, text),), required=False))
    return found


_CPU_LIST = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


def check(limits: Limits) -> None:
    """Docker's rules about single values. Raises InvalidArgument with Docker's sentences where it has some, about the
    value in ``resources``."""

    def refuse(about: str, message: str, hint: str = "") -> InvalidArgument:
        return InvalidArgument(message, hint=hint).pointing_at(f"resources.{about}")

    if 0 < limits.memory < 6 << 20:
        raise refuse("memory", "Minimum memory limit allowed is 6MB")
    if limits.memory_swap > 0:
        if not limits.memory:
            raise refuse("memory_swap", "You should always set the Memory limit when using Memoryswap limit")
        if limits.memory_swap < limits.memory:
            raise refuse("memory_swap", "Minimum memoryswap limit should be larger than memory limit")
    if limits.memory and limits.memory_reservation > limits.memory:
        raise refuse(
            "memory_reservation", "Minimum memory limit can not be less than memory reservation limit"
        )
    if limits.memory_swappiness is not None and not -1 <= limits.memory_swappiness <= 100:
        raise refuse(
            "memory_swappiness",
            f"Invalid value: {limits.memory_swappiness}, valid memory swappiness range is 0-100",
        )
    if limits.nano_cpus < 0:
        raise refuse("nano_cpus", "the number of CPUs cannot be negative")
    if limits.nano_cpus and (limits.cpu_quota or limits.cpu_period):
        raise refuse("nano_cpus", "Conflicting options: cpus and cpu_quota or cpu_period cannot both be set")
    if limits.cpu_shares < 0:
        raise refuse("cpu_shares", "shares of CPU time cannot be negative")
    if limits.cpu_period and not 1000 <= limits.cpu_period <= 1_000_000:
        raise refuse(
            "cpu_period",
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        )
    if 0 < limits.cpu_quota < 1000:
        raise refuse("cpu_quota", "CPU cfs quota can not be less than 1ms (i.e. 1000)")
    for name, text in (("cpuset_cpus", limits.cpuset_cpus), ("cpuset_mems", limits.cpuset_mems)):
        if text and not _CPU_LIST.fullmatch(text):
            raise refuse(name, f"invalid {name}: {text!r}", "write for instance 0-2,4")
    if limits.blkio_weight and not 10 <= limits.blkio_weight <= 1000:
        raise refuse("blkio_weight", "Range of blkio weight is from 10 to 1000")
    for device in limits.blkio_weight_device:
        if not 10 <= device.weight <= 1000:
            raise refuse(
                "blkio_weight_device",
                f"invalid weight for device: {device.path}:{device.weight}",
                "the range is from 10 to 1000",
            )


def check_version(limits: Limits, version: int) -> None:
    """Whether this version of cgroups knows what is limited. Raises InvalidArgument."""
    if version == 2 and (limits.cpu_rt_period or limits.cpu_rt_runtime):
        raise InvalidArgument("cpu_rt_period and cpu_rt_runtime cannot be set on a machine with cgroup v2")


def check_available(limits: Limits, cpus: int, online_cpus: str, online_nodes: str) -> None:
    """Whether a machine with ``cpus`` processors, numbered ``online_cpus``, and memory nodes ``online_nodes`` (lists as
    in /sys: ``0-3,8``; "" is unknown) has what ``limits`` want. Raises InvalidArgument with Docker's sentences."""
    if cpus and not 0 <= limits.nano_cpus <= cpus * 1_000_000_000:
        raise InvalidArgument(
            f"Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available",
        )
    for what, wanted, online in (
        ("CPUs", limits.cpuset_cpus, online_cpus),
        ("memory nodes", limits.cpuset_mems, online_nodes),
    ):
        # One that is no list is refused for that, by check().
        if not online or not _CPU_LIST.fullmatch(wanted):
            continue
        if not all(any(low <= a and b <= high for low, high in _spans(online)) for a, b in _spans(wanted)):
            raise InvalidArgument(
                f"Requested {what} are not available - requested {wanted}, available: {online}"
            )


def _spans(text: str) -> list[tuple[int, int]]:
    spans = (part.partition("-") for part in text.split(","))
    return [(int(low), int(high or low)) for low, _, high in spans]


def cpu_bandwidth(limits: Limits) -> tuple[int, int]:
    """(quota, period) in microseconds; quota 0 is no limit."""
    if limits.nano_cpus:
        return max(1000, limits.nano_cpus * DEFAULT_PERIOD // 1_000_000_000), DEFAULT_PERIOD
    return max(0, limits.cpu_quota), limits.cpu_period or DEFAULT_PERIOD


def total_swap(limits: Limits) -> int:
    """Memory and swap together in bytes, -1 for no limit, 0 for nothing to be said."""
    if limits.memory_swap:
        return max(-1, limits.memory_swap)
    return 2 * limits.memory


def settings_v1(limits: Limits) -> list[Setting]:
    """For cgroup v1."""
    result: list[Setting] = []

    def add(controller: str, name: str, value: object, *, device: str = "", required: bool = True) -> None:
        result.append(Setting(controller, ((name, str(value)),), device, required))

    if limits.memory:
        add("memory", "memory.limit_in_bytes", limits.memory)
    if swap := total_swap(limits):
        add("memory", "memory.memsw.limit_in_bytes", swap, required=False)
    if limits.memory_reservation:
        add("memory", "memory.soft_limit_in_bytes", limits.memory_reservation)
    if limits.memory_swappiness is not None and limits.memory_swappiness >= 0:
        add("memory", "memory.swappiness", limits.memory_swappiness)
    if limits.oom_kill_disable:
        add("memory", "memory.oom_control", 1)
    quota, period = cpu_bandwidth(limits)
    if limits.cpu_period:
        add("cpu", "cpu.cfs_period_us", period)
    if quota:
        add("cpu", "cpu.cfs_quota_us", quota)
    if limits.cpu_shares:
        add("cpu", "cpu.shares", limits.cpu_shares)
    if limits.cpu_rt_period:
        add("cpu", "cpu.rt_period_us", limits.cpu_rt_period)
    if limits.cpu_rt_runtime:
        add("cpu", "cpu.rt_runtime_us", limits.cpu_rt_runtime)
    if limits.cpuset_cpus:
        add("cpuset", "cpuset.cpus", limits.cpuset_cpus)
    if limits.cpuset_mems:
        add("cpuset", "cpuset.mems", limits.cpuset_mems)
    if limits.pids_limit > 0:
        add("pids", "pids.max", limits.pids_limit)
    if limits.blkio_weight:
        weights = tuple((name, str(limits.blkio_weight)) for name in ("blkio.weight", "blkio.bfq.weight"))
        result.append(Setting("blkio", weights, required=False))
    for weight in limits.blkio_weight_device:
        text = f"{{device}} {weight.weight}"
        files = (("blkio.weight_device", text), ("blkio.bfq.weight_device", text))
        result.append(Setting("blkio", files, weight.path, required=False))
    names = ("read_bps_device", "write_bps_device", "read_iops_device", "write_iops_device")
    for name, throttles in zip(names, _throttles(limits), strict=True):
        for throttle in throttles:
            add("blkio", f"blkio.throttle.{name}", f"{{device}} {throttle.rate}", device=throttle.path)
    return result


def settings_v2(limits: Limits) -> list[Setting]:
    """For cgroup v2. Swappiness and switching the OOM killer off do not exist there: Docker drops them as well."""
    result: list[Setting] = []

    def add(controller: str, name: str, value: object, *, device: str = "", required: bool = True) -> None:
        result.append(Setting(controller, ((name, str(value)),), device, required))

    if limits.memory:
        add("memory", "memory.max", limits.memory)
    if swap := total_swap(limits):
        add("memory", "memory.swap.max", "max" if swap < 0 else swap - limits.memory, required=False)
    if limits.memory_reservation:
        add("memory", "memory.low", limits.memory_reservation)
    quota, period = cpu_bandwidth(limits)
    if quota or limits.cpu_period:
        add("cpu", "cpu.max", f"{quota or 'max'} {period}")
    if limits.cpu_shares:
        add("cpu", "cpu.weight", cpu_weight(limits.cpu_shares))
    if limits.cpuset_cpus:
        add("cpuset", "cpuset.cpus", limits.cpuset_cpus)
    if limits.cpuset_mems:
        add("cpuset", "cpuset.mems", limits.cpuset_mems)
    if limits.pids_limit > 0:
        add("pids", "pids.max", limits.pids_limit)
    if limits.blkio_weight:
        bfq = ("io.bfq.weight", str(limits.blkio_weight))
        default = ("io.weight", f"default {io_weight(limits.blkio_weight)}")
        result.append(Setting("io", (bfq, default), required=False))
    for weight in limits.blkio_weight_device:
        bfq = ("io.bfq.weight", f"{{device}} {weight.weight}")
        default = ("io.weight", f"{{device}} {io_weight(weight.weight)}")
        result.append(Setting("io", (bfq, default), weight.path, required=False))
    for name, throttles in zip(("rbps", "wbps", "riops", "wiops"), _throttles(limits), strict=True):
        for throttle in throttles:
            add("io", "io.max", f"{{device}} {name}={throttle.rate}", device=throttle.path)
    return result


def _throttles(limits: Limits) -> tuple[Sequence[Throttle], ...]:
    return (
        limits.device_read_bps, limits.device_write_bps, limits.device_read_iops, limits.device_write_iops,
    )  # fmt: skip


def cpu_weight(shares: int) -> int:
    """cpu.weight (1 to 10000, 100 by default) of v1's cpu.shares (2 to 262144, 1024 by default): the curve through
    the ends and the defaults of both, so that "half of what others get" stays that."""
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def io_weight(weight: int) -> int:
    """io.weight (1 to 10000) of a blkio weight (10 to 1000)."""
    return 1 + (weight - 10) * 9999 // 990
