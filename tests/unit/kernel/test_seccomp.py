"""Seccomp filters, run in an interpreter: the default profile, Docker's format, and comparisons of arguments."""

from __future__ import annotations

import errno
import importlib.util
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InvalidArgument
from runtime.kernel.capabilities import DEFAULT, NUMBERS
from runtime.kernel.seccomp import TO_FORK, compile_profile, lets_fork
from runtime.kernel.seccomp_profile import RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS, RET_KILL_THREAD, RET_LOG
from runtime.kernel.syscall_numbers import numbers

_spec = importlib.util.spec_from_file_location("bpf", Path(__file__).with_name("bpf.py"))
assert _spec is not None and _spec.loader is not None
bpf = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bpf)

AUDIT = {
    "x86_64": 0xC000003E,
    "x32": 0xC000003E,
    "i386": 0x40000003,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
}
MACHINES = {"x86_64": "x86_64", "x32": "x86_64", "i386": "x86_64", "aarch64": "aarch64", "arm": "aarch64"}
EPERM, ENOSYS = RET_ERRNO | errno.EPERM, RET_ERRNO | errno.ENOSYS
KERNEL = (6, 1)

REFUSED = """
    mount umount2 unshare setns pivot_root fsopen fsmount fspick fsconfig move_mount open_tree mount_setattr keyctl
    add_key request_key bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register kexec_load
    init_module finit_module delete_module open_by_handle_at reboot swapon swapoff acct settimeofday clock_settime
    syslog sethostname setdomainname quotactl fanotify_init kcmp pidfd_getfd process_madvise get_mempolicy
    set_mempolicy mbind move_pages migrate_pages lookup_dcookie vhangup
""".split()
ALLOWED = """
    read write openat close mmap mprotect futex clone execve exit_group wait4 kill socketpair connect accept4 sendmsg
    epoll_wait prctl seccomp ptrace chroot setuid capset mknodat landlock_create_ruleset rt_sigaction
""".split()


def answer(
    name: str, *arguments: int, architecture: str = "x86_64", capabilities: int = DEFAULT, profile: str = ""
) -> int:
    program = compile_profile(profile, capabilities, MACHINES[architecture], KERNEL)
    number = numbers(architecture)[name] + (0x40000000 if architecture == "x32" else 0)
    return int(bpf.run(program, number, AUDIT[architecture], arguments))


@pytest.mark.parametrize("architecture", AUDIT)
def test_what_is_refused_in_every_calling_convention(architecture: str) -> None:
    known = numbers(architecture)
    answers = {name: answer(name, architecture=architecture) for name in REFUSED if name in known}
    assert set(answers.values()) == {EPERM}, answers
    assert len(answers) > 30


@pytest.mark.parametrize("architecture", AUDIT)
def test_what_programs_need_is_allowed(architecture: str) -> None:
    known = numbers(architecture)
    answers = {name: answer(name, architecture=architecture) for name in ALLOWED if name in known}
    assert set(answers.values()) == {RET_ALLOW}, answers


@pytest.mark.parametrize("architecture", AUDIT)
def test_calls_newer_than_the_tables_fall_back(architecture: str) -> None:
    program = compile_profile("", DEFAULT, MACHINES[architecture], KERNEL)
    base = 0x40000000 if architecture == "x32" else 0
    last = base + max(number for number in numbers(architecture).values() if number < 0xF0000)
    assert bpf.run(program, last + 1, AUDIT[architecture]) == ENOSYS
    assert bpf.run(program, last + 5000, AUDIT[architecture]) == ENOSYS


def test_an_unknown_convention_ends_the_process() -> None:
    for machine, strange in (("x86_64", AUDIT["arm"]), ("aarch64", AUDIT["x86_64"]), ("x86_64", 0)):
        assert bpf.run(compile_profile("", DEFAULT, machine, KERNEL), 0, strange) == RET_KILL_PROCESS


@pytest.mark.parametrize("architecture", ["x86_64", "x32", "i386", "aarch64"])
def test_sockets_of_dangerous_families(architecture: str) -> None:
    families = {
        family: answer("socket", family, 3, 0, architecture=architecture)
        for family in (1, 2, 10, 16, 17, 39, 41)
    }
    assert set(families.values()) == {RET_ALLOW}
    for family in (38, 40, 38 + (1 << 32), 40 + (7 << 40)):  # the kernel does not look at the upper half
        assert answer("socket", family, 3, 0, architecture=architecture) == EPERM


def test_the_old_way_to_make_a_socket_is_closed() -> None:
    assert answer("socketcall", 1, architecture="i386") == ENOSYS


def test_personality() -> None:
    for persona in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF):
        assert answer("personality", persona) == RET_ALLOW
    for persona in (1, 0x40000, 0x400000, 0x20001):
        assert answer("personality", persona) == EPERM


def test_clone_makes_no_namespaces() -> None:
    assert answer("clone", 17) == RET_ALLOW
    assert answer("clone", 0x3D0F00) == RET_ALLOW
    for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer("clone", flag | 17) == EPERM
    assert answer("clone3") == ENOSYS


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ("SYS_ADMIN", "mount"), ("SYS_ADMIN", "clone3"), ("SYS_ADMIN", "unshare"), ("SYS_TIME", "clock_settime"),
        ("SYS_MODULE", "init_module"), ("SYS_PTRACE", "kcmp"), ("SYS_BOOT", "reboot"), ("SYSLOG", "syslog"),
        ("BPF", "bpf"), ("PERFMON", "perf_event_open"), ("DAC_READ_SEARCH", "open_by_handle_at"),
        ("SYS_NICE", "mbind"), ("SYS_RAWIO", "iopl"), ("SYS_PACCT", "acct"), ("SYS_TTY_CONFIG", "vhangup"),
    ],
)  # fmt: skip
def test_what_capabilities_open(capability: str, name: str) -> None:
    assert answer(name) != RET_ALLOW
    assert answer(name, capabilities=DEFAULT | 1 << NUMBERS[capability]) == RET_ALLOW


def test_chroot_goes_with_its_capability() -> None:
    assert answer("chroot") == RET_ALLOW
    assert answer("chroot", capabilities=0) == EPERM


def profile(*syscalls: dict[str, object], default: str = "SCMP_ACT_ERRNO", **more: object) -> str:
    return json.dumps({"defaultAction": default, "syscalls": list(syscalls), **more})


def test_a_profile_of_ones_own() -> None:
    text = profile(
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}, {"name": "kill", "action": "SCMP_ACT_KILL"}
    )
    assert answer("read", profile=text) == RET_ALLOW
    assert answer("kill", profile=text) == RET_KILL_THREAD
    assert answer("openat", profile=text) == EPERM


def test_a_list_of_what_is_forbidden() -> None:
    text = profile(
        {"names": ["mkdir", "chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}, default="SCMP_ACT_ALLOW"
    )
    assert answer("mkdir", profile=text) == RET_ERRNO | 13
    assert answer("openat", profile=text) == RET_ALLOW
    program = compile_profile(text, DEFAULT, "x86_64", KERNEL)
    assert bpf.run(program, 5000, AUDIT["x86_64"]) == RET_ALLOW


def test_conventions_that_a_profile_does_not_name_are_closed() -> None:
    text = profile(architectures=["SCMP_ARCH_X86_64"], default="SCMP_ACT_LOG")
    assert answer("read", profile=text) == RET_LOG
    assert answer("read", architecture="i386", profile=text) == RET_KILL_PROCESS
    assert answer("read", architecture="x32", profile=text) == RET_KILL_PROCESS
    both = profile(default="SCMP_ACT_LOG", architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
    assert answer("read", architecture="i386", profile=both) == RET_LOG


def test_conditions_of_entries() -> None:
    allow = {"action": "SCMP_ACT_ALLOW"}
    text = profile(
        {"names": ["mount"], "includes": {"caps": ["CAP_SYS_ADMIN"]}, **allow},
        {"names": ["read"], "includes": {"minKernel": "4.8"}, **allow},
        {"names": ["write"], "includes": {"minKernel": "99.0"}, **allow},
        {"names": ["close"], "excludes": {"caps": ["CAP_CHOWN"]}, **allow},
        {"names": ["dup"], "includes": {"arches": ["arm64"]}, **allow},
        {"names": ["pipe"], "includes": {"arches": ["amd64"]}, **allow},
    )
    found = {name: answer(name, profile=text) for name in ("mount", "read", "write", "close", "dup", "pipe")}
    assert [name for name, action in found.items() if action == RET_ALLOW] == ["read", "pipe"]


OPERATORS = {
    "SCMP_CMP_EQ": lambda a, v: a == v,
    "SCMP_CMP_NE": lambda a, v: a != v,
    "SCMP_CMP_LT": lambda a, v: a < v,
    "SCMP_CMP_LE": lambda a, v: a <= v,
    "SCMP_CMP_GT": lambda a, v: a > v,
    "SCMP_CMP_GE": lambda a, v: a >= v,
}
WORD = st.one_of(
    st.integers(0, 2**64 - 1), st.integers(0, 3), st.sampled_from([2**32 - 1, 2**32, 2**32 + 1, 2**63])
)


@given(st.sampled_from(sorted(OPERATORS)), WORD, WORD, st.integers(0, 5))
def test_comparisons_are_of_64_bits(operator: str, value: int, argument: int, index: int) -> None:
    entry = {
        "names": ["mmap"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": index, "value": value, "op": operator}],
    }
    arguments = [0] * 6
    arguments[index] = argument
    expected = RET_ALLOW if OPERATORS[operator](argument, value) else EPERM
    assert answer("mmap", *arguments, profile=profile(entry)) == expected


@given(WORD, WORD, WORD)
def test_masked_comparisons(mask: int, value: int, argument: int) -> None:
    test = {"index": 1, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
    entry = {"names": ["mmap"], "action": "SCMP_ACT_ALLOW", "args": [test]}
    expected = RET_ALLOW if argument & mask == value & mask else EPERM
    assert answer("mmap", 0, argument, profile=profile(entry)) == expected


@given(st.lists(st.tuples(WORD, WORD), min_size=1, max_size=3))
def test_all_comparisons_of_an_entry_have_to_hold(pairs: list[tuple[int, int]]) -> None:
    tests = [{"index": i, "value": value, "op": "SCMP_CMP_EQ"} for i, (value, _) in enumerate(pairs)]
    entry = {"names": ["mmap"], "action": "SCMP_ACT_ALLOW", "args": tests}
    expected = RET_ALLOW if all(value == argument for value, argument in pairs) else EPERM
    assert answer("mmap", *(argument for _, argument in pairs), profile=profile(entry)) == expected


def test_comparisons_of_one_argument_are_alternatives() -> None:
    """runc's reading: such an entry is as many entries."""
    tests = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (1, 2)]
    tests.append({"index": 1, "value": 7, "op": "SCMP_CMP_EQ"})
    text = profile({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": tests}, default="SCMP_ACT_ALLOW")
    found = {arguments: answer("socket", *arguments, profile=text) for arguments in ((1, 0), (2, 0), (3, 7))}
    assert set(found.values()) == {EPERM}
    assert answer("socket", 3, 0, profile=text) == RET_ALLOW


def test_what_is_said_of_a_call_whatever_its_arguments_are_is_all() -> None:
    allowed = {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": "SCMP_CMP_EQ"}]}
    killed = {"names": ["read"], "action": "SCMP_ACT_KILL_PROCESS"}
    for entries in ((allowed, killed), (killed, allowed)):
        assert answer("read", 0, profile=profile(*entries)) == RET_KILL_PROCESS
    as_default = {"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": allowed["args"]}
    assert answer("read", 0, profile=profile(as_default, {**allowed, "args": []})) == RET_ALLOW


MUX = {"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]}


def test_the_old_ways_are_as_closed_as_the_new_ones() -> None:
    """socketcall and ipc of i386, which any program can call with int 0x80."""
    text = profile(
        {"names": ["socket", "shmget"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
        {
            "names": ["sendto"],
            "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 1, "value": 1, "op": "SCMP_CMP_EQ"}],
        },
        default="SCMP_ACT_ALLOW",
        **MUX,
    )

    def old(name: str, number: int) -> int:
        return answer(name, number, architecture="i386", profile=text)

    assert old("socketcall", 1) == old("ipc", 23) == old("ipc", 0x10017) == RET_ERRNO | 13
    assert old("socketcall", 11) == EPERM, "its arguments are behind a pointer"
    assert old("socketcall", 2) == old("ipc", 24) == RET_ALLOW


def test_the_old_ways_are_as_open_as_the_new_ones() -> None:
    text = profile(
        {"names": ["socket", "shmget"], "action": "SCMP_ACT_ALLOW"},
        {
            "names": ["sendto"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 1, "value": 1, "op": "SCMP_CMP_EQ"}],
        },
        **MUX,
    )
    found = [answer("socketcall", n, architecture="i386", profile=text) for n in (1, 2, 11)]
    assert found == [RET_ALLOW, EPERM, EPERM]
    own = profile(
        {"names": ["socketcall"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["socket"], "action": "SCMP_ACT_KILL"},
        **MUX,
    )
    assert answer("socketcall", 1, architecture="i386", profile=own) == RET_ALLOW


def test_arguments_of_narrow_conventions_have_32_bits() -> None:
    test = {"index": 0, "value": 0xFFFFFFFFFFFFFFFF, "op": "SCMP_CMP_EQ"}
    text = profile(
        {"names": ["setuid"], "action": "SCMP_ACT_ERRNO", "args": [test]}, default="SCMP_ACT_LOG", **MUX
    )
    assert answer("setuid", 0xFFFFFFFF, architecture="i386", profile=text) == EPERM
    assert answer("setuid", 0xFFFFFFFF, profile=text) == RET_LOG


@pytest.mark.parametrize(
    ("text", "can"),
    [
        ("", True),
        (profile(default="SCMP_ACT_ALLOW"), True),
        (profile(default="SCMP_ACT_LOG"), True),
        (profile({"names": ["clone"], "action": "SCMP_ACT_ERRNO"}, default="SCMP_ACT_ALLOW"), False),
        (profile({"names": [*TO_FORK], "action": "SCMP_ACT_ALLOW"}), True),
        (profile({"names": [*TO_FORK[1:]], "action": "SCMP_ACT_ALLOW"}), False),
        (
            profile(
                {"names": [*TO_FORK[1:]], "action": "SCMP_ACT_ALLOW"},
                {
                    "names": ["clone"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": 0x7E020000, "op": "SCMP_CMP_MASKED_EQ"}],
                },
            ),
            True,
        ),
        (
            profile(
                {
                    "names": ["clone"],
                    "action": "SCMP_ACT_ERRNO",
                    "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_GT"}],
                },
                default="SCMP_ACT_ALLOW",
            ),
            False,
        ),
    ],
)
def test_whether_a_confined_process_can_fork(text: str, can: bool) -> None:
    assert lets_fork(text, DEFAULT, "x86_64", KERNEL) is can


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ("[]", "not an object"),
        ('{"defaultAction": "SCMP_ACT_MAYBE"}', "unknown action 'SCMP_ACT_MAYBE'"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}', "syscalls is not a list"),
        (profile({"names": ["read"], "action": "SCMP_ACT_NOTIFY"}), "syscalls[0].action"),
        (
            profile(
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}
            ),
            "index 6",
        ),
        (
            profile({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": "~"}]}),
            "operator '~'",
        ),
        (profile({"names": ["a"], "action": "SCMP_ACT_ERRNO", "errnoRet": -1}), "errnoRet -1"),
    ],
)
def test_what_is_no_profile(text: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says.replace("[", r"\[")) as raised:
        compile_profile(text, DEFAULT, "x86_64", KERNEL)
    assert str(raised.value).startswith("seccomp profile: ")


def test_the_program_is_short_enough() -> None:
    assert len(compile_profile("", DEFAULT, "x86_64", KERNEL)) // 8 < 1500
