"""How a process ended that was somebody else's child, from a pidfd of it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select

PIDFD_GET_INFO = 0xC040FF0B
"""<linux/pidfd.h>: _IOWR(0xFF, 11, struct pidfd_info) of 64 bytes (Linux 6.13)."""
PIDFD_INFO_EXIT = 1 << 3
"""The exit status, once the process has been waited for (Linux 6.15)."""
_EXIT_CODE = 51
"""Of the fields of /proc/PID/stat, from 0 (proc_pid_stat(5))."""


class _Info(ctypes.Structure):
    """struct pidfd_info, as of its first version."""

    _fields_ = (
        ("mask", ctypes.c_uint64),
        ("cgroupid", ctypes.c_uint64),
        ("ids", ctypes.c_uint32 * 11),
        ("exit_code", ctypes.c_int32),
    )


def wait_status_of(pidfd: int) -> int | None:
    """What waitpid(2) would have said; None of a process that runs, and where the kernel does not tell: before Linux
    6.15, once somebody has waited for it."""
    status = _of_a_zombie(pidfd)
    return _of_one_waited_for(pidfd) if status is None else status


def _of_a_zombie(pidfd: int) -> int | None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if not poll.poll(0):
        return None  # it runs
    try:
        if (pid := _pid_of(pidfd)) <= 0:
            return None
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            head, _, rest = file.read().rpartition(")")
        status = int(rest.split()[_EXIT_CODE - 2])
        # Not waited for meanwhile, so it was its number all the time.
        return status if head and _pid_of(pidfd) == pid else None
    except (OSError, IndexError, ValueError):
        return None


def _of_one_waited_for(pidfd: int) -> int | None:
    info = _Info(mask=PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
    except OSError:
        return None
    return int(info.exit_code) if info.mask & PIDFD_INFO_EXIT else None


def _pid_of(pidfd: int) -> int:
    """-1 when it has been waited for (pidfd_open(2), "fdinfo")."""
    with open(f"/proc/{os.getpid()}/fdinfo/{pidfd}", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pid:"))
