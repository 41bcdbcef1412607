"""Device nodes and which of them can be opened: by default, with options, privileged."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.container.config import Device
from runtime.errors import InvalidArgument

if TYPE_CHECKING:
    from .conftest import Laboratory

HARMLESS = ("c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:1", "c 5:2", "c 10:200")
"""null, zero, full, random, urandom, tty, console, ptmx, tun."""
DANGEROUS = (
    "c 1:1",
    "c 1:2",
    "c 1:4",
    "c 1:11",
    "c 4:1",
    "c 10:229",
    "c 10:237",
    "b 7:0",
    "b 254:0",
    "b 8:0",
)
"""mem, kmem, port, kmsg, a console, fuse, loop-control, a loop device, disks."""
EVERYTHING = (f"NODES={json.dumps([*HARMLESS, *DANGEROUS])}",)
NODES = {
    "null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0",
}  # fmt: skip
LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}  # fmt: skip


@pytest.fixture(autouse=True)
def loop_device() -> None:
    """A block device that root may open on this machine."""
    with contextlib.suppress(FileExistsError):
        os.mknod("/dev/loop0", stat.S_IFBLK | 0o660, os.makedev(7, 0))


async def test_what_can_be_made_and_opened(laboratory: Laboratory) -> None:
    """mknod is allowed for all (CAP_MKNOD), opening is the cgroup's business."""
    found = (await laboratory.facts("nodes", env=EVERYTHING))["nodes"]
    assert {node: found[node] for node in DANGEROUS} == dict.fromkeys(DANGEROUS, "EPERM")
    assert not [node for node in HARMLESS if found[node] == "EPERM"]


async def test_without_mknod_none_can_be_made(laboratory: Laboratory) -> None:
    found = await laboratory.facts("nodes", env=EVERYTHING, cap_drop=("MKNOD",))
    assert set(found["nodes"].values()) == {"EPERM"}


async def test_dev(laboratory: Laboratory) -> None:
    found = (await laboratory.facts("devices"))["devices"]
    expected = {f"/dev/{name}": f"crw-rw-rw- 0:0 {number}" for name, number in NODES.items()}
    expected |= {f"/dev/{name}": f"-> {target}" for name, target in LINKS.items()}
    expected |= {"/dev/pts": "drwxr-xr-x 0:0", "/dev/pts/ptmx": "crw-rw-rw- 0:0 5:2"}
    expected |= {"/dev/shm": "drwxrwxrwt 0:0", "/dev/mqueue": "drwxrwxrwt 0:0"}
    if Path("/proc/kcore").exists():
        expected["/dev/core"] = "-> /proc/kcore"
    assert found == expected


async def test_execs_are_held_by_the_same_rules(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    found = await laboratory.facts("nodes", shim=shim, env=EVERYTHING)
    assert {found["nodes"][node] for node in DANGEROUS} == {"EPERM"}


async def test_a_device_given(laboratory: Laboratory) -> None:
    """It alone, and as far as its permissions go."""
    nodes = (f"NODES={json.dumps(['b 7:0', 'b 7:1'])}",)
    for permissions, answer in (("rwm", "ok"), ("r", "EPERM"), ("rw", "ok")):
        given = Device(source="/dev/loop0", target="/dev/below/x", permissions=permissions)
        found = await laboratory.facts("devices", "nodes", env=nodes, devices=(given,))
        kind = stat.filemode(os.stat("/dev/loop0").st_mode)
        assert found["devices"]["/dev/below/x"] == f"{kind} 0:0 7:0"
        assert found["nodes"] == {"b 7:0": answer, "b 7:1": "EPERM"}


async def test_all_devices_of_the_host(laboratory: Laboratory) -> None:
    given = Device(source="/dev", target="/dev")
    found = (await laboratory.facts("devices", devices=(given,)))["devices"]
    assert found["/dev/loop0"].endswith(" 7:0")
    assert found["/dev/null"] == "crw-rw-rw- 0:0 1:3"
    assert found["/dev/pts/ptmx"] == "crw-rw-rw- 0:0 5:2"


async def test_devices_where_the_engine_has_something_else(laboratory: Laboratory) -> None:
    """Terminals of the host are under the container's own; a device may have the name of a link."""
    master, slave = os.openpty()
    given = (Device(source="/dev/pts", target="/dev/pts"), Device(source="/dev/null", target="/dev/stdin"))
    found = (await laboratory.facts("devices", devices=given))["devices"]
    os.close(master)
    os.close(slave)
    assert [name for name in found if name.startswith("/dev/pts/")] == ["/dev/pts/ptmx"]
    assert found["/dev/stdin"] == "crw-rw-rw- 0:0 1:3"


async def test_a_device_elsewhere_than_in_dev(laboratory: Laboratory) -> None:
    """Made anew at each start, in the root; not where a link of the image leads to on the host."""
    given = Device(source="/dev/loop0", target="/opt/below/x")
    found = await laboratory.run("stat", "-c", "%F %t:%T", "/opt/below/x", devices=(given,))
    assert found.stdout == b"block special file 7:0\n"
    assert not Path("/opt/below").exists()


async def test_device_cgroup_rules(laboratory: Laboratory) -> None:
    """They open, and make no node."""
    found = await laboratory.facts("nodes", "devices", env=EVERYTHING, device_cgroup_rules=("b 7:* rw",))
    assert found["nodes"]["b 7:0"] == "ok"
    assert {found["nodes"][node] for node in DANGEROUS if node != "b 7:0"} == {"EPERM"}
    assert "/dev/loop0" not in found["devices"]
    with pytest.raises(InvalidArgument, match="invalid device cgroup format"):
        await laboratory.run("true", device_cgroup_rules=("b 7 rw",))


@pytest.mark.parametrize(
    ("device", "says"),
    [
        (
            Device(source="/dev/nonesuch", target="/dev/x"),
            "error gathering device information for /dev/nonesuch",
        ),
        (Device(source="/etc/passwd", target="/dev/x"), "not a device node"),
        (Device(source="/dev/null", target="/dev/x", permissions="q"), "invalid device permissions 'q'"),
        (Device(source="/dev/null", target="x"), "invalid device target 'x'"),
        (Device(source="/dev/null", target="/dev/.."), "invalid device target"),
    ],
    ids=("missing", "no device", "permissions", "relative", "root"),
)
async def test_what_is_refused(laboratory: Laboratory, device: Device, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        await laboratory.run("true", devices=(device,))


async def test_privileged_has_all_of_the_hosts(laboratory: Laboratory) -> None:
    found = await laboratory.facts(
        "nodes", "devices", env=(f"NODES={json.dumps(['b 7:0', 'c 1:11'])}",), privileged=True
    )
    assert found["nodes"] == {"b 7:0": "ok", "c 1:11": "ok"}
    assert found["devices"]["/dev/loop0"].endswith("7:0")
    assert not [
        path for path in found["devices"] if path.startswith("/dev/pts/") and path != "/dev/pts/ptmx"
    ], "its terminals are its own"
