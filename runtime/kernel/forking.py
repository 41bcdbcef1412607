"""Forking a child that is born in a cgroup (clone3(2), CLONE_INTO_CGROUP, Linux 5.7), or as a child of one's parent.

Moving a process takes a lock over all processes of the machine and waits for RCU (5 to 15 ms); being born in a cgroup
does not. These are what os.fork does, with one flag more: the C library's state that depends on the thread's id is set
by the kernel, as its own fork() asks, and the interpreter is told before and after.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Callable

CLONE_PARENT = 0x00008000
CLONE_CHILD_CLEARTID = 0x00200000
CLONE_CHILD_SETTID = 0x01000000
CLONE_INTO_CGROUP = 0x200000000
_NR_CLONE3 = 435
_NR_CLONE = {"x86_64": 56, "aarch64": 220}.get(os.uname().machine, 56)
PR_GET_TID_ADDRESS = 40

# Not releasing the interpreter's lock: nothing may run between these calls.
_python = ctypes.pythonapi
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_char_p, ctypes.c_size_t)
_syscall.restype = ctypes.c_long

_clone = _libc["syscall"]
_clone.argtypes = (ctypes.c_long, *[ctypes.c_ulong] * 5)
_clone.restype = ctypes.c_long


def _thread_id_address() -> int:
    """Where the C library keeps this thread's id; 0 when the kernel does not tell (CONFIG_CHECKPOINT_RESTORE)."""
    address = ctypes.c_uint64(0)
    if _libc.prctl(PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0):
        return 0
    return address.value


def fork_into(cgroup: int) -> int:
    """As os.fork, with the child in the cgroup (v2) whose directory is behind the descriptor ``cgroup``.

    For processes with one thread. Raises OSError: ENOSYS, EBUSY and EOPNOTSUPP where this cannot be done."""
    address = _thread_id_address()
    flags = CLONE_INTO_CGROUP | (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID if address else 0)
    arguments = struct.pack("=11Q", flags, 0, address, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, cgroup)
    return _between(lambda: _syscall(_NR_CLONE3, arguments, len(arguments)), "clone3 into a cgroup")


def fork_sibling() -> int:
    """As os.fork, but the child's parent is this process's own, at once. By clone(2), which filters of system calls can
    look into and therefore allow. For processes with one thread. Raises OSError."""
    address = _thread_id_address()
    flags = CLONE_PARENT | signal.SIGCHLD | (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID if address else 0)
    # clone(2), "C library/kernel differences": the last two arguments change places.
    last = (0, address) if os.uname().machine == "aarch64" else (address, 0)
    return _between(lambda: _clone(_NR_CLONE, flags, 0, 0, *last), "clone")


def _between(clone: Callable[[], int], what: str) -> int:
    """Fork, and tell the interpreter before and after."""
    _python.PyOS_BeforeFork()
    pid = clone()
    if pid == 0:
        _python.PyOS_AfterFork_Child()
        return 0
    error = ctypes.get_errno()
    _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return pid


def is_own_child(pid: object) -> bool:
    """Whether ``pid``, as somebody says who may have been made to say it, is a child of this process."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
