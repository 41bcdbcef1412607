"""Capabilities: names, what a container gets, and giving up the rest.

Deciding (:func:`select`) happens in the core. :func:`limit_bounding` and :func:`become` are called by the process that
is about to execute the container's program, in that order, with the supplementary groups set in between. Source:
capabilities(7). Only the standard library is used.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

# linux/capability.h, by number
NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
NUMBERS = {name: number for number, name in enumerate(NAMES)}
ALL = (1 << len(NAMES)) - 1
SETS = 64
"""Bits of a set, of which a kernel has names for the first ones."""

_DEFAULT = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE"
)
DEFAULT = sum(1 << NUMBERS[name] for name in _DEFAULT.split())
"""Docker's fourteen."""

PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
_LINUX_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_NR_CAPSET = {"x86_64": 126, "aarch64": 91}.get(os.uname().machine, 126)


def parse(name: str) -> int:
    """The bit of a capability: ``NET_ADMIN``, ``CAP_NET_ADMIN`` or ``cap_net_admin``; ``ALL`` is every bit.

    Raises InvalidArgument naming the nearest.
    """
    plain = name.upper().removeprefix("CAP_")
    if plain == "ALL":
        return ALL
    if plain not in NUMBERS:
        # Late: the keeper and its forks carry this module, and never get here.
        from runtime.errors import InvalidArgument
        from runtime.nearest import nearest

        close = nearest(plain, NAMES)
        raise InvalidArgument(
            f"invalid capability: {name!r}",
            hint=f"did you mean {close}?" if close else "see capabilities(7)",
        )
    return 1 << NUMBERS[plain]


def select(add: Iterable[str], drop: Iterable[str], *, privileged: bool, bounding: int) -> int:
    """The mask that a container gets, never beyond ``bounding`` (what the engine itself has). As Docker reads the
    lists: ``ALL`` in ``add`` starts from everything, ``ALL`` in ``drop`` from nothing, single names come last."""
    added, dropped = [parse(name) for name in add], [parse(name) for name in drop]
    if privileged:
        return ALL & bounding
    mask = DEFAULT
    if ALL in added:
        mask = ALL
    elif ALL in dropped:
        mask = 0
    for bit in dropped:
        mask &= ~bit if bit != ALL else mask if ALL not in added else 0
    for bit in added:
        mask |= bit if bit != ALL else 0
    if ALL in added:
        for bit in dropped:
            mask &= ~bit
    return mask & bounding


def names_of(mask: int) -> tuple[str, ...]:
    """Names with ``CAP_`` of the bits of a mask."""
    return tuple(f"CAP_{name}" for name, number in NUMBERS.items() if mask >> number & 1)


def read_bounding() -> int:
    """The bounding set of this process."""
    mask = 0
    for number in range(SETS):
        if _libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1:
            mask |= 1 << number
    return mask


def limit_bounding(mask: int) -> None:
    """Drop everything that is not in ``mask`` from the bounding set, for ever. Needs CAP_SETPCAP."""
    for number in range(SETS):
        if mask >> number & 1 or _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0:
            continue
        if ctypes.get_errno() == errno.EINVAL:
            return  # beyond the last one that this kernel has
        raise _error(f"drop {NAMES[number] if number < len(NAMES) else number} from the bounding set")


def become(uid: int, gid: int, effective: int) -> None:
    """Take on user and group with all their ids. Root keeps ``effective`` as permitted and effective set, anybody else
    nothing; inheritable and ambient are empty either way."""
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    set_capabilities(effective if uid == 0 else 0)


def set_capabilities(mask: int) -> None:
    """Make ``mask`` the permitted and effective set; inheritable becomes empty. capset(2)."""
    header, data = (ctypes.create_string_buffer(part, len(part)) for part in sets(mask))
    if _libc.syscall(ctypes.c_long(_NR_CAPSET), header, data) != 0:
        raise _error("set capabilities")


def sets(mask: int) -> tuple[bytes, bytes]:
    """``struct __user_cap_header_struct`` and ``__user_cap_data_struct`` for :func:`set_capabilities`."""
    low, high = mask & 0xFFFFFFFF, mask >> 32
    return struct.pack("=Ii", _LINUX_CAPABILITY_VERSION_3, 0), struct.pack("=6I", low, low, 0, high, high, 0)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
