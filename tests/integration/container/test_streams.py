"""Attach, standard input, terminals, sizes."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import trio

from runtime.container.shim_client import AttachStreams

from .conftest import TIMEOUT, Pipe

if TYPE_CHECKING:
    from runtime.container.shim_client import Shim

    from .conftest import Laboratory


class Terminal:
    """The other end of an attached terminal."""

    def __init__(self) -> None:
        self.stdin, self._writer = os.pipe2(os.O_CLOEXEC)
        self.output = Pipe()
        self.streams = AttachStreams(stdin=self.stdin, stdout=self.output.writer, lossless=True)

    def attached(self) -> None:
        os.close(self.stdin)
        self.output.close_writer()

    def type(self, text: bytes) -> None:
        os.write(self._writer, text)

    async def expect(self, text: bytes) -> None:
        """Until the terminal has shown ``text`` (while collect runs somewhere)."""
        with trio.fail_after(TIMEOUT):
            while text not in self.output.data:
                await trio.sleep(0.005)

    def close(self) -> None:
        os.close(self._writer)


async def test_terminal(laboratory: Laboratory) -> None:
    terminal = Terminal()
    shim = await laboratory.start(
        "/bin/sh", "-c", "tty; stty size; read line; echo got $line; stty size; exit 3",
        streams=terminal.streams, tty=True, stdin_open=True,
    )  # fmt: skip
    terminal.attached()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.output.collect)
        await terminal.expect(b"/dev/pts/0")
        await shim.resize(33, 111)
        terminal.type(b"hello\n")
        status = await shim.wait()
    terminal.close()
    assert status.exit_code == 3
    lines = terminal.output.data.replace(b"\r\n", b"\n").splitlines()
    assert lines[-2:] == [b"got hello", b"33 111"]
    assert b"hello" in lines, "the terminal echoes"


async def test_console_of_a_terminal(laboratory: Laboratory) -> None:
    finished = await laboratory.sh(
        "ls -l /dev/console >/dev/null && test -c /dev/console && echo yes", tty=True
    )
    assert finished.text.strip() == "yes"


async def test_control_c_reaches_the_foreground(laboratory: Laboratory) -> None:
    terminal = Terminal()
    shim = await laboratory.start(
        "/bin/sh", "-c", "trap 'exit 42' INT; echo ready; while :; do sleep 0.1; done",
        streams=terminal.streams, tty=True, stdin_open=True,
    )  # fmt: skip
    terminal.attached()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.output.collect)
        await terminal.expect(b"ready")
        terminal.type(b"\x03")
        status = await shim.wait()
    terminal.close()
    assert status.exit_code == 42


async def test_stdin_stays_open_without_once(laboratory: Laboratory) -> None:
    """Who detaches does not end the input; who attaches later goes on with it."""
    shim = await laboratory.start("/bin/sh", "-c", "read a; echo $a; read b; echo $b", stdin_open=True)
    log = []
    with trio.fail_after(TIMEOUT):
        for word in (b"one", b"two"):
            await _feed(shim, word + b"\n")
            log.append(("stdout", word))
            while laboratory.log_of(laboratory.last_id()) != log:
                await trio.sleep(0.01)
        assert (await shim.wait()).exit_code == 0


async def test_close_stdin(laboratory: Laboratory) -> None:
    shim = await laboratory.start("/bin/sh", "-c", "cat; echo end", stdin_open=True)
    await shim.close_stdin()
    with trio.fail_after(TIMEOUT):
        assert (await shim.wait()).exit_code == 0
    assert laboratory.log_of(laboratory.last_id()) == [("stdout", b"end")]


async def test_attach_later_and_twice(laboratory: Laboratory) -> None:
    shim = await laboratory.start("/bin/sh", "-c", "read go; echo shown", stdin_open=True)
    pipes = [Pipe(), Pipe()]
    for pipe in pipes:
        await shim.attach(AttachStreams(stdout=pipe.writer))
        pipe.close_writer()
    await _feed(shim, b"go\n")
    async with trio.open_nursery() as nursery:
        for pipe in pipes:
            nursery.start_soon(pipe.collect)
        await shim.wait()
    assert [pipe.data for pipe in pipes] == [b"shown\n"] * 2


async def test_a_reader_that_sleeps_is_dropped(laboratory: Laboratory) -> None:
    """It does not hold the container back."""
    pipe = Pipe()
    shim = await laboratory.start(
        "/bin/sh", "-c", "read go; seq -f %0999.0f 1 14000; echo finished >&2", stdin_open=True
    )
    await shim.attach(AttachStreams(stdout=pipe.writer))
    pipe.close_writer()
    await _feed(shim, b"go\n")
    with trio.fail_after(TIMEOUT):
        assert (await shim.wait()).exit_code == 0
        await pipe.collect()
    assert len(pipe.data) < 14_000_000
    assert len(laboratory.log_of(laboratory.last_id())) == 14_001


async def test_first_output(laboratory: Laboratory) -> None:
    shim = await laboratory.start("/bin/sh", "-c", "read go; echo news; sleep 100", stdin_open=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shim.wait)
        with trio.move_on_after(0.1):
            await shim.first_output.wait()
        assert not shim.first_output.is_set()
        await _feed(shim, b"go\n")
        with trio.fail_after(TIMEOUT):
            await shim.first_output.wait()
        nursery.cancel_scope.cancel()


async def test_signals(laboratory: Laboratory) -> None:
    shim = await laboratory.start(
        "/bin/sh", "-c", "trap 'echo usr; exit 5' USR1; echo ready; while :; do sleep 0.05; done"
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shim.wait)
        await shim.first_output.wait()
        nursery.cancel_scope.cancel()
    shim.signal(signal.SIGUSR1)
    with trio.fail_after(TIMEOUT):
        assert (await shim.wait()).exit_code == 5


async def _feed(shim: Shim, text: bytes) -> None:
    reader, writer = os.pipe()
    os.write(writer, text)
    os.close(writer)
    await shim.attach(AttachStreams(stdin=reader))
    os.close(reader)
