"""The system call filter as a process meets it: what it refuses, what capabilities open, profiles of one's own.

All calls are made with arguments that the kernel itself would refuse (EFAULT, EBADF, EINVAL ...): EPERM and ENOSYS are
the filter's. How the filter is compiled is tested without containers in tests/unit/kernel/test_seccomp.py.
"""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from runtime.container.config import ContainerConfig
from runtime.errors import InvalidArgument
from runtime.kernel import capabilities
from runtime.kernel.syscall_numbers import numbers

if TYPE_CHECKING:
    from .conftest import Laboratory

REFUSED = """
    mount umount2 unshare setns pivot_root fsopen fsmount fspick fsconfig move_mount open_tree mount_setattr keyctl
    add_key request_key bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register kexec_load
    kexec_file_load init_module finit_module delete_module open_by_handle_at reboot swapon swapoff acct settimeofday
    clock_settime iopl ioperm syslog sethostname setdomainname quotactl fanotify_init kcmp pidfd_getfd process_madvise
    get_mempolicy set_mempolicy mbind move_pages migrate_pages lookup_dcookie vhangup nfsservctl uselib ustat sysfs
    _sysctl
""".split()
ONLY_I386 = ("stime", "umount", "vm86", "vm86old", "ulimit", "create_module")
"""Refused calls that other conventions do not have, or not under these names."""
ALLOWED = "read close ptrace process_vm_readv chroot mknod setuid seccomp prctl capset execve sync_file_range".split()
OPENED = {
    "SYS_ADMIN": "mount umount2 unshare setns fsopen fsconfig move_mount open_tree mount_setattr bpf perf_event_open "
    "sethostname quotactl fanotify_init",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "DAC_READ_SEARCH": "open_by_handle_at",
    "SYS_TIME": "settimeofday clock_settime",
    "SYS_NICE": "mbind set_mempolicy",
    "SYS_MODULE": "init_module finit_module delete_module",
    "SYS_RAWIO": "iopl ioperm",
    "SYSLOG": "syslog",
}
"""By capability: calls that it opens. SYS_BOOT and SYS_PACCT are the compiler's tests' alone: they would act."""
_machine = os.uname().machine
NUMBERS = numbers(_machine)


def calls(names: list[str]) -> tuple[str, ...]:
    return (f"CALLS={json.dumps({name: NUMBERS[name] for name in names if name in NUMBERS})}",)


async def test_what_is_refused(laboratory: Laboratory) -> None:
    found = await laboratory.facts("calls", "status", "sockets", env=calls([*REFUSED, "clone3"]))
    assert found["calls"].pop("clone3") == "ENOSYS", "libc falls back to clone"
    assert found["calls"] == dict.fromkeys(found["calls"], "EPERM")
    assert len(found["calls"]) > 40
    assert (found["status"]["Seccomp"], found["status"]["Seccomp_filters"]) == ("2", "1")
    assert found["sockets"] == {
        **dict.fromkeys(("unix", "inet", "inet6", "netlink", "packet", "raw"), "ok"), "alg": "EPERM", "vsock": "EPERM",
    }  # fmt: skip


async def test_what_is_not_the_filters_business(laboratory: Laboratory) -> None:
    found = await laboratory.facts("calls", env=calls(ALLOWED))
    assert not {name for name, answer in found["calls"].items() if answer == "ENOSYS"}
    assert {name for name, answer in found["calls"].items() if answer == "EPERM"} <= {"ptrace"}


async def test_calls_that_nobody_knows_fall_back(laboratory: Laboratory) -> None:
    """What is newer than the tables fails as on an older kernel."""
    found = await laboratory.facts("calls", env=(f"CALLS={json.dumps({'new': 600, 'far': 4000})}",))
    assert found["calls"] == {"new": "ENOSYS", "far": "ENOSYS"}


@pytest.mark.skipif(_machine != "x86_64", reason="needs an x86-64 machine")
async def test_the_other_calling_conventions(laboratory: Laboratory) -> None:
    """A filter that knows the 64-bit numbers only is passed by with ``int 0x80``."""
    i386, x32 = numbers("i386"), numbers("x32")
    names = [name for name in REFUSED if name in i386 and name in x32]
    env = (
        f"INTERRUPT={json.dumps({name: i386[name] for name in [*names, *ONLY_I386, 'socketcall', 'clone3']})}",
        f"CALLS={json.dumps({name: x32[name] | 0x40000000 for name in names})}",
    )
    found = await laboratory.facts("by_interrupt", "calls", env=env)
    assert found["by_interrupt"].pop("socketcall") == "ENOSYS", "its arguments cannot be looked at"
    assert found["by_interrupt"].pop("clone3") == "ENOSYS"
    assert set(found["by_interrupt"].values()) == {"EPERM"}
    assert set(found["calls"].values()) == {"EPERM"}


SCRIPT = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    print("ok" if result >= 0 else errno.errorcode[ctypes.get_errno()])
for persona in (0, 8, 0x20000, 0x20008, 0xffffffff, 0x0040000, 0x400000, 0x20001):
    call(PERSONALITY, persona)
for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
    call(CLONE, flag | 17, 0, 0, 0, 0)
"""


async def test_by_argument(laboratory: Laboratory) -> None:
    script = SCRIPT.replace("PERSONALITY", str(NUMBERS["personality"])).replace(
        "CLONE", str(NUMBERS["clone"])
    )
    finished = await laboratory.run("/usr/bin/python3", "-c", script)
    assert finished.lines == ["ok"] * 5 + ["EPERM"] * 3 + ["EPERM"] * 7


@pytest.mark.parametrize("capability", OPENED)
async def test_what_a_capability_opens(laboratory: Laboratory, capability: str) -> None:
    """Only the filter is asked: a call that the kernel refuses for want of the capability shows EPERM as well."""
    if not capabilities.read_bounding() >> capabilities.NUMBERS[capability] & 1:
        pytest.skip(f"needs a kernel with CAP_{capability} for root")
    names = OPENED[capability].split()
    others = [name for key, text in OPENED.items() if key != capability for name in text.split()]
    found = await laboratory.facts("calls", env=calls([*names, *others]), cap_add=(capability,))
    opened = {name for name, answer in found["calls"].items() if answer != "EPERM"}
    assert opened == {name for name in names if name in NUMBERS}


async def test_a_privileged_exec_is_still_filtered(laboratory: Laboratory) -> None:
    """It has the capabilities, not the calls: as in Docker."""
    shim = await laboratory.start("sleep", "1000")
    found = await laboratory.facts(
        "status", "calls", shim=shim, privileged=True, env=calls(["mount", "keyctl"])
    )
    assert found["status"]["Seccomp"] == "2"
    assert found["calls"] == {"mount": "EPERM", "keyctl": "EPERM"}


async def test_a_profile_for_a_privileged_container(laboratory: Laboratory) -> None:
    text = profile({"names": ["sync"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EXDEV})
    found = await laboratory.facts(
        "status", "calls", privileged=True, security_opt=(f"seccomp={text}",), env=calls(["sync", "keyctl"])
    )
    assert found["status"]["Seccomp"] == "2"
    assert found["calls"] == {"sync": "EXDEV", "keyctl": "ENOTSUP"}


async def test_privileged_and_unconfined_have_none(laboratory: Laboratory) -> None:
    for options in (
        {"privileged": True},
        {"security_opt": ("seccomp=unconfined",)},
        {"security_opt": ("seccomp:unconfined",)},
    ):
        found = await laboratory.facts("status", "calls", env=calls(["clone3", "keyctl"]), **options)
        assert found["status"]["Seccomp"] == "0"
        assert found["calls"] == {"clone3": "E2BIG", "keyctl": "ENOTSUP"}


def profile(*entries: dict[str, Any], default: str = "SCMP_ACT_ALLOW") -> str:
    return json.dumps({"defaultAction": default, "syscalls": entries})


async def test_a_profile_of_ones_own(laboratory: Laboratory) -> None:
    text = profile(
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["rmdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EXDEV},
        {"names": ["sync"], "action": "SCMP_ACT_KILL_PROCESS"},
    )
    finished = await laboratory.sh(
        "mkdir /tmp/x 2>&1; rmdir /tmp 2>&1; sync; echo $?; grep Seccomp: /proc/self/status",
        security_opt=(f"seccomp={text}",),
    )
    assert finished.lines == [
        "mkdir: cannot create directory '/tmp/x': Operation not permitted",
        "rmdir: failed to remove '/tmp': Invalid cross-device link",
        str(128 + 31),
        "Seccomp:\t2",
    ]


async def test_a_profile_that_is_none(laboratory: Laboratory) -> None:
    with pytest.raises(InvalidArgument, match="seccomp profile: not valid JSON"):
        await laboratory.run("true", security_opt=("seccomp={",))


@pytest.mark.parametrize("limited", [False, True])
async def test_execs_have_the_same_filter(laboratory: Laboratory, limited: bool) -> None:
    """So have health checks and hooks, which are execs; and users other than root."""
    options: tuple[str, ...] = ("no-new-privileges",) if limited else ()
    shim = await laboratory.start("sleep", "1000", security_opt=options)
    config = ContainerConfig(image="composer.local/host", security_opt=options)
    for user in ("0", "1000"):
        found = await laboratory.facts(
            "status", "calls", shim=shim, config=config, user=user, env=calls(["keyctl", "clone3"])
        )
        assert found["calls"] == {"keyctl": "EPERM", "clone3": "ENOSYS"}
        assert (found["status"]["Seccomp_filters"], found["status"]["NoNewPrivs"]) == ("1", str(int(limited)))
