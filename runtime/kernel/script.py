"""A child process that makes a list of system calls and then executes a program, without an interpreter of its own.

A fork of an interpreter copies its page tables, then one by one the pages that both write to: milliseconds. What a
child does on its way into a container is a list of system calls that is known before; so it is written down here as a
table (:class:`Script`), and made by a few instructions of machine code. Of its parent's memory the child has the table
and these instructions (MADV_DONTFORK for all else), so nothing of it could be read out of the child either.

For x86-64; elsewhere :func:`runner` is None. clone(2), madvise(2), rseq(2). Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from runtime.kernel import page_sharing
from runtime.kernel.signal_mask import EverySignalBlocked

ROOM = 384 * 1024
"""Bytes of a table with what it points to."""
CALLS = 1536
"""Of a table, at most."""
BASE = 1 << 44
"""Where a table stands, in every process that runs one: who writes it need not be the one who runs it. Far from where
the kernel puts programs, heaps, libraries and stacks."""
_LAST = 1 << 47
"""Behind all that a process can map."""
FORMAT = 1
"""Of tables, between processes of different versions."""

# rdi is the first row: number, six arguments, where the result goes, where to go on after a result above 0 or an error
# that is passed over (1: return it), what to compare with what and for how many bytes, which errors are passed over
# (by bit), where to go on after any other. Addresses that are 0 mean none. No stack is used between the first call
# and the end: after a clone there are two processes here, and one of them has none.
_CODE = bytes.fromhex(
    "53"              #         push rbx
    "4889fb"          #         mov rbx,rdi
    "488b03"          # next:   mov rax,[rbx]
    "488b7b08"        #         mov rdi,[rbx+8]
    "488b7310"        #         mov rsi,[rbx+16]
    "488b5318"        #         mov rdx,[rbx+24]
    "4c8b5320"        #         mov r10,[rbx+32]
    "4c8b4328"        #         mov r8,[rbx+40]
    "4c8b4b30"        #         mov r9,[rbx+48]
    "0f05"            #         syscall
    "4885c0"          #         test rax,rax
    "7847"            #         js error
    "488b4b38"        #         mov rcx,[rbx+56]
    "4885c9"          #         test rcx,rcx
    "7403"            #         jz check
    "488901"          #         mov [rcx],rax
    "488b7b48"        # check:  mov rdi,[rbx+72]
    "4885ff"          #         test rdi,rdi
    "740c"            #         jz way
    "488b7350"        #         mov rsi,[rbx+80]
    "488b4b58"        #         mov rcx,[rbx+88]
    "f3a6"            #         repe cmpsb
    "751f"            #         jne other
    "4885c0"          # way:    test rax,rax
    "7414"            #         jz on
    "488b4b40"        # jump:   mov rcx,[rbx+64]
    "4885c9"          #         test rcx,rcx
    "740b"            #         jz on
    "4883f901"        #         cmp rcx,1
    "7441"            #         je back
    "4889cb"          #         mov rbx,rcx
    "eba4"            #         jmp next
    "4883c370"        # on:     add rbx,112
    "eb9e"            #         jmp next
    "48c7c0feffffff"  # other:  mov rax,-2
    "4889c2"          # error:  mov rdx,rax
    "48f7da"          #         neg rdx
    "4883fa40"        #         cmp rdx,64
    "730a"            #         jae failed
    "488b4b60"        #         mov rcx,[rbx+96]
    "480fa3d1"        #         bt rcx,rdx
    "72c9"            #         jc jump
    "488b4b68"        # failed: mov rcx,[rbx+104]
    "4885c9"          #         test rcx,rcx
    "7410"            #         jz back
    "488959f0"        #         mov [rcx-16],rbx
    "488951f8"        #         mov [rcx-8],rdx
    "4889cb"          #         mov rbx,rcx
    "e968ffffff"      #         jmp next
    "5b"              # back:   pop rbx
    "c3"              #         ret
)  # fmt: skip
_ROW = struct.Struct("=14q")
_UNUSED = (0,) * 6
NEWS = struct.Struct("=2Q")
"""What is written: 0 and a process id, or the address of the row that has failed and an error number."""
_CELL = 2 * NEWS.size
"""Before the rows is room for both."""
_FIRST = 4
"""The row with which a child begins; those before it are its last ones."""
_RETURN = 1
_DATA = _CELL + CALLS * _ROW.size

NUMBERS = {
    "write": 1, "rt_sigaction": 13, "rt_sigprocmask": 14, "ioctl": 16, "getpid": 39, "socket": 41, "sendto": 44,
    "recvfrom": 45, "sendmsg": 46, "bind": 49, "listen": 50, "setsockopt": 54, "clone": 56, "execve": 59,
    "getcwd": 79, "chdir": 80, "fchdir": 81, "fchown": 93, "umask": 95, "setsid": 112, "setgroups": 116,
    "setresuid": 117, "setresgid": 119, "capset": 126, "fstatfs": 138, "pivot_root": 155, "prctl": 157, "mount": 165,
    "umount2": 166, "sethostname": 170, "setdomainname": 171, "exit_group": 231, "keyctl": 250, "openat": 257,
    "mkdirat": 258, "mknodat": 259, "fchownat": 260, "fchmodat": 268, "newfstatat": 262, "symlinkat": 266,
    "unshare": 272, "dup3": 292, "prlimit64": 302, "setns": 308, "process_vm_readv": 310, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "clone3": 435, "close_range": 436,
    "openat2": 437, "mount_setattr": 442,
}  # fmt: skip
"""asm/unistd_64.h"""

STAT = 144
"""Bytes of ``struct stat``."""
AT_EMPTY_PATH = 0x1000
CLONE_PARENT = 0x00008000
CLONE_INTO_CGROUP = 0x200000000

_MADV_DONTFORK, _MADV_DOFORK = 10, 11
_libc = ctypes.CDLL(None, use_errno=True)
_madvise = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, use_errno=True)(
    ("madvise", _libc)
)


Argument = int | str
"""A number, or the name of a descriptor whose number is known when the script is run."""


class TooLong(Exception):
    """There is no room for what the script needs."""


class Table(NamedTuple):
    """A script that can be run, as often as one likes."""

    rows: bytes
    data: bytes
    blanks: tuple[tuple[int, str], ...]
    """Addresses of eight bytes that are the number of the descriptor with this name."""


class Script:
    """A table in the making; addresses are those at which it will stand (``base``)."""

    def __init__(self, base: int = BASE) -> None:
        self._base = base
        self._rows: list[tuple[Argument, ...]] = []
        self._data = bytearray()
        self._blanks: list[tuple[int, str]] = []
        self._texts: dict[str | bytes, int] = {}
        self._unread = 0
        self._on_failure = 0

    def address_of(self, row: int, argument: int = -1) -> int:
        """Of a row, or of one of its arguments (counted from 0)."""
        return self._base + _CELL + row * _ROW.size + 8 * (argument + 1)

    @property
    def next(self) -> int:
        """The row that the next call gets."""
        return len(self._rows)

    @property
    def size(self) -> int:
        """Bytes of the data; the next that is kept begins there."""
        return len(self._data)

    def keep(self, data: bytes) -> int:
        """The address of a copy, aligned to eight bytes."""
        offset = len(self._data)
        self._data += data + bytes(-len(data) % 8)
        return self._base + _DATA + offset

    def text(self, text: str | bytes) -> int:
        """The address of a string; of the same one for equal ones. Raises OSError for one of which the kernel would
        read the beginning only."""
        if (known := self._texts.get(text)) is None:
            encoded = os.fsencode(text)
            if b"\0" in encoded:
                raise OSError(errno.EINVAL, "embedded null byte")
            known = self._texts[text] = self.keep(encoded + b"\0")
        return known

    def vector(self, items: Iterable[str | bytes]) -> int:
        """An array of strings, as execve(2) takes it."""
        addresses = [self.text(item) for item in items]
        return self.keep(struct.pack(f"={len(addresses) + 1}Q", *addresses, 0))

    def begin(self, news: Argument, at: int, *, cgroup: Argument = "") -> None:
        """First of all: a process begins, in the cgroup (v2) behind the descriptor when there is one. Its descriptor
        ``at`` becomes what ``news`` is in this process; which of its calls fails is written there as :data:`NEWS`, then
        it ends."""
        for place, status in ((self._base + NEWS.size, 125), (self._base, 0)):
            self._row("write", (at, place, NEWS.size), passing=-1)
            self._row("exit_group", (status,))
        if cgroup:
            arguments = struct.pack("=11Q", CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
            if isinstance(cgroup, int):
                arguments = arguments[:-8] + struct.pack("=Q", cgroup)
            where = self.keep(arguments)
            if isinstance(cgroup, str):
                self._blanks.append((where + len(arguments) - 8, cgroup))
            self.call("clone3", where, len(arguments), jump=_RETURN)
        else:
            self.call("clone", signal.SIGCHLD, jump=_RETURN)
        self._on_failure = self.address_of(1)  # there is nothing yet to tell it through
        self.call("dup3", news, at, os.O_CLOEXEC)
        self._on_failure = self.address_of(0)

    def copy(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Four bytes each, to and from an address (of data, or of a row's argument), in a process that is the first
        one of its pid namespace. process_vm_readv(2)"""
        pairs = list(pairs)
        local = self.keep(b"".join(struct.pack("=2Q", to, 4) for to, _ in pairs))
        remote = self.keep(b"".join(struct.pack("=2Q", of, 4) for _, of in pairs))
        init = 1
        self.call("process_vm_readv", init, local, len(pairs), remote, len(pairs), 0)

    def hand_over(self) -> None:
        """A child goes on, as one of this process's parent; this one tells its number, and ends."""
        self.call("clone", CLONE_PARENT, store=self._base + 8, jump=self.address_of(2))

    def call(
        self,
        name: str,
        *arguments: Argument,
        passing: Iterable[int] = (),
        store: int = 0,
        jump: int = 0,
        compare: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        """One more call. ``passing``: error numbers below 64 that do not matter. ``store``: where its result goes.
        ``jump``: the row's address to go on with after a result above 0 or an error of ``passing``. ``compare``: after
        a success (found, expected, bytes) have to be the same, or it has failed with ENOENT."""
        bits = 0
        for number in passing:
            bits |= 1 << number
        if bits >> 63:
            bits -= 1 << 64  # as it stands in a row
        self._row(name, arguments, bits, store, jump, compare)

    def jump(self) -> int:
        """A row that jumps; to be aimed."""
        self.call("getpid")
        return self.next - 1

    def jump_unless_open(self, fd: int) -> int:
        """A row that jumps where nothing is open as ``fd``; to be aimed."""
        self._unread = self._unread or self.keep(bytes(STAT))
        self.call("newfstatat", fd, self.text(""), self._unread, AT_EMPTY_PATH, passing=(errno.EBADF,))
        return self.next - 1

    def aim(self, *rows: int) -> None:
        """Have the jumps of ``rows`` go to the row that is next."""
        for row in rows:
            self._rows[row] = (*self._rows[row][:8], self.address_of(self.next), *self._rows[row][9:])

    def _row(
        self,
        name: str,
        arguments: tuple[Argument, ...],
        passing: int = 0,
        store: int = 0,
        jump: int = 0,
        compare: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        for index, argument in enumerate(arguments):
            if isinstance(argument, str):
                self._blanks.append((self.address_of(len(self._rows), index), argument))
                arguments = (*arguments[:index], 0, *arguments[index + 1 :])
        rest = _UNUSED[len(arguments) :]
        self._rows.append(
            (NUMBERS[name], *arguments, *rest, store, jump, *compare, passing, self._on_failure)
        )

    def finished(self) -> Table:
        """Raises TooLong."""
        if len(self._rows) > CALLS or _DATA + len(self._data) > ROOM:
            raise TooLong
        rows = bytes(_CELL) + b"".join([_ROW.pack(*row) for row in self._rows])
        return Table(rows, bytes(self._data), tuple(self._blanks))


def memory_file(table: Table) -> int:
    """A descriptor of a file in memory with ``table`` as it will stand, for :meth:`Runner.run_file`. Raises OSError."""
    file = os.memfd_create("composer-table", os.MFD_CLOEXEC)
    try:
        os.ftruncate(file, ROOM)
        os.pwrite(file, table.rows, 0)
        os.pwrite(file, table.data, _DATA)
    except BaseException:
        os.close(file)
        raise
    return file


class Runner:
    """Runs scripts; of this process, which has one thread. Until :meth:`show` is called, what it forks in another way
    has no memory."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._code = page_sharing.executable(_CODE)
        self._run = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(self._code)
        page_sharing.anonymous(ROOM, BASE)
        self._is_hidden = False
        kept = [(self._code, page_sharing.PAGE), (BASE, ROOM), *_restartable_sequences(), *_of_the_kernel()]
        self._others = _without(page_sharing.PAGE, _LAST, kept)
        """(address, bytes) of all that a child does without, whatever is mapped there by then."""

    def run(self, table: Table, descriptors: Mapping[str, int]) -> int:
        """The process id of a new child, which begins as :meth:`Script.begin` says. Raises OSError."""
        self._hide()
        ctypes.memmove(BASE, table.rows, len(table.rows))
        ctypes.memmove(BASE + _DATA, table.data, len(table.data))
        for address, name in table.blanks:
            ctypes.c_uint64.from_address(address).value = descriptors[name]
        return self._begin()

    def run_file(self, file: int) -> int:
        """As :meth:`run`, with the table of a :func:`memory_file`, in which no descriptor is left to be named. Of its
        content this process keeps nothing."""
        page_sharing.map_file(file, BASE, ROOM)
        try:
            self._hide()
            return self._begin()
        finally:
            page_sharing.anonymous(ROOM, BASE, again=True)

    def _begin(self) -> int:
        # Its handlers would be called in a child that does not have them.
        with EverySignalBlocked():
            result: int = self._run(BASE + _CELL + _FIRST * _ROW.size)
        if result < 0:
            raise OSError(-result, f"clone: {os.strerror(-result)}")
        return result

    def show(self) -> None:
        """Have os.fork copy everything again."""
        self._advise(_MADV_DOFORK)

    def _hide(self) -> None:
        self._advise(_MADV_DONTFORK)

    def _advise(self, advice: int) -> None:
        if self._is_hidden == (advice == _MADV_DONTFORK):
            return
        self._is_hidden = not self._is_hidden
        for start, length in self._others:
            _madvise(start, length, advice)  # ENOMEM says that there are holes


def runner() -> Runner | None:
    """None where this cannot be: another machine, or one that lets nobody make code."""
    if os.uname().machine != "x86_64":
        return None
    try:
        return Runner()
    except OSError:
        return None


def _of_the_kernel() -> list[tuple[int, int]]:
    """Its own mappings, which are not for madvise(2): vdso(7)."""
    found = []
    with open("/proc/self/maps") as file:
        for line in file:
            span, _, _, _, _, *name = line.split(None, 5)
            if name and name[0].startswith("[v"):
                first, last = (int(text, 16) for text in span.split("-"))
                found.append((first, last - first))
    return found


def _restartable_sequences() -> list[tuple[int, int]]:
    """The page or two that the kernel writes to whenever it moves this thread, or its child, to another processor."""
    try:
        offset = ctypes.c_ssize_t.in_dll(_libc, "__rseq_offset").value
    except ValueError:
        return []  # a C library without
    itself = ctypes.CFUNCTYPE(ctypes.c_size_t)(("pthread_self", _libc))
    first = (itself() + offset) & -page_sharing.PAGE
    return [(first, 2 * page_sharing.PAGE)]


def _without(first: int, last: int, kept: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts (address, bytes) between two addresses that are outside of all of ``kept``."""
    parts = []
    for start, length in sorted(kept):
        if start < last and start + length > first:
            if start > first:
                parts.append((first, start - first))
            first = max(first, start + length)
    if first < last:
        parts.append((first, last - first))
    return parts
