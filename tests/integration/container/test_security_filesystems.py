"""What of the kernel's file systems a container sees: masked, read-only, mounted with which flags."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from runtime.container import mounting, operations
from runtime.container.config import ContainerConfig, Mount
from runtime.container.shim_client import LaunchError
from runtime.kernel import cgroups

if TYPE_CHECKING:
    from .conftest import Laboratory

MASKED = (f"MASKED={json.dumps(mounting.MASKED)}",)
SAFE = {"nosuid", "nodev", "noexec"}


def flags(mount: dict[str, str]) -> set[str]:
    return set(mount["flags"].split(","))


@pytest.fixture
async def found(laboratory: Laboratory) -> dict[str, Any]:
    return await laboratory.facts("mounts", "masked", "writable", "status", env=MASKED)


async def test_masked_paths_show_nothing(found: dict[str, Any]) -> None:
    assert not [path for path, left in found["masked"].items() if left == "SHOWS"]
    assert found["masked"]["/proc/keys"] == "empty file"
    assert found["masked"]["/sys/firmware"] == "empty directory"


async def test_nothing_of_the_kernel_can_be_written(found: dict[str, Any]) -> None:
    """Not one of some 800 files below /proc/sys, nor any of /sys and the cgroups."""
    assert found["writable"] == []


async def test_flags_of_every_mount(found: dict[str, Any]) -> None:
    mounts = found["mounts"]
    assert flags(mounts["/proc"]) >= {"rw", *SAFE}
    assert flags(mounts["/sys"]) >= {"ro", *SAFE}
    assert flags(mounts["/dev"]) == {"rw", "nosuid"}, "strictatime: neither relatime nor noatime"
    assert {"size=65536k", "mode=755"} <= set(mounts["/dev"]["options"].split(","))
    assert flags(mounts["/dev/pts"]) >= {"nosuid", "noexec"}
    assert {"gid=5", "mode=620", "ptmxmode=666"} <= set(mounts["/dev/pts"]["options"].split(","))
    assert flags(mounts["/dev/shm"]) >= {"rw", *SAFE}
    assert "size=65536k" in mounts["/dev/shm"]["options"]
    assert flags(mounts["/dev/mqueue"]) >= {"rw", *SAFE}
    for path in ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"):
        assert flags(mounts[path]) >= {"ro", *SAFE}, path
    assert [mount["kind"] for path, mount in mounts.items() if path.startswith("/proc/")].count("proc") >= 4
    groups = {path: flags(mount) for path, mount in mounts.items() if path.startswith("/sys/fs/cgroup")}
    assert groups
    assert not {path: told for path, told in groups.items() if not told >= {"ro", *SAFE}}


async def test_no_mount_is_shared_and_none_is_of_the_host(
    found: dict[str, Any], laboratory: Laboratory
) -> None:
    mounts = found["mounts"]
    assert not [path for path, mount in mounts.items() if "shared" in mount["propagation"]]
    bound = {target for _, target in laboratory.image.binds}
    bound |= {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
    disks = {path for path, mount in mounts.items() if mount["source"].startswith("/dev/")}
    assert disks <= bound
    assert str(laboratory.paths.lib) not in mounts["/"]["options"], (
        "where the layers are is nobody's business"
    )


async def test_cgroups_show_the_containers_own(found: dict[str, Any], laboratory: Laboratory) -> None:
    if cgroups.version() == 2:
        assert found["mounts"]["/sys/fs/cgroup"]["root"] == "/"
        return
    roots = {m["root"] for path, m in found["mounts"].items() if path.startswith("/sys/fs/cgroup/")}
    assert all(root.endswith(laboratory.last_id()) for root in roots)


ATTACKS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, *arguments):
    result = getattr(libc, name)(*arguments)
    print(name, "ok" if result == 0 else errno.errorcode[ctypes.get_errno()])
def write(path):
    try:
        os.close(os.open(path, os.O_WRONLY))  # opening is enough to know, and changes nothing
        print(path, "ok")
    except OSError as problem:
        print(path, errno.errorcode[problem.errno])
attempt("umount2", b"/proc/keys", 2)
attempt("umount2", b"/sys/firmware", 2)
attempt("mount", b"none", b"/proc/sys", None, 32 | 4096, None)
attempt("mount", b"proc", b"/mnt", b"proc", 0, None)
attempt("mount", b"none", b"/sys", None, 32, None)
for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/irq/default_smp_affinity",
             "/sys/kernel/uevent_helper"):
    write(path)
try:
    os.chmod("/proc/keys", 0o777)
    print("chmod ok")
except OSError as problem:
    print("chmod", errno.errorcode[problem.errno])
"""


@pytest.mark.parametrize("capable", [False, True])
async def test_what_is_covered_stays_covered(laboratory: Laboratory, capable: bool) -> None:
    """Without CAP_SYS_ADMIN nothing can be uncovered; with it mounting is possible, as the option promises."""
    finished = await laboratory.run(
        "/usr/bin/python3", "-c", ATTACKS, cap_add=("SYS_ADMIN",) if capable else ()
    )
    lines = finished.lines
    assert lines[:5] == (
        ["umount2 ok"] * 2 + ["mount ok"] * 3 if capable else ["umount2 EPERM"] * 2 + ["mount EPERM"] * 3
    )
    if not capable:
        assert lines[6] == "/proc/sys/kernel/core_pattern EROFS"
        assert {line.split()[1] for line in lines[5:9]} <= {"EROFS", "ENOENT"}
        assert lines[-1] == "chmod EROFS", "the mode of a device of the host is not to be had through a mask"


async def test_privileged(laboratory: Laboratory) -> None:
    found = await laboratory.facts("mounts", "masked", "writable", env=MASKED, privileged=True)
    assert flags(found["mounts"]["/sys"]) >= {"rw", *SAFE}
    assert flags(found["mounts"]["/proc"]) >= {"rw", *SAFE}
    assert not [path for path in found["mounts"] if path.startswith("/proc/")]
    assert "SHOWS" in found["masked"].values()
    assert "/proc/sys/kernel/core_pattern" in found["writable"]
    groups = [m for path, m in found["mounts"].items() if path.startswith("/sys/fs/cgroup")]
    assert groups
    assert all(flags(mount) >= {"rw", *SAFE} for mount in groups)


async def test_system_paths_unconfined(laboratory: Laboratory) -> None:
    """The masks go; /sys stays read-only, and so do the cgroups."""
    found = await laboratory.facts(
        "mounts", "masked", "writable", env=MASKED, security_opt=("systempaths=unconfined",)
    )
    assert found["masked"]["/proc/keys"] == "SHOWS"
    assert "/proc/sys/kernel/core_pattern" in found["writable"]
    assert not [path for path in found["writable"] if path.startswith("/sys")]
    assert "ro" in flags(found["mounts"]["/sys"])


async def test_shared_memory_that_is_a_tmpfs_of_ones_own(laboratory: Laboratory) -> None:
    mount = Mount(type="tmpfs", target="/dev/shm", size=1 << 20)
    finished = await laboratory.sh(
        "stat -c %a /dev/shm; touch /dev/shm/mine && echo made", user="1000", mounts=(mount,)
    )
    assert finished.lines == ["1777", "made"]


async def test_the_engines_files_in_a_read_only_root(laboratory: Laboratory) -> None:
    script = "cd /etc; for name in hosts hostname resolv.conf; do echo evil >> $name && echo ok; done; cat hostname"
    assert (await laboratory.sh(script)).lines == ["ok"] * 3 + ["x", "evil"]
    assert (await laboratory.sh(script, read_only=True)).lines == ["x"]


async def test_read_only_root(laboratory: Laboratory) -> None:
    """Docker's exceptions: /dev and /dev/shm stay as they are; the engine's files do not."""
    found = await laboratory.facts("mounts", read_only=True, mounts=(Mount(type="tmpfs", target="/run"),))
    mounts = found["mounts"]
    assert "ro" in flags(mounts["/"])
    written = {path for path in ("/run", "/dev", "/dev/shm", "/etc/hosts") if "rw" in flags(mounts[path])}
    assert written == {"/run", "/dev", "/dev/shm"}


def test_processors_that_tell_of_their_heat_are_masked() -> None:
    throttle = "/sys/devices/system/cpu/cpu0/thermal_throttle"
    sources = mounting.MountSources(
        layers=(), state_dir="/s/containers/x", run_dir="/r", masked=(*mounting.MASKED, throttle)
    )
    planned = mounting.plan_mounts(ContainerConfig(image="x"), sources)
    assert [throttle in item.paths for item in planned if isinstance(item, operations.Mask)] == [True]


async def test_a_proc_that_is_a_link_is_refused(laboratory: Laboratory) -> None:
    """CVE-2019-19921: an image (or what a container left) whose /proc or /sys leads elsewhere."""
    for name in ("proc", "sys", "dev"):
        container = name.encode().hex().ljust(64, "0")
        made = await laboratory.sh("true", id=container)
        assert made.code == 0
        upper = laboratory.paths.container(container) / "upper"
        (upper / "etc/evil").mkdir(parents=True)
        (upper / name).symlink_to("/etc/evil")
        with pytest.raises(LaunchError, match=f"/{name} of the image is not a real directory"):
            await laboratory.sh("true", id=container)
