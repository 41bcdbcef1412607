"""Limits as cgroup files, and where a container's cgroups are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.container.config import LIFTED, Resources, ThrottleDevice, WeightDevice
from runtime.errors import InvalidArgument
from runtime.kernel import cgroup_files, cgroups
from runtime.kernel.device_filter import parse_rule

SEPARATE = ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids")
TOGETHER = ("blkio", "cpu,cpuacct", "cpuset", "devices", "freezer", "memory", "net_cls,net_prio", "pids")
ID = "ab" * 32


def written(limits: Resources, version: int) -> dict[str, str]:
    """File by file, first alternatives only."""
    return dict(setting.files[0] for setting in cgroup_files.settings(limits, version))


@pytest.mark.parametrize(
    ("limits", "v1", "v2"),
    [
        (Resources(), {}, {}),
        (
            Resources(memory=64 << 20),
            {"memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "134217728"},
            {"memory.max": "67108864", "memory.swap.max": "67108864"},
        ),
        (
            Resources(memory=64 << 20, memory_swap=64 << 20),
            {"memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "67108864"},
            {"memory.max": "67108864", "memory.swap.max": "0"},
        ),
        (
            Resources(memory=64 << 20, memory_swap=-1),
            {"memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "-1"},
            {"memory.max": "67108864", "memory.swap.max": "max"},
        ),
        (Resources(nano_cpus=500_000_000), {"cpu.cfs_quota_us": "50000"}, {"cpu.max": "50000 100000"}),
        (
            Resources(cpu_quota=20_000, cpu_period=10_000),
            {"cpu.cfs_period_us": "10000", "cpu.cfs_quota_us": "20000"},
            {"cpu.max": "20000 10000"},
        ),
        (Resources(cpu_shares=1024), {"cpu.shares": "1024"}, {"cpu.weight": "100"}),
        (Resources(pids_limit=100), {"pids.max": "100"}, {"pids.max": "100"}),
        (Resources(pids_limit=-1), {}, {}),
        (
            Resources(cpuset_cpus="0-1", cpuset_mems="0"),
            {"cpuset.cpus": "0-1", "cpuset.mems": "0"},
            {"cpuset.cpus": "0-1", "cpuset.mems": "0"},
        ),
        (Resources(blkio_weight=500), {"blkio.weight": "500"}, {"io.bfq.weight": "500"}),
        (
            Resources(device_write_iops=(ThrottleDevice(path="/dev/sda", rate=9),)),
            {"blkio.throttle.write_iops_device": "{device} 9"},
            {"io.max": "{device} wiops=9"},
        ),
        (
            Resources(memory_reservation=9 << 20, memory_swappiness=0, oom_kill_disable=True),
            {"memory.soft_limit_in_bytes": "9437184", "memory.swappiness": "0", "memory.oom_control": "1"},
            {"memory.low": "9437184"},
        ),
    ],
)
def test_both_versions(limits: Resources, v1: dict[str, str], v2: dict[str, str]) -> None:
    assert written(limits, 1) == v1
    assert written(limits, 2) == v2


def test_limits_that_are_taken_away() -> None:
    """Of a container that runs; one that starts has none anyway."""
    limits = Resources(pids_limit=LIFTED, cpu_quota=-1)
    for version, quota in ((1, ("cpu.cfs_quota_us", "-1")), (2, ("cpu.max", "max"))):
        lifts = cgroup_files.settings(limits, version, lifts=True)
        assert [setting.files for setting in lifts] == [(("pids.max", "max"),), (quota,)]
        assert written(limits, version) == {}


@given(st.integers(2, 262144), st.integers(2, 262144))
def test_shares_keep_their_order(one: int, other: int) -> None:
    first, second = sorted((one, other))
    assert 1 <= cgroup_files.cpu_weight(first) <= cgroup_files.cpu_weight(second) <= 10000


def test_weights_at_the_ends() -> None:
    assert [cgroup_files.cpu_weight(n) for n in (2, 1024, 262144)] == [1, 100, 10000]
    assert [cgroup_files.io_weight(n) for n in (10, 1000)] == [1, 10000]


def test_real_time_is_refused_on_v2() -> None:
    assert written(Resources(cpu_rt_runtime=1000), 1) == {"cpu.rt_runtime_us": "1000"}
    with pytest.raises(InvalidArgument, match="cgroup v2"):
        written(Resources(cpu_rt_runtime=1000), 2)


def test_hierarchies() -> None:
    """cpuset only when something is limited; the freezer and the devices always; nothing that is not used."""
    plain = cgroups.hierarchies_for(Resources(), 1, TOGETHER)
    assert plain == ("blkio", "cpu,cpuacct", "devices", "freezer", "memory", "pids")
    assert "cpuset" in cgroups.hierarchies_for(Resources(memory=64 << 20), 1, SEPARATE)
    assert cgroups.hierarchies_for(Resources(memory=64 << 20), 2, ("memory",)) == ()


def test_plan_v1() -> None:
    plan = cgroups.plan(
        f"composer-x/{ID}", Resources(pids_limit=5), [parse_rule("c 1:3 rwm")], version=1, available=TOGETHER
    )
    assert plan["directories"][1] == f"/sys/fs/cgroup/cpu,cpuacct/composer-x/{ID}"
    assert plan["memory"] == f"/sys/fs/cgroup/memory/composer-x/{ID}"
    devices = f"/sys/fs/cgroup/devices/composer-x/{ID}"
    assert plan["files"] == [
        [[[f"{devices}/devices.deny", "a"]], "", True],
        [[[f"{devices}/devices.allow", "c 1:3 rwm"]], "", True],
        [[[f"/sys/fs/cgroup/pids/composer-x/{ID}/pids.max", "5"]], "", True],
    ]


def test_plan_v2() -> None:
    plan = cgroups.plan(f"composer/{ID}", Resources(), None, version=2, available=("cpu", "memory", "pids"))
    assert plan["directories"] == [f"/sys/fs/cgroup/composer/{ID}"]
    assert (plan["files"], plan["program"]) == ([], "")
    weights = Resources(blkio_weight_device=(WeightDevice(path="/dev/sda", weight=100),))
    with pytest.raises(InvalidArgument, match="no cgroup controller for this limit: io"):
        cgroups.plan(f"composer/{ID}", weights, None, version=2, available=("cpu", "memory", "pids"))


def test_what_an_update_may_add() -> None:
    """v1: the cpuset that a container does without until somebody limits it."""
    available = ("cpu", "cpuset", "memory")
    plan = cgroups.plan(f"composer/{ID}", Resources(), None, version=1, available=available)
    assert plan["later"] == [f"/sys/fs/cgroup/cpuset/composer/{ID}"]
    limited = cgroups.plan(f"composer/{ID}", Resources(memory=64 << 20), None, version=1, available=available)
    assert (limited["later"], len(limited["directories"])) == ([], 3)


@pytest.mark.parametrize("weight", [0, 9, 1001])
def test_weights_of_devices(weight: int) -> None:
    limits = Resources(blkio_weight_device=(WeightDevice(path="/dev/sda", weight=weight),))
    with pytest.raises(InvalidArgument, match=f"invalid weight for device: /dev/sda:{weight}"):
        cgroups.plan(f"composer/{ID}", limits, None, version=1, available=("blkio",))


@pytest.mark.parametrize(
    ("parent", "path"), [("a", "a"), ("/a//b/", "a/b"), ("m.slice/x:y", "m.slice/x:y"), ("./a", "a")]
)
def test_parent(parent: str, path: str) -> None:
    assert cgroups.confine_path(parent) == path


@pytest.mark.parametrize(
    "parent", ["", "/", "..", "a/../b", ".hidden", "a b", "a\nb", ID, f"x/{ID}", "a" * 300]
)
def test_parents_that_are_refused(parent: str) -> None:
    with pytest.raises(InvalidArgument):
        cgroups.confine_path(parent)
