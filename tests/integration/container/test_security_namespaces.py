"""Namespaces: new ones by default, shared ones where asked for, and what is shared with them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from runtime.container.shim_client import LaunchError
from runtime.errors import InvalidArgument

if TYPE_CHECKING:
    from runtime.container.shim_client import Shim

    from .conftest import Laboratory

HOSTS = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in os.listdir("/proc/self/ns")}
JOINED = {
    "mode": "container",
    "endpoints": [],
    "resolver": False,
    "sysctls": {},
    "descriptors": ["sock_diag"],
}
"""The network of another container."""


def shared(found: dict[str, Any]) -> set[str]:
    return {kind for kind, name in found["namespaces"].items() if name == HOSTS[kind] and "_for_" not in kind}


async def settled(laboratory: Laboratory, shim: Shim, condition: str) -> None:
    """Until ``condition`` holds in the container."""
    waiting = f"until {condition}; do sleep 0.02; done"
    assert (await laboratory.exec(shim, "/bin/sh", "-c", waiting)).code == 0


async def test_default(laboratory: Laboratory) -> None:
    found = await laboratory.facts("namespaces", "process")
    private_cgroup = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    assert shared(found) == {"user"} | (set() if private_cgroup else {"cgroup"})
    assert found["process"]["pid"] == found["process"]["session"] == 1


async def test_execs_are_in_all_of_them(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    own = {kind: os.readlink(f"/proc/{shim.pid}/ns/{kind}") for kind in HOSTS}
    assert (await laboratory.facts("namespaces", shim=shim))["namespaces"] == own


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"pid_mode": "host"}, "pid"),
        ({"ipc_mode": "host"}, "ipc"),
        ({"uts_mode": "host"}, "uts"),
        ({"network_mode": "host"}, "net"),
        ({"cgroupns_mode": "host"}, "cgroup"),
    ],
    ids=str,
)
async def test_one_of_the_hosts(laboratory: Laboratory, options: dict[str, Any], kind: str) -> None:
    """That one and no other; what belongs to it comes along."""
    default = shared(await laboratory.facts("namespaces"))
    found = await laboratory.facts("namespaces", "mounts", "process", "status", **options)
    assert shared(found) == default | {kind}
    assert found["status"]["CapEff"] == "00000000a80425fb", "sharing gives no rights"
    assert (found["process"]["pid"] == 1) == (kind != "pid")
    assert (found["process"]["hostname"] == os.uname().nodename) == (kind == "uts")
    assert ("size=65536k" in found["mounts"]["/dev/shm"]["options"]) == (kind != "ipc")


async def test_a_private_cgroup_namespace(laboratory: Laboratory) -> None:
    found = await laboratory.facts("namespaces", "mounts", cgroupns_mode="private")
    assert "cgroup" not in shared(found)
    roots = {m["root"] for path, m in found["mounts"].items() if m["kind"].startswith("cgroup")}
    assert roots == {"/"}, "its own part looks like the whole"


async def test_another_containers(laboratory: Laboratory) -> None:
    """With the ipc namespace comes /dev/shm: POSIX shared memory are files there."""
    donor = await laboratory.start("/bin/sh", "-c", "echo shared > /dev/shm/x; sleep 1000", shm_size=1 << 20)
    await settled(laboratory, donor, "test -s /dev/shm/x")
    modes = dict.fromkeys(("pid_mode", "ipc_mode", "network_mode", "uts_mode"), "container:x")
    found = await laboratory.facts(
        "namespaces", "mounts", "status", "process", **modes, sandbox=JOINED,
        inputs={"join": dict.fromkeys(("pid", "ipc", "net", "uts"), donor.pid)},
    )  # fmt: skip
    for kind in ("pid", "ipc", "net", "uts"):
        assert found["namespaces"][kind] == os.readlink(f"/proc/{donor.pid}/ns/{kind}")
    assert found["namespaces"]["mnt"] != os.readlink(f"/proc/{donor.pid}/ns/mnt")
    assert found["process"]["pid"] > 1
    memory = found["mounts"]["/dev/shm"]
    assert (memory["kind"], memory["options"]) == ("tmpfs", "rw,size=1024k")
    assert memory["flags"].startswith("rw,nosuid,nodev,noexec")
    finished = await laboratory.sh(
        "cat /dev/shm/x", ipc_mode="container:x", inputs={"join": {"ipc": donor.pid}}
    )
    assert finished.lines == ["shared"]


async def test_a_donor_cannot_choose_what_is_mounted(laboratory: Laboratory) -> None:
    """Its /dev/shm became a link: not followed."""
    donor = await laboratory.start(
        "/bin/sh",
        "-c",
        "umount /dev/shm; rmdir /dev/shm; ln -s /etc /dev/shm; sleep 1000",
        cap_add=("SYS_ADMIN",),
    )
    await settled(laboratory, donor, "test -L /dev/shm")
    with pytest.raises(LaunchError, match="/dev/shm"):
        await laboratory.sh("true", ipc_mode="container:x", inputs={"join": {"ipc": donor.pid}})


async def test_hostnames(laboratory: Laboratory) -> None:
    """A container in another's network has its name, as in Docker; it cannot have one of its own there."""
    donor = await laboratory.start("sleep", "1000", hostname="donor")
    inputs = {"join": {"net": donor.pid, "uts": donor.pid}, "hostname": "donor"}
    finished = await laboratory.sh(
        "hostname; echo $HOSTNAME", network_mode="container:x", sandbox=JOINED, inputs=inputs
    )
    assert finished.lines == ["donor", "donor"]
    for options, says in (({"network_mode": "container:x"}, "network"), ({"uts_mode": "host"}, "UTS")):
        with pytest.raises(InvalidArgument, match=f"conflicting options: hostname and the {says} mode"):
            await laboratory.run("true", hostname="own", inputs=inputs, **options)


async def test_no_ipc(laboratory: Laboratory) -> None:
    """A namespace of its own, without shared memory to be mounted."""
    found = await laboratory.facts("namespaces", "mounts", ipc_mode="none")
    assert "ipc" not in shared(found)
    assert "/dev/shm" not in found["mounts"]
    assert "/dev/mqueue" in found["mounts"]


async def test_a_donor_that_is_gone(laboratory: Laboratory) -> None:
    with pytest.raises(InvalidArgument, match="that container is not running"):
        await laboratory.run("true", ipc_mode="container:x")


async def test_nothing_of_the_host_is_in_the_processes_of_a_container(laboratory: Laboratory) -> None:
    """Without a pid namespace of the host no process outside can be seen or signalled."""
    finished = await laboratory.sh("cd /proc; ls -d [0-9]*; kill -0 2 2>&1; kill -0 -1")
    seen = [line for line in finished.lines if line.isdecimal()]
    assert set(seen) <= {"1", "2"}
