"""How soon the keeper starts another core, and what that is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from runtime.container.keeper import FIRST_DELAY, LAST_DELAY, LAST_DELAY_OF_SERVING, LONG_ENOUGH, next_delay
from tests.e2e.engine import wait_for

ROOT = Path(__file__).resolve().parents[3]


def test_one_that_dies_again_and_again_is_given_more_time() -> None:
    delay, seen = 0.0, []
    for _ in range(12):
        delay = next_delay(delay, 0.1, has_served=False)
        seen.append(delay)
    assert seen[:3] == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY]
    assert seen[-1] == LAST_DELAY


def test_one_that_has_served_is_back_soon() -> None:
    delay = 0.0
    for _ in range(12):
        delay = next_delay(delay, 0.5, has_served=True)
    assert delay == LAST_DELAY_OF_SERVING


def test_after_a_good_run_it_begins_anew() -> None:
    assert next_delay(LAST_DELAY, LONG_ENOUGH + 1, has_served=True) == FIRST_DELAY


KILLED = """
import os, sys, time
sys.path.insert(0, {root!r})
from runtime.container import keeper
fork = os.fork
def fork_and_lose_the_parent():
    own = os.getpid()
    pid = fork()
    while pid == 0 and os.getppid() == own:
        time.sleep(0.001)
    return pid
os.fork = fork_and_lose_the_parent
made = keeper.Keeper({place!r}, ["/bin/sh", "-c", "echo $COMPOSER_KEEPER > {place}/new; mv {place}/new {place}/told"])
made._listener, made._lock = (os.open("/dev/null", os.O_RDONLY) for _ in range(2))
made._start_core()
"""


def test_a_core_whose_keeper_is_killed_at_once_knows_which_it_was(tmp_path: Path) -> None:
    """And does not wait for the end of whoever has become its parent, nor ends that."""
    process = subprocess.Popen([sys.executable, "-c", KILLED.format(root=str(ROOT), place=str(tmp_path))])
    assert process.wait(60) == 0
    wait_for((tmp_path / "told").exists, "the core to begin")
    assert int((tmp_path / "told").read_text().split(",")[3]) == process.pid
