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


@lru_cache(maxsize=64)
def compile_profile(profile: str, capabilities: int, machine: str, kernel: tuple[int, int]) -> bytes:
    """The filter for a container that has ``capabilities`` (bit mask) on ``machine`` (x86_64, aarch64).

    ``profile`` is "" for the default one, or Docker's JSON. Raises InvalidArgument for a profile that is none.
    """
    from runtime.kernel.seccomp_bpf import assemble
    from runtime.kernel.seccomp_profile import Circumstances, default_profile, parse_profile

    given = Circumstances(capabilities, machine, kernel)
    return assemble(parse_profile(profile, given) if profile else default_profile(given), machine)
