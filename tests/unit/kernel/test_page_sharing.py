"""Memory of forks, in an interpreter of its own: this one has threads, and is needed afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc, json, os, signal, sys
from runtime.kernel import page_sharing

def copied():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Anonymous"))

gc.collect()
page_sharing.end_warming_up()
gc.freeze()
gc.disable()
things = [str(number) for number in range(50_000)]
kinds = (int, str, bytes, list, dict, set, tuple, float)
names = [f"attribute{number}" for number in range(1000)]
snapshot = page_sharing.share()
assert snapshot is not None
assert b"composer-heap" in open("/proc/self/maps", "rb").read()
if (child := os.fork()) == 0:
    sum(map(len, things))  # each is counted up and down again
    before = copied()
    given = snapshot.give_back()
    after = copied()
    assert given > 100 and before - after > given * 2, (given, before, after)
    # Attributes of types are looked up in a table, which fills in any order.
    for kind in kinds:
        for name in names:
            hasattr(kind, name)
    snapshot.give_back()
    assert copied() < after + 64, (copied(), after)
    # All is as it was, and goes on to work: memory is got, let go of and got again.
    assert things == [str(number) for number in range(50_000)]
    signal.signal(signal.SIGUSR1, lambda *_: things.append("signal"))
    os.kill(os.getpid(), signal.SIGUSR1)
    for _ in range(20):
        more = [json.loads(json.dumps({"a": list(range(1000))})) for _ in range(50)]
        assert snapshot.give_back() >= 0
        del more
    assert things[-1] == "signal" and things[:3] == ["0", "1", "2"]
    gc.unfreeze()
    gc.collect()
    os._exit(0)
things.clear()
more = [json.dumps({"a": [1, 2, number]}) for number in range(50_000)]
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert len(more) == 50_000
sys.exit(status)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86-64 machine")
def test_pages_that_are_as_they_were_are_given_back() -> None:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
