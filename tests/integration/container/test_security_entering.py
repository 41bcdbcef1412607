"""Processes that enter a pid namespace: whoever is in there already may look at them, and trace them when it has
CAP_SYS_PTRACE. They carry nothing of the host, and are never more than their program will be."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime.container.config import ContainerConfig
from runtime.container.host import find_tools
from runtime.container.shim_client import LaunchError, ShimGone
from runtime.kernel.capabilities import DEFAULT, NUMBERS

if TYPE_CHECKING:
    from .conftest import Laboratory

WATCHING = Path(__file__).with_name("watching.py")
TRACING = DEFAULT | 1 << NUMBERS["SYS_PTRACE"]
DESCRIPTORS = {"pipe", "socket", "/dev/null", "/memfd"}


async def watch(
    laboratory: Laboratory, enter: Callable[[int], Awaitable[object]], *, capable: bool = True
) -> dict[str, Any]:
    """What a container sees, and may trace if ``capable``, of all that ``enter`` lets in, which is given the process id
    of its init, again and again."""
    found: list[Any] = []

    async def look() -> None:
        argv = ("/usr/bin/python3", "-c", WATCHING.read_text(), *(["capable"] if capable else []))
        found.append(await laboratory.run(*argv, cap_add=("SYS_PTRACE",) if capable else ()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        while not laboratory.shims:
            await trio.sleep(0.02)
        while not found:
            try:
                await enter(laboratory.shims[0].pid)
            except (LaunchError, ShimGone, OSError):
                break
    assert found[0].code == 0, found[0].stderr
    seen: dict[str, Any] = json.loads(found[0].stdout)
    assert seen["seen"] > 0
    assert seen["writable"] == []
    assert set(seen["fds"]) <= DESCRIPTORS, "no log or event queue of the shim"
    return seen


@pytest.mark.parametrize("capable", [False, True])
async def test_an_exec_that_is_on_its_way_in(laboratory: Laboratory, capable: bool) -> None:
    """CVE-2016-9962: a process that joins can be seen before it executes; it carries nothing of the host."""
    capabilities = ("SYS_PTRACE",) if capable else ()
    config = ContainerConfig(image="composer.local/host", cap_add=capabilities)

    async def enter(_: int) -> None:
        await laboratory.exec(laboratory.shims[0], "true", config=config)

    seen = await watch(laboratory, enter, capable=capable)
    if capable:
        assert seen["held"] == [[TRACING, TRACING, 2]], (
            "who traces it could have it do what it may not do itself"
        )
    assert ("EACCES" in seen["refused"]) != capable


async def test_debugging_a_container_that_may_trace(laboratory: Laboratory) -> None:
    config = ContainerConfig(image="composer.local/host", cap_add=("SYS_PTRACE",))

    async def enter(_: int) -> None:
        await laboratory.exec(laboratory.shims[0], "/usr/bin/true", config=config, tools=find_tools())

    seen = await watch(laboratory, enter)
    assert seen["held"] == [[TRACING, TRACING, 2]]


@pytest.mark.parametrize("init", [False, True])
@pytest.mark.parametrize("tty", [False, True])
async def test_a_container_in_the_pid_namespace_of_one_that_may_trace(
    laboratory: Laboratory, init: bool, tty: bool
) -> None:
    async def enter(pid: int) -> None:
        guest = await laboratory.run(
            "/usr/bin/true", pid_mode="container:other", inputs={"join": {"pid": pid}}, init=init, tty=tty
        )
        assert guest.code in (0, 137)

    seen = await watch(laboratory, enter)
    assert seen["held"] == [[DEFAULT, DEFAULT, 2]]


async def test_an_exec_beside_a_guest_that_may_trace(laboratory: Laboratory) -> None:
    """It is in a container that may not, and whose pid namespace another one shares."""
    host = await laboratory.start("/bin/sleep", "1000")
    found: list[Any] = []

    async def look() -> None:
        argv = ("/usr/bin/python3", "-c", WATCHING.read_text(), "capable")
        shared = {"join": {"pid": host.pid}}
        found.append(
            await laboratory.run(*argv, cap_add=("SYS_PTRACE",), pid_mode="container:other", inputs=shared)
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        while not found:
            await laboratory.exec(host, "true")
    seen = json.loads(found[0].stdout)
    assert seen["seen"] > 0
    assert seen["held"] == [[DEFAULT, DEFAULT, 2]]


async def test_a_filter_that_forbids_to_fork(laboratory: Laboratory) -> None:
    """A process can be executed in its container all the same, and with its init where that may not fork it cannot."""
    profile = json.dumps(
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ERRNO"}]}
    )
    options = (f"seccomp={profile}",)
    shim = await laboratory.start("/bin/sleep", "1000", security_opt=options)
    config = ContainerConfig(image="composer.local/host", security_opt=options)
    assert (await laboratory.exec(shim, "/bin/echo", "here", config=config)).text == "here\n"


async def test_a_guest_sees_its_hosts_processes_and_ends_alone(laboratory: Laboratory) -> None:
    host = await laboratory.start("/bin/sleep", "1000")
    shared: dict[str, Any] = {"pid_mode": "container:other", "inputs": {"join": {"pid": host.pid}}}
    script = "tr '\\0' ' ' < /proc/1/cmdline; echo; ps -o sid= -p $$ | tr -d ' '; echo $$"
    shown = await laboratory.sh(script, **shared)
    assert shown.lines[0].strip() == "/bin/sleep 1000"
    assert shown.lines[1] == shown.lines[2], "it leads a session"
    for init in (False, True):
        ended = await laboratory.sh("exit 7", init=init, **shared)
        assert ended.code == 7
    mounted = await laboratory.sh("grep ' /proc proc\\| /proc ' /proc/self/mountinfo", **shared)
    assert "nosuid,nodev,noexec" in mounted.lines[0]
    assert (await laboratory.exec(host, "true")).code == 0


async def test_a_guest_dies_with_its_shim(laboratory: Laboratory) -> None:
    host = await laboratory.start("/bin/sleep", "1000")
    guest = await laboratory.start(
        "/bin/sleep", "1000", pid_mode="container:other", inputs={"join": {"pid": host.pid}}
    )
    status = Path(f"/proc/{guest.pid}/status").read_text()
    assert f"PPid:\t{guest.shim_pid}\n" in status
