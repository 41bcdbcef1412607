"""Killing the processes of the engine: what runs goes on, what has happened is known, nothing is left."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from runtime.container import client
from runtime.container import status as status_file
from runtime.container.client import KeeperGone, adopt
from runtime.container.shim_client import AttachStreams, ExitStatus, LaunchError, Shim, ShimGone

from .conftest import TIMEOUT, Pipe, cgroup_leftovers, end_process

if TYPE_CHECKING:
    from runtime.container.wire import LaunchSpec

    from .conftest import Laboratory


async def adopted(laboratory: Laboratory, container_id: str) -> Shim | ExitStatus | None:
    return await adopt(laboratory.paths.container_run(container_id), laboratory.paths.container(container_id))


async def kill_keeper(laboratory: Laboratory) -> None:
    pidfd = os.pidfd_open(laboratory.keeper.pid)
    await trio.to_thread.run_sync(end_process, laboratory.keeper.pid, pidfd)
    os.close(pidfd)


async def test_keeper_killed(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container goes on with its log; a new keeper starts others; its exit status arrives."""
    monkeypatch.setattr(client, "REPLACED_WITHIN", 0.0)  # no core brings another one here
    shim = await laboratory.start(
        "/bin/sh", "-c", "echo before; read x; echo after; exit 21", stdin_open=True
    )
    own = laboratory.last_id()
    await kill_keeper(laboratory)
    with trio.fail_after(TIMEOUT):
        await laboratory.keeper.wait_gone()
        with pytest.raises(KeeperGone):
            await laboratory.keeper.names()
    laboratory.new_keeper()
    assert (await laboratory.sh("exit 3")).code == 3
    reader, writer = os.pipe()
    await shim.attach(AttachStreams(stdin=reader))
    os.close(reader)
    os.write(writer, b"go\n")
    os.close(writer)
    with trio.fail_after(TIMEOUT):
        assert (await shim.wait()).exit_code == 21
    assert laboratory.log_of(own) == [("stdout", b"before"), ("stdout", b"after")]


async def test_adopted_by_another_core(laboratory: Laboratory) -> None:
    """As after the death of the core: the connection is gone, the socket is there."""
    shim = await laboratory.start("/bin/sh", "-c", "echo before; sleep 1000")
    own, pid, started_at = laboratory.last_id(), shim.pid, shim.started_at
    shim.close()
    laboratory.shims.remove(shim)
    found = await adopted(laboratory, own)
    assert isinstance(found, Shim)
    laboratory.shims.append(found)
    assert (found.pid, found.started_at) == (pid, started_at)
    assert set(found.descriptors) == {"pidfd", "sock_diag"}
    assert (await laboratory.exec(found, "echo", "x")).stdout == b"x\n"
    second = await adopted(laboratory, own)
    assert isinstance(second, Shim), "two at once do no harm"
    found.signal(signal.SIGKILL)
    with trio.fail_after(TIMEOUT):
        assert (await found.wait()).exit_code == (await second.wait()).exit_code == 137
    second.close()
    ended = await adopted(laboratory, own)
    assert isinstance(ended, ExitStatus)
    assert (ended.exit_code, ended.signal, ended.started_at) == (137, 9, started_at)


async def test_ends_while_nobody_looks(laboratory: Laboratory) -> None:
    shim = await laboratory.start("/bin/sh", "-c", "sleep 0.2; echo last words; exit 33")
    own, shim_pid = laboratory.last_id(), shim.shim_pid
    shim.close()
    laboratory.shims.remove(shim)
    await kill_keeper(laboratory)
    with trio.fail_after(TIMEOUT):
        with suppress(OSError):  # it may end between opening and reading
            while "Z" not in Path(f"/proc/{shim_pid}/stat").read_text():
                await trio.sleep(0.01)
    found = await adopted(laboratory, own)
    assert isinstance(found, ExitStatus)
    assert found.exit_code == 33
    assert laboratory.log_of(own) == [("stdout", b"last words")]
    laboratory.new_keeper()


async def test_shim_killed(laboratory: Laboratory) -> None:
    """The kernel kills the container with it, and whoever asks is told."""
    shim = await laboratory.start("/bin/sh", "-c", "sleep 1000 & sleep 1000")
    own = laboratory.last_id()
    session = await shim.exec(laboratory.exec_spec("sleep", "1000"))
    os.kill(shim.shim_pid, signal.SIGKILL)
    with trio.fail_after(TIMEOUT):
        ended = await shim.wait()
        with pytest.raises(ShimGone):
            await session.wait()
    assert (ended.exit_code, ended.signal) == (137, 9)
    assert "shim" in ended.error
    found = await adopted(laboratory, own)
    assert isinstance(found, ExitStatus)
    assert found.exit_code == 137
    with trio.fail_after(TIMEOUT):
        while laboratory.cgroups.pids(own):
            await trio.sleep(0.005)
    assert laboratory.cgroups.sweep([]) == [own]
    assert (await laboratory.sh("exit 4", id=own)).code == 4, "it can be started again"


async def test_shim_killed_before_it_has_seen_the_end(laboratory: Laboratory) -> None:
    """The kernel knows how the container ended."""
    for code in (7, 0):
        shim = await laboratory.start(
            "/bin/sh", "-c", f"until test -e /dev/shm/go; do sleep 0.01; done; exit {code}"
        )
        os.kill(shim.shim_pid, signal.SIGSTOP)
        with open(f"/proc/{shim.pid}/root/dev/shm/go", "w"):
            pass
        with trio.fail_after(TIMEOUT):
            await trio.lowlevel.wait_readable(shim.pidfd)
            os.kill(shim.shim_pid, signal.SIGKILL)
            ended = await shim.wait()
        # Before Linux 6.15 nobody tells it once the machine's init has waited for the process.
        assert ended.exit_code == code or (ended.exit_code == 137 and _release() < (6, 15))
        laboratory.cgroups.sweep([])


def _release() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split(".")[:2])


async def test_shim_of_a_container_with_init_killed(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000", init=True)
    own = laboratory.last_id()
    os.kill(shim.shim_pid, signal.SIGKILL)
    with trio.fail_after(TIMEOUT):
        assert (await shim.wait()).exit_code == 137
        while laboratory.cgroups.pids(own):
            await trio.sleep(0.005)


async def test_left_over_cgroup_is_taken_over(laboratory: Laboratory) -> None:
    """A start finds processes of the last one in its cgroup: they are killed, the limits are fresh."""
    shim = await laboratory.start("sleep", "1000", pid_mode="host", user="4321")
    own = laboratory.last_id()
    session = await shim.exec(laboratory.exec_spec("/bin/sh", "-c", "sleep 1000 & echo $! ; exit 0"))
    await session.wait()
    os.kill(shim.shim_pid, signal.SIGKILL)
    with trio.fail_after(TIMEOUT):
        await shim.wait()
    assert laboratory.cgroups.pids(own), "an orphan in the host's pid namespace lives on"
    assert (await laboratory.sh("exit 0", id=own)).code == 0
    assert laboratory.cgroups.pids(own) == []


async def test_never_started(laboratory: Laboratory) -> None:
    assert await adopted(laboratory, "ab" * 32) is None


async def test_failed_start_leaves_nothing(laboratory: Laboratory) -> None:
    for config in ({"working_dir": "/etc/passwd/x"}, {"user": "nonesuch"}):
        with pytest.raises(LaunchError):
            await laboratory.run("true", **config)
    assert cgroup_leftovers(laboratory.tag) == [] or not any(map(laboratory.cgroups.pids, laboratory.ids))
    found = await adopted(laboratory, laboratory.last_id())
    assert isinstance(found, ExitStatus)
    assert "nonesuch" in found.error
    assert laboratory.cgroups.sweep([]) == []


async def test_started_again(laboratory: Laboratory) -> None:
    """Twenty times the same container: the status is always that of the last run."""
    own = "ef" * 32
    for number in range(20):
        assert (await laboratory.sh(f"exit {number}", id=own)).code == number
        ended = status_file.read(laboratory.paths.container(own))
        assert ended is not None
        assert ended.exit_code == number


async def test_cancelled_start(laboratory: Laboratory) -> None:
    """Who gives up while a container starts leaves none behind: the next start of the same meets nothing of it."""
    own = "cd" * 32
    for delay in range(0, 30, 2):
        with trio.move_on_after(delay / 1000) as scope:
            shim = await laboratory.keeper.launch(laboratory.build("sleep", "1000", id=own))
        if not scope.cancelled_caught:
            shim.signal(signal.SIGKILL)
            await shim.wait()
            shim.close()
        assert laboratory.cgroups.pids(own) == []
        assert (await laboratory.sh("exit 8", id=own)).code == 8


async def test_descriptor_store(laboratory: Laboratory) -> None:
    """What a core has put there, the next one takes up."""
    reader, writer = os.pipe()
    await laboratory.keeper.store("test", [reader, writer])
    os.close(reader)
    os.close(writer)
    assert await laboratory.keeper.names() == ["test"]
    again, writing = await laboratory.keeper.fetch("test")
    os.write(writing, b"kept")
    assert os.read(again, 10) == b"kept"
    os.close(again)
    os.close(writing)
    await laboratory.keeper.drop("test")
    assert await laboratory.keeper.fetch("test") == []


async def test_a_keeper_that_hangs_is_killed(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was asked fails like anything asked of a keeper that died; containers go on with the next one."""
    shim = await laboratory.start("sleep", "1000")
    monkeypatch.setattr(client, "ANSWERED_WITHIN", 0.2)
    monkeypatch.setattr(client, "REPLACED_WITHIN", 0.0)
    hung = laboratory.keeper.pid
    os.kill(hung, signal.SIGSTOP)
    with trio.fail_after(TIMEOUT):
        with pytest.raises(KeeperGone):
            await laboratory.keeper.names()
        await laboratory.keeper.wait_gone()
    monkeypatch.undo()
    laboratory.new_keeper()
    assert not Path(f"/proc/{hung}").exists(), "it is collected"
    assert await laboratory.keeper.names() == []
    assert (await laboratory.start("true")).shim_pid != shim.shim_pid


async def test_nothing_of_the_keeper_in_a_shim(laboratory: Laboratory) -> None:
    """A shim holds its own descriptors only: no lock, no listener, no other container's."""
    first = await laboratory.start("sleep", "1000")
    pipe = Pipe()
    second = await laboratory.start("sleep", "1000", streams=AttachStreams(stdout=pipe.writer))
    pipe.close_writer()
    links = []
    for fd in os.listdir(f"/proc/{second.shim_pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            links.append(os.readlink(f"/proc/{second.shim_pid}/fd/{fd}"))
    assert not [link for link in links if "engine.lock" in link]
    assert not [link for link in links if laboratory.ids[0] in link]
    assert len(links) < 25, links
    assert first.shim_pid != second.shim_pid


async def test_killed_at_every_moment_of_a_start(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shim, or the keeper, killed after some milliseconds: nothing runs on unseen, and the next start works."""
    monkeypatch.setattr(
        client, "REPLACED_WITHIN", 0.0
    )  # the start is given up: no core brings another keeper here
    own = "ab" * 32
    for kills_keeper in (False, True):
        for delay in range(0, 24, 2):
            spec = laboratory.build("sleep", "1000", id=own)
            outcome: list[Shim | Exception] = []

            async def launch(spec: LaunchSpec = spec, outcome: list[Shim | Exception] = outcome) -> None:
                try:
                    outcome.append(await laboratory.keeper.launch(spec))
                except (LaunchError, KeeperGone) as error:
                    outcome.append(error)

            with trio.fail_after(TIMEOUT):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(launch)
                    await trio.sleep(delay / 1000)
                    if kills_keeper:
                        os.kill(laboratory.keeper.pid, signal.SIGKILL)
                    else:
                        for pid in shims_of(laboratory.keeper.pid):
                            with suppress(ProcessLookupError):
                                os.kill(pid, signal.SIGKILL)
                if kills_keeper:
                    await laboratory.keeper.wait_gone()
                    laboratory.new_keeper()
                # What a core does that finds a container in its records: adopt it, or clean up behind it.
                found = await adopted(laboratory, own)
                if isinstance(found, Shim):
                    assert (await laboratory.exec(found, "true")).code == 0
                    found.signal(signal.SIGKILL)
                    await found.wait()
                    found.close()
                if isinstance(outcome[0], Shim):
                    await outcome[0].wait()
                    outcome[0].close()
                while laboratory.cgroups.pids(own):
                    laboratory.cgroups.kill(own)
                    await trio.sleep(0.01)
    assert (await laboratory.sh("exit 8", id=own)).code == 8
    laboratory.cgroups.remove(own)


def shims_of(keeper: int) -> list[int]:
    """The keeper's children."""
    return [int(pid) for pid in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()]
