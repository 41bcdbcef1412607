"""cgroup v2 where no controller is handed on, as inside another container: everything works but limits, and a limit is
refused by the name of what lacks. Run in a cgroup namespace of that kind by the tier ``machine``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from runtime.container.config import Resources, ThrottleDevice
from runtime.errors import ComposerError
from runtime.kernel import cgroups

from .conftest import TIMEOUT

if TYPE_CHECKING:
    from .conftest import Laboratory

DISK = next((f"/dev/{entry.name}" for entry in Path("/sys/block").iterdir()), "")
pytestmark = pytest.mark.skipif(
    cgroups.version() != 2 or bool(cgroups.controllers()),
    reason="needs cgroup v2 without a single controller",
)


async def test_it_runs_in_a_cgroup_of_its_own(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    own = laboratory.last_id()
    assert laboratory.cgroups.pids(own) == [shim.pid]
    finished = await laboratory.exec(shim, "cat", "/proc/self/cgroup")
    assert finished.lines == ["0::/"]
    assert len(laboratory.cgroups.pids(own)) == 1


@pytest.mark.parametrize(
    ("limits", "lacks"),
    [
        (Resources(memory=64 << 20), "memory"),
        (Resources(nano_cpus=500_000_000), "cpu"),
        (Resources(cpuset_cpus="0"), "cpuset"),
        (Resources(pids_limit=50), "pids"),
        (Resources(device_read_bps=(ThrottleDevice(path=DISK, rate=1 << 20),)), "io"),
    ],
)
async def test_a_limit_is_refused(laboratory: Laboratory, limits: Resources, lacks: str) -> None:
    with pytest.raises(ComposerError, match=f"no cgroup controller for this limit: {lacks}$"):
        await laboratory.run("true", resources=limits)
    shim = await laboratory.start("sleep", "1000")
    with pytest.raises(ComposerError, match=lacks):
        laboratory.cgroups.update(laboratory.last_id(), limits)
    assert shim.pid in laboratory.cgroups.pids(laboratory.last_id())


async def test_devices_are_denied(laboratory: Laboratory) -> None:
    """The device filter is a program, no controller."""
    finished = await laboratory.sh("mknod /tmp/l c 1 1 && head -c 1 /tmp/l; head -c 1 /dev/zero | wc -c")
    assert b"Operation not permitted" in finished.stderr
    assert finished.lines == ["1"]


async def test_it_is_paused_and_killed(laboratory: Laboratory) -> None:
    shim = await laboratory.start("/bin/sh", "-c", "while :; do sleep 0.01; done")
    own = laboratory.last_id()
    laboratory.cgroups.freeze(own)
    assert laboratory.cgroups.is_frozen(own)
    with trio.fail_after(TIMEOUT):
        await trio.to_thread.run_sync(laboratory.cgroups.kill, own)
        assert (await shim.wait()).exit_code == 137


async def test_processor_time_is_told_all_the_same(laboratory: Laboratory) -> None:
    """``cpu.stat`` is there without its controller; what is not known is 0."""
    await laboratory.start("/bin/sh", "-c", "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; sleep 1000")
    with trio.fail_after(TIMEOUT):
        while (
            reading := laboratory.cgroups.read_stats(laboratory.last_id())
        ) is None or not reading.cpu_total:
            await trio.sleep(0.05)
    assert (reading.memory_usage, reading.memory_limit, reading.pids_limit) == (0, 0, 0)


async def test_nothing_is_moved(laboratory: Laboratory) -> None:
    """Processes of the engine's surroundings stay where they are: there is nothing to be gained."""
    await laboratory.start("sleep", "1000")
    assert not Path("/sys/fs/cgroup/composer-init").exists()
