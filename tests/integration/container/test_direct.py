"""Execs that need no fork of the shim: the same as those that do, and only for as long as what is remembered holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime.container.config import ContainerConfig, Ulimit
from runtime.container.shim_client import LaunchError, Shim

from .conftest import TIMEOUT

if TYPE_CHECKING:
    from .conftest import Laboratory

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86-64 machine")

SELF = """
import os, resource, sys
hide = ("Pid", "Tgid", "NSpid", "NStgid", "NSsid", "NSpgid", "SigQ", "Cpus", "Mems", "Vm", "Rss", "Hugetlb")
status = [line for line in open("/proc/self/status") if not line.startswith(hide) and "ctxt" not in line]
print("".join(status))
print(sorted(os.environ.items()), os.getcwd(), oct(os.umask(0)), sys.argv)
print(sorted(os.listdir("/proc/self/fd")), [(os.fstat(n).st_mode, os.fstat(n).st_uid) for n in (0, 1, 2)])
print([(n, resource.getrlimit(n)) for n in range(16)])
print(open("/proc/self/cgroup").read(), open("/proc/self/oom_score_adj").read())
print(open("/proc/keys").read() if os.path.exists("/proc/keys") else "")
print([os.readlink(f"/proc/self/ns/{n}") for n in sorted(os.listdir("/proc/self/ns"))])
print(os.getsid(0) == os.getpid() == os.getpgid(0), os.getppid(), os.getpriority(0, 0), os.sched_getaffinity(0))
print(open("/proc/self/timerslack_ns").read() if os.geteuid() == 0 else "")
"""


async def forkless(shim: Shim) -> int:
    return int((await shim.state())["execs_without_fork"])


async def remembered(laboratory: Laboratory, shim: Shim, **options: Any) -> None:
    """A user's files must not have changed just before they were read, and the image is new."""
    with trio.fail_after(TIMEOUT):
        while not await forkless(shim):
            assert (await laboratory.exec(shim, "true", **options)).code == 0


VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}),
    "user": ({}, {"user": "nobody"}),
    "number": ({}, {"user": "12345:54321"}),
    "groups": ({"group_add": ("audio", "4711")}, {}),
    "directory and environment": ({}, {"cwd": "/tmp", "env": ["COLOUR=red", "COLOUR=blue", "EMPTY=", "HOME=/x"]}),
    "input": ({}, {"stdin": b"given"}),
    "limits": ({"ulimits": (Ulimit("nofile", 64, 128), Ulimit("core", 0, 0))}, {}),
    "no new privileges": ({"security_opt": ("no-new-privileges",)}, {}),
    "no new privileges, user": ({"security_opt": ("no-new-privileges",)}, {"user": "nobody"}),
    "no filter": ({"security_opt": ("seccomp=unconfined",)}, {}),
    "capabilities": ({"cap_add": ("NET_ADMIN",), "cap_drop": ("CHOWN",)}, {}),
    "none of them": ({"cap_drop": ("ALL",)}, {}),
    "killed first": ({"oom_score_adj": 500}, {}),
    "with an init": ({"init": True}, {}),
    "the host's processes": ({"pid_mode": "host"}, {}),
    "the host's names": ({"uts_mode": "host", "ipc_mode": "host"}, {}),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
async def test_is_as_a_fork_would_be(laboratory: Laboratory, variant: str) -> None:
    container, options = VARIANTS[variant]
    shim = await laboratory.start("sleep", "1000", **container)
    config = ContainerConfig(image="x", **container)
    found = []
    for _ in range(3):
        found.append(await laboratory.exec(shim, "python3", "-c", SELF, "a b", config=config, **options))
        forks = len(found) == 1
        assert await forkless(shim) == 0 if forks else await forkless(shim) > 0
        await remembered(laboratory, shim, config=config, **options)
    assert [one.code for one in found] == [0, 0, 0], found[0].stderr
    assert found[0].text == found[1].text == found[2].text
    assert "Seccomp" in found[0].text


async def test_many_of_them(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    await remembered(laboratory, shim)
    before = await forkless(shim)
    for number in range(30):
        finished = await laboratory.exec(
            shim, "/bin/sh", "-c", f"cat; echo err >&2; exit {number}", stdin=b"%d" % number
        )
        assert (finished.code, finished.stdout, finished.stderr) == (number, b"%d" % number, b"err\n")
    assert (await laboratory.exec(shim, "/bin/sh", "-c", "kill -9 $$")).code == 137
    assert await forkless(shim) == before + 31
    assert (await shim.state())["execs"] == []


async def test_what_fails_says_why(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    await remembered(laboratory, shim)
    for argv, code, text in (
        (("nope",), 127, "executable file not found"),
        (("/etc/passwd",), 126, "permission denied"),
        (("/nope",), 127, "no such file"),
    ):
        with pytest.raises(LaunchError, match=text) as caught:
            await laboratory.exec(shim, *argv)
        assert caught.value.exit_code == code
    with pytest.raises(LaunchError, match='working directory "/none": No such file') as caught:
        await laboratory.exec(shim, "true", cwd="/none")
    assert caught.value.exit_code == 126
    before = await forkless(shim)
    assert (await laboratory.exec(shim, "true")).code == 0
    assert await forkless(shim) == before + 1
    assert (await shim.state())["execs"] == []


async def test_a_user_that_has_changed_is_looked_up_again(laboratory: Laboratory) -> None:
    """``adduser`` and the like while the container runs."""
    shim = await laboratory.start("sleep", "1000")
    with pytest.raises(LaunchError, match="unable to find user me"):
        await laboratory.exec(shim, "true", user="me")
    for home in ("one", "two"):
        change = (
            "grep -v ^me: /etc/passwd > /etc/new",
            f"echo 'me:x:1234:5678::/home/{home}:/bin/sh' >> /etc/new",
            "mv /etc/new /etc/passwd",
        )
        assert (await laboratory.exec(shim, "/bin/sh", "-c", " && ".join(change))).code == 0
        for _ in range(3):
            finished = await laboratory.exec(shim, "/bin/sh", "-c", "id -u; id -g; echo $HOME", user="me")
            assert finished.lines == ["1234", "5678", f"/home/{home}"]


async def test_whoever_may_trace_meets_a_fork_that_is_confined_before(laboratory: Laboratory) -> None:
    config = ContainerConfig(image="x", cap_add=("SYS_PTRACE",))
    shim = await laboratory.start("sleep", "1000", cap_add=("SYS_PTRACE",))
    for _ in range(3):
        assert (await laboratory.exec(shim, "true", config=config)).code == 0
    assert (await laboratory.exec(shim, "true", privileged=True)).code == 0
    assert await forkless(shim) == 0


async def test_nothing_of_the_container_can_make_the_shim_wait(laboratory: Laboratory) -> None:
    """A device or FIFO in the place of what is read: it is the process's own affair."""
    shim = await laboratory.start("sleep", "1000")
    await remembered(laboratory, shim)
    assert (await laboratory.exec(shim, "/bin/sh", "-c", "rm /etc/passwd && mkfifo /etc/passwd")).code == 0
    for _ in range(3):
        assert (await laboratory.exec(shim, "id", "-u")).text == "0\n"
