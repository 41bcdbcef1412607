"""Giving back pages that a fork has copied for nothing.

A reference count that goes up and down again leaves a page as it was, but copied: the kernel cannot know. Here the
process's memory becomes a private mapping of a sealed memory file with the same content (:func:`share`, once, before
there are forks). Its forks compare each page that was copied with the file, and let go of those that are equal
(:meth:`Snapshot.give_back`): the next look finds the file's page, which all of them share.

Neither can be done in Python, which changes memory with every step it takes, between reading a page and replacing it.
So both are a few instructions of machine code, for x86-64; other machines keep their copies. Standard library only.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import gc
import os
import sys

from runtime.kernel.signal_mask import EverySignalBlocked

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
)  # fmt: skip

PAGE = 4096
SMALLEST = 128 * 1024
"""Bytes of a mapping that is worth the trouble."""

# Execute system calls: rdi is a table of (number, six arguments, result expected), rsi their count. Ends at the first
# with another result; returns how many are left.
_CALLS = bytes.fromhex(
    "53"            #       push rbx
    "55"            #       push rbp
    "4889fb"        #       mov rbx,rdi
    "4889f5"        #       mov rbp,rsi
    "4885ed"        # next: test rbp,rbp
    "742c"          #       jz done
    "488b03"        #       mov rax,[rbx]
    "488b7b08"      #       mov rdi,[rbx+8]
    "488b7310"      #       mov rsi,[rbx+16]
    "488b5318"      #       mov rdx,[rbx+24]
    "4c8b5320"      #       mov r10,[rbx+32]
    "4c8b4328"      #       mov r8,[rbx+40]
    "4c8b4b30"      #       mov r9,[rbx+48]
    "0f05"          #       syscall
    "483b4338"      #       cmp rax,[rbx+56]
    "7509"          #       jne done
    "4883c340"      #       add rbx,64
    "48ffcd"        #       dec rbp
    "ebcf"          #       jmp next
    "4889e8"        # done: mov rax,rbp
    "5d"            #       pop rbp
    "5b"            #       pop rbx
    "c3"            #       ret
)  # fmt: skip
# Let go of pages: rdi is a table of (page, the same page of the file), rsi their count. Returns how many were equal.
_COMPARE = bytes.fromhex(
    "53"            #       push rbx
    "55"            #       push rbp
    "4154"          #       push r12
    "4889fb"        #       mov rbx,rdi
    "4889f5"        #       mov rbp,rsi
    "4531e4"        #       xor r12d,r12d
    "4885ed"        # next: test rbp,rbp
    "7431"          #       jz done
    "488b33"        #       mov rsi,[rbx]
    "488b7b08"      #       mov rdi,[rbx+8]
    "b900020000"    #       mov ecx,512
    "f348a7"        #       repe cmpsq
    "7517"          #       jne other
    "b81c000000"    #       mov eax,28 (madvise)
    "488b3b"        #       mov rdi,[rbx]
    "be00100000"    #       mov esi,4096
    "ba04000000"    #       mov edx,4 (MADV_DONTNEED)
    "0f05"          #       syscall
    "49ffc4"        #       inc r12
    "4883c310"      # other: add rbx,16
    "48ffcd"        #       dec rbp
    "ebca"          #       jmp next
    "4c89e0"        # done: mov rax,r12
    "415c"          #       pop r12
    "5d"            #       pop rbp
    "5b"            #       pop rbx
    "c3"            #       ret
)  # fmt: skip
_NR_MMAP, _NR_PWRITE64 = 9, 18
_READ, _READ_WRITE, _EXECUTE = 1, 3, 4
_PRIVATE, _FIXED, _PRIVATE_FIXED, _ANONYMOUS, _FIXED_NOREPLACE = 2, 0x10, 0x12, 0x20, 0x100000
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _LARGEST = -1, -3, 32 << 20
_FUNCTION = type(lambda: None)
_FLAGS = 48
"""Offset of ``co_flags`` in a code object of Python 3.11; ``co_warmup`` follows it."""
_IS_PRESENT, _IS_OF_FILE = 1 << 63, 1 << 61
"""proc_pid_pagemap(5)"""


class Snapshot:
    """The content of memory at one moment, for this process and its forks."""

    def __init__(self, ranges: list[tuple[int, int]], base: int, code: int) -> None:
        self._ranges = ranges
        """(address, bytes), one behind the other in the file."""
        self._base = base
        """Where the file is mapped as it was."""
        self._compare = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_long)(code)

    def give_back(self) -> int:
        """Let go of every copied page that is as it was; how many there were. Costs less than a millisecond."""
        _forget_types()
        _libc.malloc_trim(0)
        try:
            fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        table = array.array("Q")
        offset = self._base
        try:
            for address, length in self._ranges:
                entries = array.array("Q", os.pread(fd, length // PAGE * 8, address // PAGE * 8))
                for index, entry in enumerate(entries):
                    if entry & _IS_PRESENT and not entry & _IS_OF_FILE:
                        table.append(address + index * PAGE)
                        table.append(offset + index * PAGE)
                offset += length
        finally:
            os.close(fd)
        # Nothing may change a page between the look and the deed; the interpreter's signal handlers would.
        with EverySignalBlocked():
            return int(self._compare(table.buffer_info()[0], len(table) // 2))


def share() -> Snapshot | None:
    """Take the place of this process's memory, and remember its content; None where that cannot be (another machine,
    another C library). For a process with one thread."""
    if os.uname().machine != "x86_64" or not hasattr(_libc, "malloc_trim"):
        return None
    try:
        return _share()
    except OSError:
        return None


def keep_large_blocks() -> None:
    """Have the C library take large blocks of memory from the heap, too: each one that is unmapped makes other
    processors look. What was freed goes back when :meth:`Snapshot.give_back` does. mallopt(3)"""
    if hasattr(_libc, "mallopt"):
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            _libc.mallopt(option, _LARGEST)


def end_warming_up() -> None:
    """Python 3.11 counts the first calls of each function in its code object, until it optimises it: a page that each
    fork would copy. A count of 0 says that this is over. Code with another layout is left alone."""
    if sys.version_info[:2] != (3, 11):
        return
    waiting = [thing.__code__ for thing in gc.get_objects() if type(thing) is _FUNCTION]
    while waiting:
        code = waiting.pop()
        flags = ctypes.c_int.from_address(id(code) + _FLAGS)
        count = ctypes.c_short.from_address(id(code) + _FLAGS + 4)
        if flags.value == code.co_flags and -8 <= count.value < 0:
            count.value = 0
        waiting += [constant for constant in code.co_consts if type(constant) is type(code)]


def _forget_types() -> None:
    """Empty the interpreter's table of attributes that were found in types: 24 pages, which fill in any order."""
    if hasattr(sys, "_clear_type_cache"):
        sys._clear_type_cache()


def _share() -> Snapshot:
    _forget_types()
    code = executable(_CALLS + _COMPARE)
    call = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_long)(code)
    ranges = _writable_memory()
    total = sum(length for _, length in ranges)
    file = os.memfd_create("composer-heap", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(file, total)
        base = _map(file, total, _READ)
        table = array.array("q")
        offset = 0
        for address, length in ranges:
            table.extend((_NR_PWRITE64, file, address, length, offset, 0, 0, length))
            table.extend((_NR_MMAP, address, length, _READ_WRITE, _PRIVATE_FIXED, file, offset, address))
            offset += length
        snapshot = Snapshot(ranges, base, code + len(_CALLS))
        with EverySignalBlocked():
            left = call(table.buffer_info()[0], len(table) // 8)
        done = 2 * len(ranges) - left
        snapshot._ranges = ranges[: done // 2]
        fcntl.fcntl(
            file,
            fcntl.F_ADD_SEALS,
            fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE,
        )
        return snapshot
    finally:
        os.close(file)


def executable(code: bytes) -> int:
    """Address of memory that can be executed and not written, holding ``code``."""
    file = os.memfd_create("composer-code", os.MFD_CLOEXEC)
    try:
        os.write(file, code)
        return _map(file, PAGE, _READ | _EXECUTE)
    finally:
        os.close(file)


def anonymous(length: int, address: int, *, again: bool = False) -> None:
    """As much new memory, full of zeros, at ``address``; ``again``: in the place of what this process has there.
    Raises OSError."""
    place = _FIXED if again else _FIXED_NOREPLACE
    _map(-1, length, _READ_WRITE, _PRIVATE | _ANONYMOUS | place, address)


def map_file(file: int, address: int, length: int) -> None:
    """A private view of ``file`` in the place of what this process has at ``address``. Raises OSError."""
    _map(file, length, _READ_WRITE, _PRIVATE | _FIXED, address)


def _map(file: int, length: int, protection: int, kind: int = _PRIVATE, where: int | None = None) -> int:
    address = _libc.mmap(where, length, protection, kind, file, 0)
    if address in (None, ctypes.c_void_p(-1).value) or where not in (None, address):
        raise OSError(ctypes.get_errno(), "mmap")
    return int(address)


def _writable_memory() -> list[tuple[int, int]]:
    """Private writable mappings but for the stack, proc_pid_maps(5)."""
    found = []
    with open("/proc/self/maps") as file:
        for line in file:
            (
                span,
                rights,
                *_,
            ) = line.split(None, 3)
            name = line.split(None, 5)[5:] or [""]
            first, last = (int(text, 16) for text in span.split("-"))
            if rights == "rw-p" and not name[0].startswith("[stack") and last - first >= SMALLEST:
                found.append((first, last - first))
    return found
