"""Processes beside a container's own."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
import trio

from runtime.container.config import ContainerConfig
from runtime.container.shim_client import ExecStreams, LaunchError, ShimGone

from .conftest import TIMEOUT, Pipe

if TYPE_CHECKING:
    from .conftest import Laboratory


async def test_exit_codes_and_output(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    finished = await laboratory.exec(shim, "/bin/sh", "-c", "echo out; echo err >&2; exit 4")
    assert (finished.code, finished.stdout, finished.stderr) == (4, b"out\n", b"err\n")
    assert (await laboratory.exec(shim, "/bin/sh", "-c", "kill -9 $$")).code == 137
    assert (await laboratory.exec(shim, "cat", stdin=b"given")).stdout == b"given"
    assert (await laboratory.exec(shim, "true")).code == 0


async def test_not_found(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    for argv, code in ((("nope",), 127), (("/etc/passwd",), 126)):
        with pytest.raises(LaunchError) as caught:
            await laboratory.exec(shim, *argv)
        assert caught.value.exit_code == code


async def test_is_inside(laboratory: Laboratory) -> None:
    """Same namespaces, root, cgroup, and confinement as the container's first process."""
    shim = await laboratory.start("sleep", "1000")
    script = "for n in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$n /proc/1/ns/$n; done"
    lines = (await laboratory.exec(shim, "/bin/sh", "-c", script)).lines
    assert len(lines) == 12
    assert lines[::2] == lines[1::2]
    for name in ("CapEff", "CapBnd", "CapInh", "CapAmb", "Seccomp", "NoNewPrivs"):
        both = (
            await laboratory.exec(shim, "grep", "-h", f"^{name}:", "/proc/1/status", "/proc/self/status")
        ).lines
        assert len(set(both)) == 1, both
    assert (await laboratory.exec(shim, "/bin/sh", "-c", "ls /proc/self/fd | wc -l")).text.strip() == "4"
    cgroups = (
        await laboratory.exec(shim, "/bin/sh", "-c", "diff /proc/1/cgroup /proc/self/cgroup && echo same")
    ).text
    assert cgroups == "same\n"


async def test_user_directory_environment(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    finished = await laboratory.exec(
        shim, "/bin/sh", "-c", "id -u; id -g; pwd; echo $COLOUR", user="nobody", cwd="/tmp", env=["COLOUR=red"]
    )  # fmt: skip
    assert finished.lines[:4] == ["65534", "65534", "/tmp", "red"]
    assert (await laboratory.exec(shim, "id", "-u", user="12345")).lines == ["12345"]
    with pytest.raises(LaunchError, match=r"^unable to find user nonesuch"):
        await laboratory.exec(shim, "true", user="nonesuch")
    with pytest.raises(LaunchError, match='working directory "/none": No such file') as caught:
        await laboratory.exec(shim, "true", cwd="/none")
    assert caught.value.exit_code == 126


async def test_terminal(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    with trio.fail_after(TIMEOUT):
        session = await shim.exec(
            laboratory.exec_spec("/bin/sh", "-c", "tty; stty size; read x; stty size; exit 6", tty=True)
        )
        assert session.terminal is not None
        os.set_blocking(session.terminal, False)
        shown = b""
        typed = False
        code: list[int] = []

        async def wait() -> None:
            code.append(await session.wait())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            while True:
                await trio.lowlevel.wait_readable(session.terminal)
                try:
                    part = os.read(session.terminal, 4096)
                except OSError:
                    break
                if not part:
                    break
                shown += part
                if b"0 0" in shown and not typed:
                    typed = True
                    await session.resize(40, 100)
                    with trio.fail_after(TIMEOUT):
                        while os.get_terminal_size(session.terminal) != (100, 40):
                            await trio.sleep(0.01)
                    os.write(session.terminal, b"\n")
        os.close(session.terminal)
    assert code == [6]
    assert b"/dev/pts/0" in shown
    assert b"40 100" in shown


async def test_signal(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    session = await shim.exec(laboratory.exec_spec("sleep", "1000"))
    await session.signal(signal.SIGTERM)
    with trio.fail_after(TIMEOUT):
        assert await session.wait() == 143


async def test_ends_with_the_container(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    session = await shim.exec(laboratory.exec_spec("sleep", "1000"))
    shim.signal(signal.SIGKILL)
    with trio.fail_after(TIMEOUT):
        assert (await shim.wait()).exit_code == 137
        try:
            assert await session.wait() == 137
        except ShimGone:
            pass
    with pytest.raises(ShimGone):
        await shim.exec(laboratory.exec_spec("true"))


async def test_many_at_once(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    results: list[int] = []

    async def one(number: int) -> None:
        results.append((await laboratory.exec(shim, "/bin/sh", "-c", f"exit {number}")).code)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)
    assert sorted(results) == list(range(20))
    assert (await shim.state())["execs"] == []


async def test_runs_on_when_nobody_waits(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    pipe = Pipe()
    session = await shim.exec(
        laboratory.exec_spec("/bin/sh", "-c", "sleep 0.1; echo late"), ExecStreams(stdout=pipe.writer)
    )
    pipe.close_writer()
    session.close()
    with trio.fail_after(TIMEOUT):
        await pipe.collect()
    assert pipe.data == b"late\n"


async def test_privileged(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    plain = await laboratory.exec(shim, "grep", "CapEff", "/proc/self/status")
    privileged = await laboratory.exec(shim, "grep", "CapEff", "/proc/self/status", privileged=True)
    assert plain.lines == ["CapEff:\t00000000a80425fb"]
    assert int(privileged.text.split()[1], 16) & 1 << 21, "CAP_SYS_ADMIN"


async def test_dropped_capabilities_hold_for_execs(laboratory: Laboratory) -> None:
    config = ContainerConfig(image="x", cap_drop=("ALL",))
    shim = await laboratory.start("sleep", "1000", cap_drop=("ALL",))
    finished = await laboratory.exec(shim, "grep", "-E", "Cap(Eff|Bnd)", "/proc/self/status", config=config)
    assert finished.lines == ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"]
