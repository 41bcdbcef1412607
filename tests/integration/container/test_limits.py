"""Control groups: limits hold, the OOM killer is told of, pausing, counters, sweeping. On cgroup v1 and v2 alike."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from runtime.container import stats
from runtime.container.config import Mount, Resources, ThrottleDevice, WeightDevice
from runtime.errors import InvalidArgument
from runtime.kernel import cgroups
from tests.e2e.engine import is_gone

from .conftest import TIMEOUT, cgroup_leftovers

if TYPE_CHECKING:
    from .conftest import Laboratory

MIB = 1 << 20
ON_V1 = cgroups.version() == 1


def read_own(laboratory: Laboratory, controller: str, v1: str, v2: str, container_id: str = "") -> str:
    """A file of the container's cgroup, as the host sees it."""
    name = container_id or laboratory.last_id()
    if not ON_V1:
        return (Path("/sys/fs/cgroup") / f"composer-{laboratory.tag}" / name / v2).read_text().strip()
    found = next(h for h in cgroups.controllers() if controller in h.split(","))
    return (Path("/sys/fs/cgroup") / found / f"composer-{laboratory.tag}" / name / v1).read_text().strip()


async def test_values(laboratory: Laboratory) -> None:
    """What is asked for is what the kernel has."""
    await laboratory.start(
        "sleep", "100",
        resources=Resources(
            memory=64 * MIB, memory_reservation=32 * MIB, nano_cpus=1_500_000_000, cpu_shares=512, cpuset_cpus="0",
            pids_limit=50,
        ),
    )  # fmt: skip
    assert read_own(laboratory, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MIB)
    assert read_own(laboratory, "memory", "memory.soft_limit_in_bytes", "memory.low") == str(32 * MIB)
    assert read_own(laboratory, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "150000"
    assert read_own(laboratory, "cpu", "cpu.shares", "cpu.weight") == ("512" if ON_V1 else "59")
    assert read_own(laboratory, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    assert read_own(laboratory, "pids", "pids.max", "pids.max") == "50"


async def test_pids_limit(laboratory: Laboratory) -> None:
    finished = await laboratory.sh(
        "i=0; while [ $i -lt 50 ]; do sleep 99 > /dev/null 2>&1 & i=$((i+1)); done; echo all",
        resources=Resources(pids_limit=10),
    )
    assert "all" not in finished.lines
    assert finished.code != 0


async def test_out_of_memory(laboratory: Laboratory) -> None:
    hungry = "import sys; x = bytearray(100 << 20); print(len(x))"
    limited = Resources(memory=32 * MIB, memory_swap=32 * MIB)
    finished = await laboratory.run("python3", "-c", hungry, resources=limited)
    assert (finished.code, finished.stdout) == (137, b"")
    assert finished.status is not None
    assert finished.status.oom_killed
    enough = await laboratory.run("python3", "-c", hungry, resources=Resources(memory=256 * MIB))
    assert enough.code == 0
    assert enough.status is not None
    assert not enough.status.oom_killed


async def test_limits_hold_for_execs(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "100", resources=Resources(pids_limit=7))
    finished = await laboratory.exec(
        shim, "/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 99 > /dev/null 2>&1 & done; echo all"
    )
    assert "all" not in finished.lines
    assert set(laboratory.cgroups.pids(laboratory.last_id())) >= {shim.pid}


async def test_update(laboratory: Laboratory) -> None:
    await laboratory.start("sleep", "100", resources=Resources(memory=64 * MIB))
    for limit in (32 * MIB, 512 * MIB):
        laboratory.cgroups.update(laboratory.last_id(), Resources(memory=limit, cpu_shares=300, pids_limit=9))
        assert read_own(laboratory, "memory", "memory.limit_in_bytes", "memory.max") == str(limit)
    assert read_own(laboratory, "pids", "pids.max", "pids.max") == "9"
    with pytest.raises(InvalidArgument):
        laboratory.cgroups.update(laboratory.last_id(), Resources(memory=1))


async def test_processors_of_a_container_that_runs(laboratory: Laboratory) -> None:
    """Also of one that was started without such a limit: what runs in it and what is executed later."""
    shim = await laboratory.start("/bin/sh", "-c", "sleep 1000 & wait")
    own = laboratory.last_id()
    with trio.fail_after(TIMEOUT):
        while len(laboratory.cgroups.pids(own)) < 2:
            await trio.sleep(0.01)
    await trio.to_thread.run_sync(
        laboratory.cgroups.update, own, Resources(cpuset_cpus="0", cpuset_mems="0", cpu_shares=300)
    )
    assert read_own(laboratory, "cpu", "cpu.shares", "cpu.weight") == ("300" if ON_V1 else "39")
    for pid in laboratory.cgroups.pids(own):
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        assert "Cpus_allowed_list:\t0" in status
    finished = await laboratory.exec(shim, "grep", "Cpus_allowed_list", "/proc/self/status")
    assert finished.lines == ["Cpus_allowed_list:\t0"]


async def test_freeze(laboratory: Laboratory) -> None:
    shim = await laboratory.start("/bin/sh", "-c", "while :; do echo x; sleep 0.01; done")
    own = laboratory.last_id()
    log = laboratory.paths.container(own) / "log/0.log"
    with trio.fail_after(TIMEOUT):
        while not log.exists() or not log.stat().st_size:
            await trio.sleep(0.01)
    laboratory.cgroups.freeze(own)
    assert laboratory.cgroups.is_frozen(own)
    size = -1
    with trio.fail_after(TIMEOUT):  # what was written before may still be on its way
        while size != log.stat().st_size:
            size = log.stat().st_size
            await trio.sleep(0.3)
    laboratory.cgroups.thaw(own)
    laboratory.cgroups.thaw(own)
    assert not laboratory.cgroups.is_frozen(own)
    with trio.fail_after(TIMEOUT):
        while log.stat().st_size == size:
            await trio.sleep(0.01)
    laboratory.cgroups.freeze(own)
    with trio.fail_after(TIMEOUT):
        await trio.to_thread.run_sync(laboratory.cgroups.kill, own)
        assert (await shim.wait()).exit_code == 137, "a paused container can be killed"


async def test_fork_bomb_is_killed(laboratory: Laboratory) -> None:
    """In the host's pid namespace, where the end of its first process does not end the others."""
    shim = await laboratory.start(
        "/bin/sh", "-c", "while :; do (while :; do (sleep 0.001 &) ; done &) ; sleep 0.01; done",
        pid_mode="host", resources=Resources(pids_limit=200),
    )  # fmt: skip
    own = laboratory.last_id()
    with trio.fail_after(TIMEOUT):
        while len(laboratory.cgroups.pids(own)) < 10:
            await trio.sleep(0.01)
    with trio.fail_after(TIMEOUT):
        await trio.to_thread.run_sync(laboratory.cgroups.kill, own)
        await shim.wait()
    assert laboratory.cgroups.pids(own) == []


async def test_processes_outside_of_the_pid_namespace_end_too(laboratory: Laboratory) -> None:
    finished = await laboratory.sh("sleep 1000 & echo $!", pid_mode="host")
    assert is_gone(int(finished.text))


async def test_counters(laboratory: Laboratory) -> None:
    shim = await laboratory.start(
        "/bin/sh", "-c", "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; sleep 100"
    )
    own = laboratory.last_id()
    with trio.fail_after(TIMEOUT):
        while (reading := laboratory.cgroups.read_stats(own)) is None or reading.cpu_total < 20_000_000:
            await trio.sleep(0.05)
    assert reading.pids == 1 or reading.pids == 2
    assert 0 < reading.memory_usage < 64 * MIB
    networks = stats.read_networks(Path(f"/proc/{shim.pid}/net/dev"))
    first = stats.document(own, "n", reading, networks, {}, 1_700_000_000_123_456_789)
    second = stats.document(own, "n", reading, networks, first, 1_700_000_001_000_000_000)
    assert first["read"] == second["preread"] == "2023-11-14T22:13:20.123456789Z"
    assert second["precpu_stats"] == first["cpu_stats"]
    assert second["cpu_stats"]["cpu_usage"]["total_usage"] == reading.cpu_total
    assert second["cpu_stats"]["system_cpu_usage"] > reading.cpu_total
    assert second["memory_stats"]["limit"] > 1 << 28
    shim.signal(signal.SIGKILL)
    await shim.wait()
    assert laboratory.cgroups.read_stats(own) is None
    assert stats.document(own, "n", None, {}, {}, 1)["read"] == stats.NEVER


async def test_sweep(laboratory: Laboratory) -> None:
    """Cgroups of containers that nobody knows go, with what is in them; those that are known stay."""
    kept = await laboratory.start("sleep", "1000", cgroup_parent="/team/a")
    kept_id = laboratory.last_id()
    orphan = await laboratory.start("sleep", "1000", cgroup_parent="team/b")
    orphan_id = laboratory.last_id()
    assert laboratory.cgroups.pids(kept_id) == [kept.pid]
    assert await trio.to_thread.run_sync(laboratory.cgroups.sweep, [kept_id]) == [orphan_id]
    assert (await orphan.wait()).exit_code == 137
    assert laboratory.cgroups.pids(kept_id) == [kept.pid]
    laboratory.cgroups.kill(kept_id)
    await kept.wait()
    laboratory.cgroups.sweep([])
    assert cgroup_leftovers(laboratory.tag) == []


async def test_parents_go_with_the_last_container(laboratory: Laboratory) -> None:
    first = await laboratory.start("sleep", "1000", cgroup_parent="x/y")
    first_id = laboratory.last_id()
    second = await laboratory.start("sleep", "1000", cgroup_parent="x/z")
    laboratory.cgroups.remove(first_id)
    assert (await first.wait()).exit_code == 137
    assert laboratory.cgroups.pids(laboratory.last_id()) == [second.pid]
    laboratory.cgroups.remove(laboratory.last_id())
    await second.wait()
    with trio.fail_after(TIMEOUT):
        while cgroup_leftovers(laboratory.tag):
            laboratory.cgroups.remove(laboratory.last_id())
            await trio.sleep(0.01)


async def test_parent_cannot_escape(laboratory: Laboratory) -> None:
    for parent in ("../x", "a/../../b", "/", "a b", "f" * 64):
        with pytest.raises(InvalidArgument, match="cgroup_parent"):
            laboratory.build("true", cgroup_parent=parent)


async def test_cgroup_files_inside(laboratory: Laboratory) -> None:
    """The container sees its own limits where programs look for them, and cannot change them."""
    finished = await laboratory.sh(
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max; "
        "cd /sys/fs/cgroup; for f in memory/memory.limit_in_bytes memory.max; do echo 1 > $f || echo refused; done; "
        "mkdir /sys/fs/cgroup/x || echo refused",
        resources=Resources(memory=64 * MIB),
    )
    assert finished.lines == [str(64 * MIB), "refused", "refused", "refused"]


async def test_contradictions(laboratory: Laboratory) -> None:
    for limits, text in (
        (Resources(memory=MIB), "Minimum memory limit allowed is 6MB"),
        (Resources(memory=64 * MIB, memory_swap=32 * MIB), "memoryswap limit should be larger"),
        (Resources(cpuset_cpus="0-x"), "invalid cpuset_cpus"),
        (Resources(nano_cpus=1, cpu_quota=1000), "Conflicting"),
    ):
        with pytest.raises(InvalidArgument, match=text):
            laboratory.build("true", resources=limits)


def disk_of(path: Path) -> tuple[str, str]:
    """The whole disk under ``path``: its node and its numbers. Skips where there is none that can be named."""
    numbers = os.stat(path).st_dev
    place = Path(f"/sys/dev/block/{os.major(numbers)}:{os.minor(numbers)}").resolve()
    if (place / "partition").exists():
        place = place.parent
    if not Path("/dev", place.name).is_block_device():
        pytest.skip("needs a file system on a disk that has a node")
    return f"/dev/{place.name}", (place / "dev").read_text().strip()


async def test_throttled_device(laboratory: Laboratory, tmp_path: Path) -> None:
    path, numbers = disk_of(tmp_path)
    throttle = (ThrottleDevice(path=path, rate=MIB),)
    slow = (ThrottleDevice(path=path, rate=77),)
    await laboratory.start(
        "sleep", "100",
        resources=Resources(
            device_read_bps=throttle, device_write_bps=throttle, device_read_iops=slow, device_write_iops=slow
        ),
    )  # fmt: skip
    expected = {"read_bps": str(MIB), "write_bps": str(MIB), "read_iops": "77", "write_iops": "77"}
    if ON_V1:
        for name, value in expected.items():
            assert read_own(laboratory, "blkio", f"blkio.throttle.{name}_device", "") == f"{numbers} {value}"
    else:
        assert read_own(laboratory, "io", "", "io.max") == (
            f"{numbers} rbps={MIB} wbps={MIB} riops=77 wiops=77"
        )


MOVE = """
import mmap, os, sys, time
fd = os.open("/data/file", os.O_RDWR | os.O_DIRECT)
memory = mmap.mmap(-1, 1 << 20)
begun = time.monotonic()
for number in range(4):
    moved = os.preadv(fd, [memory], number << 20) if sys.argv[1] == "read" else os.pwritev(fd, [memory], number << 20)
    assert moved == 1 << 20
print(time.monotonic() - begun)
"""


@pytest.mark.parametrize("way", ["read", "write"])
async def test_a_throttle_holds(laboratory: Laboratory, tmp_path: Path, way: str) -> None:
    """Four MiB past the page cache at one MiB a second; however slow the machine is, that takes no less."""
    path, _ = disk_of(tmp_path)
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "file").write_bytes(bytes(4 * MIB))
    os.sync()
    throttle = (ThrottleDevice(path=path, rate=MIB),)
    limits = Resources(device_read_bps=throttle) if way == "read" else Resources(device_write_bps=throttle)
    finished = await laboratory.run(
        "python3", "-c", MOVE, way, resources=limits,
        mounts=(Mount(type="bind", source=str(directory), target="/data"),),
    )  # fmt: skip
    if b"Invalid argument" in finished.stderr:
        pytest.skip("needs a file system with O_DIRECT")
    assert float(finished.text) > 2, finished.stderr


async def test_weights(laboratory: Laboratory, tmp_path: Path) -> None:
    """In the file that the kernel has for it. Of one device it has none where no scheduler weighs: left out, as in
    Docker."""
    path, _ = disk_of(tmp_path)
    weights = (WeightDevice(path=path, weight=200),)
    await laboratory.start("sleep", "100", resources=Resources(blkio_weight=300, blkio_weight_device=weights))
    base = f"composer-{laboratory.tag}/{laboratory.last_id()}"
    for name, weight in (
        (f"blkio/{base}/blkio.weight", "300"),
        (f"blkio/{base}/blkio.bfq.weight", "300"),
        (f"{base}/io.bfq.weight", "default 300"),
        (f"{base}/io.weight", "default 2930"),
    ):
        file = Path("/sys/fs/cgroup", name)
        if file.exists():
            assert file.read_text().splitlines()[0] == weight
            return
    pytest.skip("needs a kernel that weighs")
