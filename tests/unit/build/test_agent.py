"""The socket of a step that leads to an agent, and what mounts leave in a layer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from runtime.build.worker.agent import forwarded
from runtime.build.worker.emulation import can_run
from runtime.build.worker.stubs import remove_stubs
from runtime.errors import ComposerError
from runtime.files.tree import Tree
from runtime.image.platform import Platform


async def test_what_is_said_reaches_the_agent_and_comes_back(tmp_path: Path) -> None:
    agent = trio.socket.socket(trio.socket.AF_UNIX)
    await agent.bind(str(tmp_path / "agent"))
    agent.listen(1)

    async def answer() -> None:
        connection, _ = await agent.accept()
        await connection.send(b"heard " + await connection.recv(100))
        connection.close()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            async with forwarded(str(tmp_path / "agent"), tmp_path, os.getuid(), os.getgid(), 0o640) as path:
                assert path.stat().st_mode & 0o7777 == 0o640
                async with await trio.open_unix_socket(str(path)) as stream:
                    await stream.send_all(b"hello")
                    assert await stream.receive_some(100) == b"heard hello"
            assert not path.exists()
    agent.close()


async def test_a_step_that_fails_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ComposerError, match="the step"):
        async with forwarded("/nobody", tmp_path, os.getuid(), os.getgid(), 0o600):
            raise ComposerError("the step")


def test_mounts_leave_nothing_but_what_the_program_made(tmp_path: Path) -> None:
    upper, lower, outside = tmp_path / "upper", tmp_path / "lower", tmp_path / "outside"
    for directory in (upper / "run/secrets", upper / "kept/in", upper / "etc", lower / "etc", outside):
        directory.mkdir(parents=True)
    (upper / "run/secrets/token").touch()
    (upper / "kept/in/file").write_text("x")
    (outside / "token").touch()
    (upper / "link").symlink_to(outside)
    targets = ["/run/secrets/token", "/kept/in", "/etc/x", "/link/token", "/not/there"]
    remove_stubs(str(upper), Tree([lower]), targets)
    assert sorted(path.name for path in upper.iterdir()) == ["etc", "kept", "link"]
    assert (outside / "token").exists()


def test_what_the_kernel_can_run(tmp_path: Path) -> None:
    own, arm = Platform("linux", "amd64"), Platform("linux", "arm64")
    assert can_run(own, own, tmp_path)
    assert can_run(Platform("linux", "386"), own, tmp_path)
    assert not can_run(arm, own, tmp_path)
    (tmp_path / "qemu-aarch64").write_text("enabled\ninterpreter /usr/bin/qemu\nflags: F\noffset 0\n")
    assert can_run(arm, own, tmp_path)
    (tmp_path / "qemu-aarch64").write_text("enabled\ninterpreter /usr/bin/qemu\nflags: \n")
    assert not can_run(arm, own, tmp_path)
    (tmp_path / "qemu-aarch64").write_text("disabled\nflags: F\n")
    assert not can_run(arm, own, tmp_path)
