"""Loading a BPF program and attaching it to a cgroup. bpf(2)."""

from __future__ import annotations

import ctypes
import os
import struct

# linux/bpf.h
BPF_PROG_LOAD = 5
BPF_PROG_ATTACH = 8
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6
BPF_F_ALLOW_MULTI = 2
_NR_BPF = {"x86_64": 321, "aarch64": 280}.get(os.uname().machine, 321)


def attach_device_filter(cgroup: str, program: bytes) -> None:
    """Load ``program`` and attach it to the cgroup directory. Raises OSError; the kernel keeps it as long as the
    cgroup exists."""
    instructions = ctypes.create_string_buffer(program, len(program))
    license_text = ctypes.create_string_buffer(b"Apache-2.0")
    log = ctypes.create_string_buffer(65536)

    def load(log_level: int) -> int:
        attributes = struct.pack(
            "=IIQQIIQ",
            BPF_PROG_TYPE_CGROUP_DEVICE,
            len(program) // 8,
            ctypes.addressof(instructions),
            ctypes.addressof(license_text),
            log_level,
            len(log) if log_level else 0,
            ctypes.addressof(log) if log_level else 0,
        )
        return _bpf(BPF_PROG_LOAD, attributes)

    try:
        loaded = load(0)
    except PermissionError:
        raise
    except OSError as error:
        try:
            loaded = load(1)
        except OSError:
            raise OSError(
                error.errno, f"load device filter: {os.strerror(error.errno or 0)}; {log.value[-300:]!r}"
            )
    directory = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _bpf(BPF_PROG_ATTACH, struct.pack("=IIII", directory, loaded, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI))
    finally:
        os.close(directory)
        os.close(loaded)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result: int = _libc.syscall(ctypes.c_long(_NR_BPF), ctypes.c_long(command), buffer, ctypes.c_long(128))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf: {os.strerror(number)}")
    return result
