"""Which signals reach a process that is the init of its pid namespace: asked of real processes in every attitude."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from runtime.errors import InvalidArgument
from runtime.kernel.signals import can_receive, parse_signal, signal_name

SIGTERM = 15
Start = Callable[[str], int]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a Python program that says when it has taken up its attitude; its process id."""
    started: list[subprocess.Popen[str]] = []

    def make(attitude: str) -> int:
        program = f"import signal, sys, time, threading\n{attitude}"
        process = subprocess.Popen([sys.executable, "-S", "-c", program], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process.pid

    yield make
    for process in started:
        process.kill()
        process.communicate()


READY = "print('ready', flush=True)\n"


@pytest.mark.parametrize(
    ("attitude", "able"),
    [
        (f"{READY}time.sleep(60)", False),
        (f"signal.signal(15, signal.SIG_IGN)\n{READY}time.sleep(60)", False),
        (f"signal.signal(15, lambda *a: None)\n{READY}time.sleep(60)", True),
        (f"signal.pthread_sigmask(signal.SIG_BLOCK, [15])\n{READY}time.sleep(60)", True),
        (f"signal.pthread_sigmask(signal.SIG_BLOCK, [15])\n{READY}signal.sigwait([15])", True),
        (f"signal.pthread_sigmask(signal.SIG_BLOCK, [15])\n{READY}signal.sigtimedwait([15], 60)", True),
        (
            f"def wait():\n    signal.pthread_sigmask(signal.SIG_BLOCK, [15])\n    {READY}    signal.sigwait([15])\n"
            "threading.Thread(target=wait, daemon=True).start()\ntime.sleep(60)",
            True,
        ),
    ],
)
def test_an_init_gets_what_it_asks_for(start: Start, attitude: str, able: bool) -> None:
    assert can_receive(start(attitude), SIGTERM) is able


def test_others_get_everything(start: Start) -> None:
    pid = start(f"{READY}time.sleep(60)")
    assert can_receive(pid, SIGTERM, is_init=False)
    assert can_receive(pid, 9)


def test_a_process_that_is_gone_counts_as_able() -> None:
    assert can_receive(2**22 + 1, SIGTERM)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SIGTERM", 15),
        ("term", 15),
        (" 9 ", 9),
        ("SIGRTMIN", 34),
        ("RTMIN+3", 37),
        ("SIGRTMAX-1", 63),
        ("64", 64),
    ],
)
def test_names(text: str, number: int) -> None:
    assert parse_signal(text) == number
    assert parse_signal(signal_name(number)) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "NOSUCH", "SIG", "RTMIN+99", "RTMAX+1", "RTMINx"])
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid signal"):
        parse_signal(text)
