"""Ctrl-C at every moment at which the edge of the command is at work, and once more just after that: no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from composer.cli.main import INSISTENCE, INTERRUPTED, Interrupts

EACH_MOMENT = """
import mmap, os, signal, sys
from composer.cli import main as edge

edge.main(["version"])  # what it imports is here
names = {"main", "_end", "_run_and_report", "end", "__call__"}
reached = mmap.mmap(-1, 1)

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

def run(first, second):
    "The interrupts come before the opcode `first`, and at the call or return `second` behind that."
    seen = after = 0

    def at_call(frame, event, arg):
        nonlocal after
        after += 1
        if after == second:
            interrupt()

    def at_opcode(frame, event, arg):
        nonlocal seen
        if frame.f_code.co_filename != edge.__file__ or frame.f_code.co_name not in names:
            return None
        frame.f_trace_opcodes = True
        seen += 1
        if seen == first:
            reached[0] = 1
            sys.setprofile(at_call if second else None)
            interrupt()
        return at_opcode

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.argv = ["composer", "version"]
    sys.settrace(at_opcode)
    edge.main()

for second in range(5):
    first, statuses = 0, set()
    while True:
        first += 1
        reached[0] = 0
        child = os.fork()
        if not child:
            run(first, second)
        statuses.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        if not reached[0]:
            break
    assert statuses == {0, 130, -signal.SIGINT}, statuses
print("moments", first)
"""


def test_no_moment_has_a_traceback() -> None:
    ran = subprocess.run([sys.executable, "-c", EACH_MOMENT], capture_output=True, text=True, timeout=300)
    assert ran.stderr == ""
    assert int(ran.stdout.split()[-1]) > 50


def test_only_who_insists_ends_what_is_ending() -> None:
    script = """
import signal, sys
from composer.cli.main import Interrupts
signal.signal(signal.SIGINT, Interrupts())
try:
    print("begun", flush=True)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    while True:
        signal.pause()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        began = time.monotonic()
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.returncode == INTERRUPTED
    finally:
        process.kill()
        process.communicate()
    assert time.monotonic() - began > INSISTENCE / 2


def test_a_command_that_has_its_status_keeps_it() -> None:
    interrupts = Interrupts()
    interrupts.end()
    interrupts(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):
        Interrupts()(signal.SIGINT, None)
