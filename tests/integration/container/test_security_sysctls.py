"""Sysctls reach the container's own namespaces and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.errors import InvalidArgument
from runtime.network.sandbox import plan_sandbox

if TYPE_CHECKING:
    from .conftest import Laboratory

NAMES = (
    "net/ipv4/ip_unprivileged_port_start", "net/ipv4/ping_group_range", "net/ipv4/conf/all/route_localnet",
    "net/ipv4/ip_forward", "net/core/somaxconn", "kernel/msgmax", "kernel/shm_rmid_forced",
)  # fmt: skip
SCRIPT = "cd /proc/sys; for name in " + " ".join(NAMES) + "; do echo $(cat $name); done"


def of_the_host() -> list[str]:
    return [" ".join(Path("/proc/sys", name).read_text().split()) for name in NAMES]


async def test_defaults_and_what_was_asked_for(laboratory: Laboratory) -> None:
    before = of_the_host()
    assert (await laboratory.sh(SCRIPT)).lines[:3] == ["0", "0 2147483647", "0"]
    asked = {
        "net.ipv4.ip_forward": "1", "net/core/somaxconn": "77", "kernel.msgmax": "9000", "kernel/shm_rmid_forced": "1",
    }  # fmt: skip
    sandbox = dict(plan_sandbox("x", mode="none", sysctls=asked))
    finished = await laboratory.sh(SCRIPT, sysctls=asked, sandbox=sandbox)
    assert finished.lines[3:] == ["1", "77", "9000", "1"]
    assert of_the_host() == before


@pytest.mark.parametrize(
    "key",
    [
        "kernel.core_pattern", "kernel/core_pattern", "vm.overcommit_memory", "net.//.kernel.core_pattern",
        "net/../kernel/core_pattern", "fs.mqueue.../kernel/core_pattern", "kernel.hostname",
    ],
)  # fmt: skip
async def test_none_of_the_hosts(laboratory: Laboratory, key: str) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    with pytest.raises(InvalidArgument, match="sysctl"):
        await laboratory.run("true", sysctls={key: "evil"})
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


async def test_none_in_a_namespace_that_is_shared(laboratory: Laboratory) -> None:
    sandbox = {"mode": "host", "endpoints": [], "resolver": False, "sysctls": {}, "descriptors": []}
    with pytest.raises(InvalidArgument, match="network namespace that is not the container's own"):
        await laboratory.run(
            "true", network_mode="host", sandbox=sandbox, sysctls={"net.core.somaxconn": "5"}
        )
    with pytest.raises(InvalidArgument, match="host's IPC namespace"):
        await laboratory.run("true", ipc_mode="host", sysctls={"kernel.msgmax": "5"})
