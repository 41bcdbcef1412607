"""Children made of a list of system calls, each test in an interpreter of its own: this one has threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.kernel import script

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86-64 machine")

PROGRAM = """
import errno, os, signal, struct, sys
from runtime.kernel import script
from runtime.kernel.script import NEWS, Script

runner = script.runner()
ours, theirs = os.pipe2(os.O_CLOEXEC)
descriptors = {"news": theirs}

def write(fill):
    text = Script()
    text.begin("news", 3)
    fill(text)
    return text.finished()

def run(fill):
    pid = runner.run(write(fill), descriptors)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def executing(text, *argv):
    text.call("execve", text.text(argv[0]), text.vector(argv), text.vector(["A=b"]))

def silent():
    os.set_blocking(ours, False)
    try:
        os.read(ours, 1)
        return False
    except BlockingIOError:
        return True
"""


def check(body: str) -> None:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM + body], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_executes_a_program_with_its_arguments_and_environment() -> None:
    check("""
assert run(lambda text: executing(text, "/bin/sh", "-c", 'test "$A$1" = bc', "sh", "c")) == 0
assert run(lambda text: executing(text, "/bin/sh", "-c", "exit 5")) == 5
assert silent()
""")


def test_no_string_is_cut_off() -> None:
    with pytest.raises(OSError, match="null byte"):
        script.Script().text("/data\0/more")


def test_what_fails_is_told_by_its_row_and_error_and_nothing_follows() -> None:
    check("""
def fill(text):
    global wrong
    text.call("umask", 0o22)
    wrong = text.address_of(text.next)
    text.call("chdir", text.text("/nonesuch"))
    executing(text, "/bin/true")

assert run(fill) == 125
assert NEWS.unpack(os.read(ours, 100)) == (wrong, errno.ENOENT)
""")


def test_errors_that_do_not_matter_are_passed_over_and_may_lead_elsewhere() -> None:
    check("""
def fill(text):
    text.call("chdir", text.text("/nonesuch"), passing=(errno.ENOENT, errno.EPERM))
    text.call("chdir", text.text("/nonesuch"), passing=(errno.ENOENT,), jump=text.address_of(text.next + 2))
    text.call("exit_group", 9)
    executing(text, "/bin/true")

assert run(fill) == 0
assert run(lambda text: text.call("chdir", text.text("/nonesuch"), passing=(errno.EPERM,))) == 125
""")


def test_a_result_can_be_an_argument_and_what_is_found_can_be_wanted() -> None:
    check("""
def found(expected):
    def fill(text):
        text.call("chdir", text.text("/usr"))
        place = text.keep(bytes(4096))
        text.call("getcwd", place, 4096, compare=(place, text.text(expected), len(expected)))
        flags = os.O_RDONLY | os.O_CLOEXEC
        text.call("openat", -100, text.text("/dev/null"), flags, store=text.address_of(text.next + 1, 0))
        text.call("dup3", -1, 0, 0)
        executing(text, "/bin/sh", "-c", "read x; test $? = 1 && test $PWD = /usr")
    return fill

assert run(found("/us")) == 0
assert run(found("/var")) == 125
assert NEWS.unpack(os.read(ours, 100))[1] == errno.ENOENT
""")


def test_a_second_process_goes_on_as_this_ones_child() -> None:
    check("""
def fill(text):
    text.hand_over()
    text.call("setsid")
    executing(text, "/bin/sh", "-c", "exit 7")

assert run(fill) == 0
first, second = NEWS.unpack(os.read(ours, 100))
assert first == 0 and os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]) == 7
""")


def test_the_child_has_nothing_of_this_process_s_memory() -> None:
    check("""
# It waits for a writer of a FIFO meanwhile.
fifo = f"/tmp/composer-test-{os.getpid()}"
os.mkfifo(fifo)
before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
pid = runner.run(write(lambda text: text.call("openat", -100, text.text(fifo), os.O_RDONLY)), descriptors)
with open(f"/proc/{pid}/maps") as file:
    spans = [line.split()[0].split("-") for line in file if "[v" not in line]
size = sum(int(last, 16) - int(first, 16) for first, last in spans)
assert size < script.ROOM + 5 * 4096, (size, spans)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
os.unlink(fifo)
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
# Shown again, a fork has all of it, also what is somewhere else now.
things = bytearray(b"x" * 1_000_000)
assert run(lambda text: executing(text, "/bin/true")) == 0
things.extend(bytes(300_000_000))
runner.show()
assert "dc" not in {flag for line in open("/proc/self/smaps") if line.startswith("VmFlags") for flag in line.split()}
if (pid := os.fork()) == 0:
    os._exit(len([str(number) for number in range(1000)]) - 997)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
assert run(lambda text: executing(text, "/bin/true")) == 0
""")


def test_there_is_no_room_for_everything() -> None:
    check("""
for fill in (
    lambda text: text.keep(bytes(script.ROOM)),
    lambda text: [text.call("umask", 0o22) for _ in range(script.CALLS)],
):
    try:
        write(fill)
    except script.TooLong:
        continue
    raise AssertionError
""")


def test_that_no_process_can_be_made_is_an_error() -> None:
    check(
        """
import resource
os.setresgid(12345, 12345, 12345)
os.setresuid(12345, 12345, 12345)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
try:
    run(lambda text: executing(text, "/bin/true"))
except BlockingIOError as error:
    assert error.errno == errno.EAGAIN
else:
    raise AssertionError
"""
        if os.geteuid() == 0
        else ""
    )
