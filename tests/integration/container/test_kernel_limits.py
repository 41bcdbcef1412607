"""Limits of the kernel's are named when they are really reached: in a user namespace, which has its own of most."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.container.logfile import LogWriter

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
ROOT = Path(__file__).resolve().parents[3]
UID = 61234
"""Nobody's, whose quota of keys nobody else uses."""
FOLLOW = """
import sys, trio
from pathlib import Path
from runtime.container.logs import LogReader
async def main():
    reader = LogReader(Path(sys.argv[1]))
    wanted = int(sys.argv[2])
    while wanted:
        await reader.wait_for_news()
        for block in reader.read_new():
            for entry in block:
                print(entry.data.decode(), flush=True)
                wanted -= 1
trio.run(main)
"""


def _run_with(setting: str, code: str, *words: str, mounts: bool = False) -> subprocess.Popen[str]:
    """In a user namespace where ``setting`` of /proc/sys/user is 0; with ``mounts`` of its own."""
    shell = f'echo 0 > /proc/sys/user/{setting}; exec "$@"'
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        *(["--mount"] if mounts else []),
        "sh",
        "-c",
        shell,
        "sh",
        sys.executable,
        "-c",
        code,
        *words,
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kind", ["net", "uts", "mnt"])
def test_namespaces(kind: str) -> None:
    code = (
        "from runtime.kernel import namespaces, syscalls\n"
        f"try: syscalls.unshare(namespaces.FLAGS['ipc'] | namespaces.FLAGS[{kind!r}])\n"
        "except OSError as error: print(error.strerror)"
    )
    said, problem = _run_with(f"max_{kind}_namespaces", code).communicate(timeout=60)
    key = f"user.max_{kind}_namespaces"
    assert said == f"no more {kind} namespaces: there are as many as sysctl {key} allows, 0\n", problem


@pytest.mark.parametrize("call", ["new_filesystem('tmpfs')", "clone_tree(b'/')"])
def test_mounts_that_are_not_attached(call: str) -> None:
    """Each is in a mount namespace."""
    code = (
        "from runtime.kernel import mounts\n"
        f"try: print(mounts.{call})\n"
        "except OSError as error: print(error.strerror)"
    )
    said, problem = _run_with("max_mnt_namespaces", code, mounts=True).communicate(timeout=60)
    key = "user.max_mnt_namespaces"
    assert said == f"no more mnt namespaces: there are as many as sysctl {key} allows, 0\n", problem


@pytest.mark.parametrize("kind", ["instances", "watches"])
def test_a_log_that_cannot_be_watched_is_looked_at(tmp_path: Path, kind: str) -> None:
    log = LogWriter(str(tmp_path), max_size=2000, max_files=100)
    log.write(b"stdout", b"0\n")
    follower = _run_with(f"max_inotify_{kind}", FOLLOW, str(tmp_path), "200")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "0\n"
    for number in range(1, 200):
        log.write(b"stdout", b"%d\n" % number)
        if number % 50 == 0:
            assert [follower.stdout.readline() for _ in range(50)][-1] == f"{number}\n"
    assert follower.stdout.read().splitlines() == [str(number) for number in range(151, 200)]
    _, problem = follower.communicate(timeout=60)
    assert "no more files can be watched" in problem
    log.close()


def test_keyrings() -> None:
    code = (
        "import ctypes, os\n"
        "from runtime.container import launch\n"
        f"os.setresuid({UID}, {UID}, {UID})\n"
        "launch.join_keyring('first')\n"
        "libc = ctypes.CDLL(None)\n"
        "add = lambda n: libc.syscall(ADD_KEY, b'user', b'%d' % n, b'x', ctypes.c_size_t(1), ctypes.c_int(-3))\n"
        "n = 0\n"
        "while add(n) > 0: n += 1\n"
        "try: launch.join_keyring('second')\n"
        "except OSError as error: print(error.strerror)"
    ).replace("ADD_KEY", "248" if os.uname().machine == "x86_64" else "217")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    most = Path("/proc/sys/kernel/keys/maxkeys").read_text().strip()
    wanted = f"no more keyrings: user {UID} has as many as sysctl kernel.keys.maxkeys allows, {most}\n"
    assert done.stdout == wanted, done.stderr
