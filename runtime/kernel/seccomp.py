"""System call filters, seccomp(2): installing one, and making one from a profile.

What installs is standard library only and small, since it runs in a fork between a container's set-up and its
program; what compiles is imported when it is first needed.
"""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache

PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
INSTRUCTION_SIZE = 8


class _Program(ctypes.Structure):
    """``struct sock_fprog`` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install(program: bytes) -> None:
    """Confine this thread, and what it executes, by ``program``: an array of ``struct sock_filter``.

    Needs CAP_SYS_ADMIN or no_new_privs. Raises OSError."""
    buffer = ctypes.create_string_buffer(program, len(program))
    filter_ = _Program(len(program) // INSTRUCTION_SIZE, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp filter: {os.strerror(number)}")


TO_FORK = ("clone", "setsid", "ioctl", "prctl", "sendmsg", "close", "mmap", "munmap", "brk", "exit_group")
"""What a confined process of ours does until there is a child of it that executes its program."""
_CLONE_ARGUMENTS = (0x01208011, 0, 0, 0, 0, 0)
"""CLONE_PARENT, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, SIGCHLD."""


@lru_cache(maxsize=64)
def lets_fork(profile: str, capabilities: int, machine: str, kernel: tuple[int, int]) -> bool:
    """Whether the filter that :func:`compile_profile` makes of the same lets through what :data:`TO_FORK` lists, so
    that a process can be confined before it forks. Raises InvalidArgument."""
    if not profile:
        return True
    from runtime.kernel.seccomp_profile import Circumstances, parse_profile

    parsed = parse_profile(profile, Circumstances(capabilities, machine, kernel))
    return all(parsed.allows(name, _CLONE_ARGUMENTS if name == "clone" else None) for name in TO_FORK)


@lru_cache(maxsize=64)
def compile_profile(profile: str, capabilities: int, machine: str, kernel: tuple[int, int]) -> bytes:
    """The filter for a container that has ``capabilities`` (bit mask) on ``machine`` (x86_64, aarch64).

    ``profile`` is "" for the default one, or Docker's JSON. Raises InvalidArgument for a profile that is none.
    """
    from runtime.kernel.seccomp_bpf import assemble
    from runtime.kernel.seccomp_profile import Circumstances, default_profile, parse_profile

    given = Circumstances(capabilities, machine, kernel)
    return assemble(parse_profile(profile, given) if profile else default_profile(given), machine)
