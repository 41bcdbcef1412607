"""Forking a child that is born in a cgroup. clone3(2), CLONE_INTO_CGROUP (Linux 5.7).

Moving a process takes a lock over all processes of the machine and waits for RCU (5 to 15 ms); being born in a cgroup
does not. This is what os.fork does, with one flag more: the C library's state that depends on the thread's id is set by
the kernel, as its own fork() asks, and the interpreter is told before and after.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct

CLONE_CHILD_CLEARTID = 0x00200000
CLONE_CHILD_SETTID = 0x01000000
CLONE_INTO_CGROUP = 0x200000000
_NR_CLONE3 = 435
PR_GET_TID_ADDRESS = 40

# Not releasing the interpreter's lock: nothing may run between these calls.
_python = ctypes.pythonapi
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_char_p, ctypes.c_size_t)
_syscall.restype = ctypes.c_long


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
    _python.PyOS_BeforeFork()
    pid: int = _syscall(_NR_CLONE3, arguments, len(arguments))
    if pid == 0:
        _python.PyOS_AfterFork_Child()
        return 0
    error = ctypes.get_errno()
    _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, f"clone3 into a cgroup: {os.strerror(error)}")
    return pid
