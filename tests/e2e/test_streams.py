"""The command's conversations: with and without a terminal, ends of input, signals, and logs by their times."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.engine import COMMAND, PATIENCE, Composer, wait_for
from tests.e2e.terminal import Terminal

IMAGE = "composer.local/host"


@pytest.fixture
def sleeper(composer: Composer) -> str:
    composer.run("container", "run", "-d", "--name", "one", "--network", "none", IMAGE, "sleep", "infinity")
    return "one"


def test_a_terminal(composer: Composer, sleeper: str) -> None:
    """Its size, now and when it changes; raw meanwhile; Ctrl-C is the program's; the exit status."""
    script = "trap 'echo caught' INT; stty size; read x; stty size; sleep 0.1; read y; echo got:$x:$y; exit 9"
    terminal = Terminal(composer, "container", "exec", "-it", sleeper, "bash", "-c", script)
    terminal.until(b"30 90\r\n")
    terminal.resize(40, 100)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    wait_for_size(composer, sleeper, "40 100")
    terminal.type(b"a\r")
    terminal.until(b"40 100\r\n")
    terminal.type(b"\x03")
    terminal.until(b"caught")
    terminal.type(b"b\r")
    terminal.until(b"got:a:b")
    assert terminal.end() == 9


def test_a_terminal_has_its_size_from_the_beginning(composer: Composer, sleeper: str, tmp_path: Path) -> None:
    """Also where nobody has had time yet to tell of a change: the first thing that a program does is to ask."""
    (tmp_path / "compose.yaml").write_text(
        f"services:\n  looked:\n    image: {IMAGE}\n    network_mode: none\n    command: [sleep, infinity]\n"
    )
    looks = ("stty", "size")
    for words in (
        ("container", "run", "-it", "--rm", "--network", "none", IMAGE, *looks),
        ("container", "exec", "-it", sleeper, *looks),
        ("run", "--rm", "looked", *looks),
        ("debug", sleeper, *looks),
    ):
        terminal = Terminal(composer, *words, cwd=tmp_path)
        terminal.until(b"30 90\r\n")
        assert terminal.end() == 0, words


def test_standard_streams_that_are_closed(composer: Composer, sleeper: str) -> None:
    """As a supervisor may have them: no input, output for nobody, and never the engine's connection in their place."""
    commands = (("container", "exec", "-i", sleeper, "cat"), ("container", "ls"))
    for words in (*commands, ("container", "run", "--rm", "-i", "--network", "none", IMAGE, "cat")):
        for closed in ("<&-", ">&-", "<&- >&- 2>&-"):
            script = f'exec "$@" {closed}'
            done = subprocess.run(
                ["sh", "-c", script, "sh", sys.executable, "-m", "composer", *words],
                stdin=subprocess.DEVNULL,
                env=composer.env,
                cwd=composer.root,
                capture_output=True,
                timeout=120,
            )
            assert (done.returncode, done.stderr) == (0, b""), (words, closed)


def test_signals_at_a_terminal(composer: Composer, sleeper: str) -> None:
    """The container's program gets them; a command in a container gets none, and the terminal is as it was before."""
    script = "trap 'echo caught; exit 8' TERM; echo ready; while :; do sleep 0.1; done"
    terminal = Terminal(
        composer, "container", "run", "-it", "--rm", "--network", "none", IMAGE, "sh", "-c", script
    )
    terminal.until(b"ready")
    terminal.process.terminate()
    terminal.until(b"caught")
    assert terminal.end() == 8
    terminal = Terminal(composer, "container", "exec", "-it", sleeper, "sh", "-c", script)
    terminal.until(b"ready")
    terminal.process.terminate()
    assert terminal.end() == -signal.SIGTERM


def test_input_that_nobody_reads(composer: Composer) -> None:
    """It is the sender's loss: the container goes on, and ends as it wants to."""
    done = subprocess.run(
        [
            *COMMAND,
            "container",
            "run",
            "-i",
            "--rm",
            "--network",
            "none",
            IMAGE,
            "sh",
            "-c",
            "exec <&-; echo on; exit 5",
        ],
        env=composer.env,
        input=bytes(3 << 20),
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (5, b"on\n"), done.stderr


def test_leaving_by_keys(composer: Composer, tmp_path: Path) -> None:
    """Ctrl-P Ctrl-Q, or what --detach-keys or config.json says: the container runs on, and can be attached to again."""
    terminal = Terminal(
        composer, "container", "run", "-it", "--name", "two", "--network", "none", IMAGE,
        "sh", "-c", "echo ready; read x; echo got $x; exit 3",
    )  # fmt: skip
    terminal.until(b"ready")
    terminal.type(b"\x10\x11")
    assert terminal.end() == 0
    assert composer.inspect("two")["State"]["Running"]
    terminal = Terminal(composer, "container", "attach", "--detach-keys", "ctrl-x,y", "two")
    terminal.type(b"\x18y")
    terminal.until(b"read escape sequence\r\n")
    assert terminal.end() == 1
    (tmp_path / "config.json").write_text('{"detachKeys": "ctrl-e,e"}')
    composer.environment["DOCKER_CONFIG"] = str(tmp_path)
    for words in (("attach", "two"), ("exec", "-it", "two", "sleep", "infinity")):
        terminal = Terminal(composer, "container", *words)
        terminal.type(b"\x05e")
        terminal.until(b"read escape sequence\r\n")
        assert terminal.end() == 1
    terminal = Terminal(composer, "container", "attach", "two")
    terminal.type(b"word\r")
    terminal.until(b"got word")
    assert terminal.end() == 3
    composer.run("container", "rm", "two")


def test_leaving_an_exec_by_keys(composer: Composer, sleeper: str) -> None:
    """What it was goes on."""
    script = "echo ready; read x; sleep infinity"
    terminal = Terminal(
        composer, "container", "exec", "-it", "--detach-keys", "ctrl-x,y", sleeper, "bash", "-c", script
    )
    terminal.until(b"ready")
    terminal.type(b"\x10\x11\x18y")
    terminal.until(b"read escape sequence\r\n")
    assert terminal.end() == 1
    assert len(composer.inspect(sleeper)["ExecIDs"]) == 1
    refused = composer.run("container", "exec", "--detach-keys", "ctrl", sleeper, "true", status=1)
    assert refused.stderr.splitlines()[0] == "Invalid escape keys (ctrl) provided"


def test_streams_that_are_asked_for(composer: Composer) -> None:
    words = ("container", "run", "--rm", "--network", "none")
    for streams, shown in (("stdout",), ("a\n", "")), (("stderr",), ("", "b\n")), ((), ("a\n", "b\n")):
        done = composer.run(
            *words, *(f"-a={name}" for name in streams), IMAGE, "sh", "-c", "echo a; echo b >&2"
        )
        assert (done.stdout, done.stderr) == shown


def test_details_of_lines(composer: Composer) -> None:
    """Labels and variables that the log's options name."""
    composer.run(
        "container", "run", "--name", "told", "--network", "none", "--label", "a=1", "--label", "b=2", "-e", "C=x y",
        "--log-opt", "labels=a,no", "--log-opt", "env=C", IMAGE, "echo", "line",
    )  # fmt: skip
    assert composer.run("container", "logs", "--details", "told").stdout == "C=x+y,a=1 line\n"
    assert composer.run("container", "logs", "told").stdout == "line\n"
    composer.run("container", "rm", "told")


def test_ends_of_input_and_any_byte(composer: Composer, sleeper: str) -> None:
    """What is sent comes back as it was, then its end; output goes on after the end of input."""
    data = bytes(range(256)) * 4096
    done = subprocess.run(
        [*COMMAND, "container", "exec", "-i", sleeper, "sh", "-c", "cat; echo end >&2; exit 4"],
        input=data, capture_output=True, env=composer.env, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stderr, done.stdout == data) == (4, b"end\n", True)
    words = ("container", "run", "--rm", "-i", "--network", "none", IMAGE, "sh", "-c", "wc -c; exit 6")
    assert composer.run(*words, stdin="12345", status=6).stdout == "5\n"


def test_signals_are_passed_on(composer: Composer) -> None:
    """By ``run`` and ``attach`` without a terminal, unless --sig-proxy=false."""
    script = "trap 'echo term; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    process = composer.start(
        "container", "run", "--name", "three", "--network", "none", IMAGE, "bash", "-c", script
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=PATIENCE)[0] == "term\n"
    assert process.returncode == 5
    composer.run("container", "start", "three")
    quiet = composer.start("container", "attach", "--sig-proxy=false", "three")
    wait_until_connected(composer, "three")
    quiet.send_signal(signal.SIGTERM)
    quiet.communicate(timeout=PATIENCE)
    assert composer.inspect("three")["State"]["Running"]
    composer.run("container", "rm", "-f", "three")


def test_each_exec_has_its_own_end(composer: Composer, sleeper: str) -> None:
    running = [
        composer.start("container", "exec", sleeper, "sh", "-c", f"sleep 0.{9 - number}; exit {number}")
        for number in range(1, 6)
    ]
    assert [process.wait(PATIENCE) for process in running] == [1, 2, 3, 4, 5]
    for process in running:
        process.communicate()


def test_a_reader_that_stalls_slows_nobody(composer: Composer) -> None:
    """Two follow the log; one never reads. The container writes on, and the other one gets all of it."""
    script = (
        "read x; i=0; while [ $i -lt 20000 ]; do echo line $i of a container that writes; i=$((i+1)); done"
    )
    composer.run(
        "container", "run", "-d", "-i", "--name", "four", "--network", "none", IMAGE, "bash", "-c", script
    )
    stalled = composer.start("container", "logs", "-f", "four")
    reader = composer.start("container", "logs", "-f", "four")
    composer.run("container", "attach", "four", stdin="go\n", status=None)
    lines = reader.communicate(timeout=4 * PATIENCE)[0].splitlines()
    assert len(lines) == len(set(lines)) == 20000
    wait_for(lambda: not composer.inspect("four")["State"]["Running"], "the container to have ended")
    stalled.kill()
    stalled.communicate()
    composer.run("container", "rm", "four")


def test_logs_by_time(composer: Composer) -> None:
    """Lines have the times at which they were written, and a time of theirs is a border without gap or double."""
    before = time.time()
    script = "for i in 1 2 3 4; do echo $i; until [ -e /dev/shm/$i ]; do sleep 0.02; done; done"
    composer.run("container", "run", "-d", "--name", "five", "--network", "none", IMAGE, "bash", "-c", script)
    directory = Path(f"/proc/{composer.inspect('five')['State']['Pid']}/root/dev/shm")

    def logs(*options: str) -> list[str]:
        return composer.run("container", "logs", *options, "five").stdout.split()

    for number in range(1, 5):  # lines that are read at once have one time
        wait_for(lambda n=number: len(logs()) == n, f"line {number}")  # type: ignore[misc]
        (directory / str(number)).touch()
    composer.run("container", "wait", "five")
    stamped = logs("-t")
    times, numbers = stamped[::2], stamped[1::2]
    assert numbers == ["1", "2", "3", "4"]
    assert times == sorted(times)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", text) for text in times)
    assert logs("--since", times[2]) == ["3", "4"]
    assert logs("--until", times[1]) == ["1", "2"]
    assert logs("--since", times[1], "--until", times[2]) == ["2", "3"]
    assert logs("--since", f"{before - 5:.3f}", "--tail", "1") == ["4"]
    assert logs("--since", "10m") == logs("--tail", "all") == logs("-n", "-1") == ["1", "2", "3", "4"]
    assert logs("--until", "10m") == logs("--tail", "0") == []
    composer.run("container", "rm", "five")


def wait_for_size(composer: Composer, name: str, size: str) -> None:
    """Until the first terminal in the container has a size: the engine hears of it by another request."""
    deadline = time.monotonic() + PATIENCE
    while composer.run("container", "exec", name, "stty", "-F", "/dev/pts/0", "size").stdout.strip() != size:
        assert time.monotonic() < deadline, f"the size did not become {size}"


def wait_until_connected(composer: Composer, name: str) -> None:
    """Until somebody is attached to the container, which the engine tells as an event."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        done = composer.run(
            "system", "events", "--until", "0s", "--filter", f"container={name}", "--format", "{{.Action}}"
        )
        if done.stdout.split().count("attach") >= 2:
            return
        time.sleep(0.05)
    raise AssertionError("nobody attached")


def test_much_both_ways_at_once(composer: Composer, sleeper: str, tmp_path: Path) -> None:
    """Nobody waits until its input is taken before it reads the output: `exec db gzip < dump` would never end."""
    given = os.urandom(1 << 16) * 256
    (tmp_path / "given").write_bytes(given)
    with (tmp_path / "given").open("rb") as source:
        process = composer.start("container", "exec", "-i", sleeper, "cat", stdin=source, text=False)
        said, _ = process.communicate(timeout=PATIENCE)
    assert said == given and process.returncode == 0


def test_a_paused_container_that_is_to_stop_goes_on(composer: Composer) -> None:
    """It is shown as running while it may take its time, and whatever signal it is sent it gets."""
    script = "trap 'echo told' USR1; trap 'echo ending; read x < /tmp/pipe; exit 3' TERM; mkfifo /tmp/pipe; echo ready"
    words = (
        "--network",
        "none",
        "--tmpfs",
        "/tmp",
        IMAGE,
        "sh",
        "-c",
        f"{script}; while :; do sleep 0.1; done",
    )
    composer.run("container", "run", "-d", "--name", "one", *words)

    def wait_for_line(line: str) -> None:
        wait_for(lambda: line in composer.run("container", "logs", "one").stdout.splitlines(), line)

    wait_for_line("ready")
    composer.run("container", "pause", "one")
    composer.run("container", "kill", "-s", "USR1", "one")
    wait_for_line("told")
    composer.run("container", "pause", "one")
    stopping = composer.start("container", "stop", "-t", "600", "one")
    wait_for_line("ending")
    assert composer.inspect("one")["State"]["Status"] == "running"
    composer.run("container", "exec", "one", "sh", "-c", "echo > /tmp/pipe")
    assert stopping.wait(PATIENCE) == 0
    assert composer.inspect("one")["State"]["ExitCode"] == 3
    composer.run("container", "rm", "one")
