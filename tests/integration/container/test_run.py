"""Running a command to its end: exit statuses, output, standard input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.container.shim_client import LaunchError

if TYPE_CHECKING:
    from .conftest import Laboratory


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$; sleep 5", None), ("sh -c 'kill -9 $$'", 137)],
)
async def test_exit_codes(laboratory: Laboratory, script: str, code: int | None) -> None:
    if code is None:
        # PID 1 of its namespace gets no signal that it does not ask for, not even its own.
        script, code = "trap 'exit 9' TERM; kill -TERM $$; sleep 5", 9
    assert (await laboratory.sh(script)).code == code


async def test_command_not_found(laboratory: Laboratory) -> None:
    with pytest.raises(LaunchError) as caught:
        await laboratory.run("no-such-program")
    assert caught.value.exit_code == 127
    assert (
        caught.value.message
        == 'exec: "no-such-program": executable file not found in $PATH of image composer.local/host'
    )


async def test_output(laboratory: Laboratory) -> None:
    finished = await laboratory.sh("echo out; echo err >&2; printf unfinished")
    assert finished.stdout == b"out\nunfinished"
    assert finished.stderr == b"err\n"
    assert sorted(laboratory.log_of(laboratory.last_id())) == [
        ("stderr", b"err"),
        ("stdout", b"out"),
        ("stdout", b"unfinished"),
    ]


async def test_cannot_be_executed(laboratory: Laboratory) -> None:
    with pytest.raises(LaunchError) as caught:
        await laboratory.run("/etc/passwd")
    assert caught.value.exit_code == 126
    with pytest.raises(LaunchError) as caught:
        await laboratory.run("/etc")
    assert caught.value.exit_code == 126
    with pytest.raises(LaunchError) as caught:
        await laboratory.run("/no/such/file")
    assert caught.value.exit_code == 127


async def test_stdin(laboratory: Laboratory) -> None:
    finished = await laboratory.run("sort", stdin=b"b\nc\na\n")
    assert (finished.code, finished.lines) == (0, ["a", "b", "c"])
    assert (await laboratory.sh("cat; echo end")).lines == ["end"], "without stdin_open it is /dev/null"


async def test_much_output(laboratory: Laboratory) -> None:
    """More than any pipe or queue holds: every byte arrives, attached and in the log."""
    finished = await laboratory.sh("i=0; while [ $i -lt 20 ]; do seq 1 20000; i=$((i+1)); done")
    expected = b"".join(b"%d\n" % n for n in range(1, 20001)) * 20
    assert finished.stdout == expected
    assert b"".join(data + b"\n" for _, data in laboratory.log_of(laboratory.last_id())) == expected


async def test_what_outlives_the_command_is_killed(laboratory: Laboratory) -> None:
    """A grandchild that holds standard output does not keep the container alive."""
    finished = await laboratory.sh("sleep 1000 & echo done")
    assert (finished.code, finished.lines) == (0, ["done"])
    assert laboratory.cgroups.pids(laboratory.last_id()) == []
