"""The log that a shim writes, read back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from runtime.container.config import LogConfig
from runtime.container.logs import LogReader, read_log

from .conftest import TIMEOUT

if TYPE_CHECKING:
    from .conftest import Laboratory


def directory(laboratory: Laboratory) -> Path:
    """The log of the container made last."""
    return laboratory.paths.container(laboratory.last_id()) / "log"


async def test_format(laboratory: Laboratory) -> None:
    before = time.time_ns()
    await laboratory.sh("echo one; printf two; sleep 0.05; printf three; echo four >&2")
    lines = (directory(laboratory) / "0.log").read_bytes().splitlines()
    assert [line.split(b" ", 1)[1] for line in lines] == [
        b"stdout F one",
        b"stderr F four",
        b"stdout P twothree",
    ]
    entries = list(read_log(directory(laboratory)))
    assert before <= entries[0].time_ns <= entries[1].time_ns <= entries[2].time_ns <= time.time_ns()
    assert [entry.partial for entry in entries] == [False, False, True]


async def test_long_lines(laboratory: Laboratory) -> None:
    await laboratory.sh(
        "head -c 40000 /dev/zero | tr '\\0' a; echo; head -c 16384 /dev/zero | tr '\\0' b; echo; echo c"
    )
    entries = list(read_log(directory(laboratory)))
    assert [(len(entry.data), entry.partial) for entry in entries] == [
        (16384, True), (16384, True), (40000 - 2 * 16384, False), (16384, False), (1, False),
    ] or b"".join(entry.data for entry in entries) == b"a" * 40000 + b"b" * 16384 + b"c"  # fmt: skip
    assert all(len(entry.data) <= 16384 for entry in entries)


async def test_since_until_tail(laboratory: Laboratory) -> None:
    waiting = "until test -e /dev/shm/$i; do sleep 0.01; done"
    shim = await laboratory.start("/bin/sh", "-c", f"for i in 1 2 3 4 5 6; do echo $i; {waiting}; done")
    with trio.fail_after(TIMEOUT):
        for number in range(1, 7):  # lines that are read at once have one time
            while len(list(read_log(directory(laboratory)))) < number:
                await trio.sleep(0.01)
            Path(f"/proc/{shim.pid}/root/dev/shm/{number}").touch()
        assert (await shim.wait()).exit_code == 0
    entries = list(read_log(directory(laboratory)))
    assert [entry.data for entry in entries] == [b"1", b"2", b"3", b"4", b"5", b"6"]
    third = entries[2].time_ns
    assert [e.data for e in read_log(directory(laboratory), since=third)] == [b"3", b"4", b"5", b"6"]
    assert [e.data for e in read_log(directory(laboratory), until=third)] == [b"1", b"2", b"3"]
    assert [e.data for e in read_log(directory(laboratory), tail=2)] == [b"5", b"6"]
    assert [e.data for e in read_log(directory(laboratory), tail=0)] == []
    assert [e.data for e in read_log(directory(laboratory), tail=100)] == [e.data for e in entries]
    assert [e.data for e in read_log(directory(laboratory), tail=5, until=third)] == [b"2", b"3"]


async def test_rotation(laboratory: Laboratory) -> None:
    log = LogConfig(driver="json-file", options={"max-size": "10k", "max-file": "3"})
    breath = "[ $((i % 100)) = 0 ] && sleep 0.01"
    await laboratory.sh(f"i=0; while [ $i -lt 2000 ]; do echo line-$i; i=$((i+1)); {breath}; done", log=log)
    files = sorted(directory(laboratory).iterdir(), key=lambda path: int(path.stem))
    assert len(files) in (2, 3), "how much is written at once decides"
    assert all(path.stat().st_size < 80_000 for path in files)
    entries = [entry.data for entry in read_log(directory(laboratory))]
    assert entries[-1] == b"line-1999"
    numbers = [int(data.removeprefix(b"line-")) for data in entries]
    assert numbers == list(range(numbers[0], 2000))
    assert [e.data for e in read_log(directory(laboratory), tail=300)] == entries[-300:]


async def test_no_log(laboratory: Laboratory) -> None:
    finished = await laboratory.sh("echo seen", log=LogConfig(driver="none"))
    assert finished.stdout == b"seen\n"
    assert list(read_log(directory(laboratory))) == []


async def test_follow_over_rotations(laboratory: Laboratory) -> None:
    log = LogConfig(driver="json-file", options={"max-size": "4k", "max-file": "50"})
    reader = LogReader(
        directory(laboratory) if laboratory.ids else laboratory.paths.container("ab" * 32) / "log"
    )
    seen: list[bytes] = []
    ended = trio.Event()

    async def follow() -> None:
        seen.extend(entry.data for block in reader.history() for entry in block)
        while True:
            await reader.wait_for_news()
            finished = ended.is_set()
            seen.extend(entry.data for block in reader.read_new() for entry in block)
            if finished:
                return

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.sleep(0.05)
            finished = await laboratory.sh(
                "i=0; while [ $i -lt 1000 ]; do echo $i; i=$((i+1)); done; sleep 0.1; echo last",
                id="ab" * 32,
                log=log,
            )
            assert finished.code == 0
            while b"last" not in seen:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    reader.close()
    assert seen == [str(n).encode() for n in range(1000)] + [b"last"]


async def test_goes_on_after_a_restart(laboratory: Laboratory) -> None:
    for text in ("first", "second"):
        await laboratory.sh(f"echo {text}", id="cd" * 32)
    assert laboratory.log_of("cd" * 32) == [("stdout", b"first"), ("stdout", b"second")]


async def test_half_a_line_of_a_crash(laboratory: Laboratory) -> None:
    await laboratory.sh("echo first", id="cd" * 32)
    with open(directory(laboratory) / "0.log", "ab") as file:
        file.write(b"2026-01-01T00:00:00.1")
    await laboratory.sh("echo second", id="cd" * 32)
    assert laboratory.log_of("cd" * 32) == [("stdout", b"first"), ("stdout", b"second")]
