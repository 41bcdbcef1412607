"""Seccomp profiles: the default one, and Docker's JSON.

The default is stated as what is refused: every system call that the tables know is allowed unless it is named here.
Its effect is that of Docker's default profile, which names what it allows; what neither knows gets ENOSYS, so that
C libraries fall back to older calls. Sources: docs.docker.com/engine/security/seccomp, seccomp(2), libseccomp's
documentation of the actions and comparisons.
"""

from __future__ import annotations

import errno
import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import InvalidArgument
from runtime.kernel import capabilities
from runtime.kernel.syscall_numbers import numbers

# linux/seccomp.h
RET_KILL_PROCESS = 0x80000000
RET_KILL_THREAD = 0x00000000
RET_TRAP = 0x00030000
RET_ERRNO = 0x00050000
RET_TRACE = 0x7FF00000
RET_LOG = 0x7FFC0000
RET_ALLOW = 0x7FFF0000

ARCHITECTURES = {"x86_64": ("x86_64", "i386", "x32"), "aarch64": ("aarch64", "arm")}
"""Machine -> the calling conventions that its kernel takes, its own first."""
_DOCKER_ARCHITECTURES = {
    "SCMP_ARCH_X86_64": "x86_64", "SCMP_ARCH_X86": "i386", "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_AARCH64": "aarch64", "SCMP_ARCH_ARM": "arm",
}  # fmt: skip
_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}

_NEW_NAMESPACES = 0x7E020000
"""Every CLONE_NEW flag of clone(2)."""
_AF_ALG, _AF_VSOCK = 38, 40
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

_NEVER = frozenset(
    """
    _sysctl add_key afs_syscall bdflush break create_module ftime get_kernel_syms getpmsg gtty idle io_uring_enter
    io_uring_register io_uring_setup kexec_file_load kexec_load keyctl lock migrate_pages move_pages mpx nfsservctl
    nice oldfstat oldlstat oldolduname oldstat olduname pciconfig_iobase pciconfig_read pciconfig_write pivot_root prof
    profil putpmsg query_module readdir request_key security sgetmask sigaction signal sigpending sigsuspend ssetmask
    stty swapoff swapon sysfs tuxcall ulimit uselib userfaultfd usr26 usr32 ustat vm86 vm86old vserver get_tls
    """.split()
)
_WITH_CAPABILITY = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": (
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr"
        " lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl"
        " quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare"
    ),
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module init_module finit_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYSLOG": "syslog",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
}
_ON_MACHINE = {
    "x86_64": "arch_prctl modify_ldt",
    "aarch64": "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
}
_SINCE_4_8 = "process_vm_readv process_vm_writev ptrace"
"""Before Linux 4.8 a traced process could get around its filter."""

_INT_ARGUMENTS = {"socket": (0, 1, 2), "socketpair": (0, 1, 2), "personality": (0,)}
"""Arguments of which the kernel takes 32 bits only: what the others hold must not matter to a comparison."""

_COMPARE = {
    "EQ": operator.eq, "NE": operator.ne, "LT": operator.lt, "LE": operator.le, "GT": operator.gt, "GE": operator.ge,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """One argument against a value. ``operator`` is libseccomp's: EQ, NE, LT, LE, GT, GE, MASKED_EQ (then
    ``argument & mask == value``)."""

    index: int
    operator: str
    value: int
    mask: int = 0xFFFFFFFFFFFFFFFF
    bits: int = 64

    def holds(self, argument: int) -> bool:
        if self.operator == "MASKED_EQ":
            return argument & self.mask == self.value
        return bool(_COMPARE[self.operator](argument, self.value))


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to a call whose arguments meet all of ``comparisons``."""

    action: int
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """Decided for one container: rules by name of system call, in order; ``default`` for all other calls."""

    default: int
    rules: Mapping[str, tuple[Rule, ...]]
    architectures: tuple[str, ...]
    """Conventions that are filtered; a call by any other one ends the process."""

    def allows(self, name: str, arguments: Sequence[int] | None = None) -> bool:
        """Whether a call of the machine's own convention is let through; without ``arguments``: whatever they are."""
        for rule in self.rules.get(name, ()):
            if arguments is None and rule.comparisons:
                if rule.action not in (RET_ALLOW, RET_LOG):
                    return False
            elif all(c.holds(arguments[c.index]) for c in rule.comparisons if arguments is not None):
                return rule.action in (RET_ALLOW, RET_LOG)
        return self.default in (RET_ALLOW, RET_LOG)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What conditional parts of a profile go by."""

    capabilities: int
    machine: str
    kernel: tuple[int, int]

    def has(self, name: str) -> bool:
        number = capabilities.NUMBERS.get(name.removeprefix("CAP_"))
        return number is not None and bool(self.capabilities >> number & 1)


def error(number: int) -> int:
    """The action that lets a call fail with this errno."""
    return RET_ERRNO | (number & 0xFFFF)


def default_profile(given: Circumstances) -> Profile:
    """See the module."""
    permitted: set[str] = set(_ON_MACHINE.get(given.machine, "").split())
    gated = {name for names in (*_WITH_CAPABILITY.values(), *_ON_MACHINE.values()) for name in names.split()}
    for capability, names in _WITH_CAPABILITY.items():
        if given.has(capability):
            permitted.update(names.split())
    if given.kernel >= (4, 8):
        permitted.update(_SINCE_4_8.split())
    refused = _NEVER | (gated - permitted)
    allow = (Rule(RET_ALLOW),)
    architectures = ARCHITECTURES[given.machine]
    known = {name for architecture in architectures for name in numbers(architecture)}
    rules: dict[str, tuple[Rule, ...]] = dict.fromkeys(known - refused, allow)
    rules["socket"] = (
        tuple(
            Rule(error(errno.EPERM), (Comparison(0, "EQ", family, bits=32),))
            for family in (_AF_ALG, _AF_VSOCK)
        )
        + allow
    )
    # The older way to make a socket hides its arguments behind a pointer: programs fall back to the other one.
    rules["socketcall"] = (Rule(error(errno.ENOSYS)),)
    rules["personality"] = tuple(
        Rule(RET_ALLOW, (Comparison(0, "EQ", persona, bits=32),)) for persona in _PERSONALITIES
    )
    if not given.has("CAP_SYS_ADMIN"):
        rules["clone"] = (Rule(RET_ALLOW, (Comparison(0, "MASKED_EQ", 0, mask=_NEW_NAMESPACES),)),)
        rules["clone3"] = (Rule(error(errno.ENOSYS)),)
    return Profile(error(errno.EPERM), rules, architectures)


# Docker's JSON

_ACTIONS = {
    "SCMP_ACT_KILL": RET_KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": RET_KILL_PROCESS,
    "SCMP_ACT_TRAP": RET_TRAP,
    "SCMP_ACT_ERRNO": RET_ERRNO,
    "SCMP_ACT_TRACE": RET_TRACE,
    "SCMP_ACT_LOG": RET_LOG,
    "SCMP_ACT_ALLOW": RET_ALLOW,
}
_OPERATORS = {
    "SCMP_CMP_NE": "NE", "SCMP_CMP_LT": "LT", "SCMP_CMP_LE": "LE", "SCMP_CMP_EQ": "EQ",
    "SCMP_CMP_GE": "GE", "SCMP_CMP_GT": "GT", "SCMP_CMP_MASKED_EQ": "MASKED_EQ",
}  # fmt: skip
_MAX = 0xFFFFFFFFFFFFFFFF


def parse_profile(text: str, given: Circumstances) -> Profile:
    """A profile in Docker's JSON format, or the OCI runtime specification's (``linux.seccomp``).

    Raises InvalidArgument naming what is wrong and where.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InvalidArgument(f"seccomp profile: not valid JSON: {problem}") from None
    if not isinstance(document, dict) or "defaultAction" not in document:
        raise InvalidArgument("seccomp profile: it is not an object with a defaultAction")
    default = _action(document["defaultAction"], document.get("defaultErrnoRet"), "defaultAction")
    rules: dict[str, tuple[Rule, ...]] = {}
    for position, entry in enumerate(_list(document.get("syscalls"), "syscalls")):
        where = f"syscalls[{position}]"
        if not isinstance(entry, dict):
            raise InvalidArgument(f"seccomp profile: {where} is not an object")
        if not _applies(entry, given):
            continue
        action = _action(entry.get("action"), entry.get("errnoRet"), f"{where}.action")
        names = _list(entry.get("names") or ([entry["name"]] if entry.get("name") else []), f"{where}.names")
        for name in names:
            comparisons = tuple(
                _comparison(argument, str(name), f"{where}.args[{number}]")
                for number, argument in enumerate(_list(entry.get("args"), f"{where}.args"))
            )
            if action != default:
                added = (Rule(action, alternative) for alternative in _alternatives(comparisons))
                rules[str(name)] = (*rules.get(str(name), ()), *added)
    for name, found in rules.items():
        # As libseccomp has it: what is said of a call whatever its arguments are is all that is said of it.
        rules[name] = tuple(rule for rule in found if not rule.comparisons)[:1] or found
    return Profile(default, rules, _architectures(document, given))


def _architectures(document: Mapping[str, Any], given: Circumstances) -> tuple[str, ...]:
    """The conventions that a profile covers on this machine; its own always."""
    own, *others = ARCHITECTURES[given.machine]
    named = [_DOCKER_ARCHITECTURES.get(str(a)) for a in _list(document.get("architectures"), "architectures")]
    for entry in _list(document.get("archMap"), "archMap"):
        if isinstance(entry, dict) and _DOCKER_ARCHITECTURES.get(str(entry.get("architecture"))) == own:
            named += [
                _DOCKER_ARCHITECTURES.get(str(a)) for a in _list(entry.get("subArchitectures"), "archMap")
            ]
    return (own, *(other for other in others if other in named))


def _applies(entry: Mapping[str, Any], given: Circumstances) -> bool:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    own = _GO_NAMES[given.machine]
    if includes.get("arches") and own not in includes["arches"]:
        return False
    if includes.get("caps") and not all(given.has(capability) for capability in includes["caps"]):
        return False
    if includes.get("minKernel") and given.kernel < _kernel(includes["minKernel"]):
        return False
    if own in (excludes.get("arches") or ()):
        return False
    if any(given.has(capability) for capability in excludes.get("caps") or ()):
        return False
    return not (excludes.get("minKernel") and given.kernel >= _kernel(excludes["minKernel"]))


def _kernel(text: object) -> tuple[int, int]:
    first, _, second = str(text).partition(".")
    if not first.isdecimal() or not second.isdecimal():
        raise InvalidArgument(f"seccomp profile: minKernel {text!r} is not of the form 4.8")
    return int(first), int(second)


def _action(name: object, number: object, where: str) -> int:
    action = _ACTIONS.get(str(name))
    if action is None:
        hint = f"known: {', '.join(_ACTIONS)}"
        if name == "SCMP_ACT_NOTIFY":
            hint = "there is nobody in the engine to be notified"
        raise InvalidArgument(f"seccomp profile: {where}: unknown action {name!r}", hint=hint)
    if action in (RET_ERRNO, RET_TRACE):
        if number is not None and (not isinstance(number, int) or not 0 <= number < 4096):
            raise InvalidArgument(f"seccomp profile: {where}: errnoRet {number!r} is not an error number")
        action |= errno.EPERM if number is None else number
    return action


def _comparison(argument: object, name: str, where: str) -> Comparison:
    if not isinstance(argument, dict):
        raise InvalidArgument(f"seccomp profile: {where} is not an object")
    operator = _OPERATORS.get(str(argument.get("op")))
    index = argument.get("index")
    if operator is None:
        raise InvalidArgument(f"seccomp profile: {where}: unknown operator {argument.get('op')!r}")
    if not isinstance(index, int) or not 0 <= index <= 5:
        raise InvalidArgument(f"seccomp profile: {where}: index {index!r} is not between 0 and 5")
    values = [argument.get(key, 0) or 0 for key in ("value", "valueTwo")]
    if not all(isinstance(value, int) and 0 <= value <= _MAX for value in values):
        raise InvalidArgument(f"seccomp profile: {where}: value is not an unsigned 64-bit number")
    bits = 32 if index in _INT_ARGUMENTS.get(name, ()) else 64
    if operator == "MASKED_EQ":
        # Bits of the value that the mask hides count as none, as for libseccomp.
        return Comparison(index, operator, values[1] & values[0], mask=values[0], bits=bits)
    return Comparison(index, operator, values[0], bits=bits)


def _alternatives(comparisons: tuple[Comparison, ...]) -> Iterable[tuple[Comparison, ...]]:
    """All have to hold; but where an argument is compared more than once, one of them is enough: runc's reading, which
    profiles for Docker are written for (libcontainer/seccomp: matchCall)."""
    if len({comparison.index for comparison in comparisons}) == len(comparisons):
        return (comparisons,)
    return ((comparison,) for comparison in comparisons)


def _list(value: object, where: str) -> Iterable[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidArgument(f"seccomp profile: {where} is not a list")
    return value
