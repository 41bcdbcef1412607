"""Capabilities and identity: Docker's fourteen, what options add and take away, what a set-uid file can win back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runtime.errors import InvalidArgument
from runtime.kernel import capabilities
from runtime.kernel.capabilities import DEFAULT, NUMBERS

if TYPE_CHECKING:
    from .conftest import Laboratory

SETS = ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")
OWN = capabilities.read_bounding()
"""What this machine's root has: nothing beyond it can be given."""
WIN_BACK = """
import os, struct
for name in ("setuid", "filecap"):
    with open("/usr/bin/cat", "rb") as source, open(f"/tmp/{name}", "wb") as copy:
        copy.write(source.read())
    os.chmod(f"/tmp/{name}", 0o4755 if name == "setuid" else 0o755)
os.setxattr("/tmp/filecap", "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
for name in ("setuid", "filecap"):
    if os.fork() == 0:
        os.setresuid(1000, 1000, 1000)
        os.execv(f"/tmp/{name}", [name, "/proc/self/status"])
    os.wait()
"""
"""A user executes a set-uid cat, and one with NET_BIND_SERVICE (10) as file capability. capabilities(7)"""


def sets(status: dict[str, str]) -> tuple[int, ...]:
    return tuple(int(status[name], 16) for name in SETS)


def mask(*names: str) -> int:
    return sum(1 << NUMBERS[name] for name in names)


async def test_root(laboratory: Laboratory) -> None:
    found = await laboratory.facts("status", "process")
    assert sets(found["status"]) == (0xA80425FB, 0xA80425FB, 0xA80425FB, 0, 0)
    assert found["status"]["NoNewPrivs"] == "0"
    assert found["process"]["ids"] == [0] * 6
    assert found["process"]["groups"] == [0]
    assert found["process"]["uid_map"] == ["0", "0", "4294967295"]


async def test_a_user_has_the_bounding_set_only(laboratory: Laboratory) -> None:
    """Inheritable and ambient stay empty: CVE-2022-24769. A number is never looked up as a name."""
    found = await laboratory.facts("status", "process", user="1000", cap_add=("NET_ADMIN",))
    assert sets(found["status"]) == (DEFAULT | mask("NET_ADMIN"), 0, 0, 0, 0)
    assert found["process"]["ids"] == [1000] * 3 + [0] * 3
    assert found["process"]["groups"] == [0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cap_drop": ("ALL",)}, 0),
        ({"cap_drop": ("ALL",), "cap_add": ("CAP_NET_BIND_SERVICE", "chown")}, mask("NET_BIND_SERVICE", "CHOWN")),
        ({"cap_drop": ("MKNOD", "cap_net_raw")}, DEFAULT & ~mask("MKNOD", "NET_RAW")),
        ({"cap_add": ("NET_ADMIN", "SYS_PTRACE")}, DEFAULT | mask("NET_ADMIN", "SYS_PTRACE")),
        ({"cap_add": ("ALL",)}, OWN),
        ({"cap_add": ("ALL",), "cap_drop": ("NET_RAW",)}, OWN & ~mask("NET_RAW")),
        ({"privileged": True}, OWN),
        ({"privileged": True, "cap_drop": ("ALL",)}, OWN),
    ],
    ids=str,
)  # fmt: skip
async def test_added_and_dropped(laboratory: Laboratory, options: dict[str, Any], expected: int) -> None:
    found = await laboratory.facts("status", **options)
    assert sets(found["status"]) == (expected, expected, expected, 0, 0)


async def test_an_unknown_capability_is_named(laboratory: Laboratory) -> None:
    with pytest.raises(InvalidArgument, match="invalid capability: 'NET_ADMINN'"):
        await laboratory.run("true", cap_add=("NET_ADMINN",))


async def test_an_exec_has_no_more_than_its_container(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    found = await laboratory.facts("status", shim=shim)
    assert sets(found["status"]) == (DEFAULT, DEFAULT, DEFAULT, 0, 0)
    found = await laboratory.facts("status", "process", shim=shim, user="1000:1001")
    assert sets(found["status"]) == (DEFAULT, 0, 0, 0, 0)
    assert found["process"]["ids"] == [1000] * 3 + [1001] * 3
    assert found["process"]["groups"] == [1001]
    found = await laboratory.facts("status", shim=shim, privileged=True)
    assert sets(found["status"]) == (OWN, OWN, OWN, 0, 0)


@pytest.mark.parametrize("limited", [False, True])
async def test_files_that_give_rights(laboratory: Laboratory, limited: bool) -> None:
    """With no-new-privileges neither the set-uid bit nor file capabilities do anything."""
    options = {"security_opt": ("no-new-privileges",)} if limited else {}
    finished = await laboratory.run("/usr/bin/python3", "-c", WIN_BACK, **options)
    _, setuid, filecap = finished.text.split("Name:")
    found = [dict(line.split(":\t", 1) for line in f"Name:{text}".splitlines()) for text in (setuid, filecap)]
    assert found[0]["Uid"].split()[1] == ("1000" if limited else "0")
    assert int(found[0]["CapEff"], 16) == (0 if limited else DEFAULT)
    assert int(found[1]["CapPrm"], 16) == (0 if limited else mask("NET_BIND_SERVICE"))
    assert found[1]["NoNewPrivs"] == str(int(limited))
