"""The init of a container that asks for one: reaps what is orphaned, forwards signals, ends as its child ends.

It is PID 1 inside the container, so it cannot be this interpreter: it would show in ``ps``, cost megabytes, and stay
a piece of the host in there. It is 150 bytes of machine code in an ELF file made here, executed from a sealed memfd:
nothing to install in the image, nothing of the host. All set-up (identity, capabilities, seccomp, every signal blocked)
is done before it is executed, so that all it needs is three system calls in a loop::

    for (;;) {
        while ((pid = wait4(-1, &status, WNOHANG)) > 0)
            if (pid == child) exit_group(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
        while ((n = rt_sigtimedwait(all signals)) != SIGCHLD)
            if (n > 0) { kill(child, n); break; }
    }
"""

from __future__ import annotations

import fcntl
import os
import struct

from runtime.kernel import syscalls

# fmt: off
_X86_64 = bytes.fromhex(
    "4881ec00010000"        # _start: sub rsp,0x100
    "48c7c7ffffffff"        # reap:   mov rdi,0xffffffffffffffff
    "488d742410"            #         lea rsi,[rsp+0x10]
    "ba01000000"            #         mov edx,0x1
    "4531d2"                #         xor r10d,r10d
    "b83d000000"            #         mov eax,0x3d
    "0f05"                  #         syscall
    "85c0"                  #         test eax,eax
    "7e28"                  #         jle wait
    "3b0558000000"          #         cmp eax,[rip+pid]
    "75d9"                  #         jne reap
    "8b442410"              #         mov eax,[rsp+0x10]
    "89c7"                  #         mov edi,eax
    "83e77f"                #         and edi,0x7f
    "7408"                  #         je exited
    "81c780000000"          #         add edi,0x80
    "eb06"                  #         jmp quit
    "c1e808"                # exited: shr eax,0x8
    "0fb6f8"                #         movzx edi,al
    "b8e7000000"            # quit:   mov eax,0xe7
    "0f05"                  #         syscall
    "48c70424ffffffff"      # wait:   mov [rsp],0xffffffffffffffff
    "4889e7"                #         mov rdi,rsp
    "31f6"                  #         xor esi,esi
    "31d2"                  #         xor edx,edx
    "41ba08000000"          #         mov r10d,0x8
    "b880000000"            #         mov eax,0x80
    "0f05"                  #         syscall
    "83f811"                #         cmp eax,0x11
    "7498"                  #         je reap
    "85c0"                  #         test eax,eax
    "7edb"                  #         jle wait
    "8b3d0b000000"          #         mov edi,[rip+pid]
    "89c6"                  #         mov esi,eax
    "b83e000000"            #         mov eax,0x3e
    "0f05"                  #         syscall
    "eb83"                  #         jmp reap
)
_AARCH64 = bytes.fromhex(
    "ff0304d1"              # _start: sub sp, sp,
    "00008092"              # reap:   mov x0,
    "e1430091"              #         add x1, sp,
    "220080d2"              #         mov x2,
    "030080d2"              #         mov x3,
    "882080d2"              #         mov x8,
    "010000d4"              #         svc
    "1f000071"              #         cmp w0,
    "8d010054"              #         b.le wait
    "89030018"              #         ldr w9, pid
    "1f00096b"              #         cmp w0, w9
    "c1feff54"              #         b.ne reap
    "e11340b9"              #         ldr w1, [sp,
    "20180072"              #         ands w0, w1,
    "60000054"              #         b.eq exited
    "00000211"              #         add w0, w0,
    "02000014"              #         b quit
    "203c0853"              # exited: ubfx w0, w1,
    "c80b80d2"              # quit:   mov x8,
    "010000d4"              #         svc
    "09008092"              # wait:   mov x9,
    "e90300f9"              #         str x9, [sp]
    "e0030091"              #         mov x0, sp
    "010080d2"              #         mov x1,
    "020080d2"              #         mov x2,
    "030180d2"              #         mov x3,
    "281180d2"              #         mov x8,
    "010000d4"              #         svc
    "1f440071"              #         cmp w0,
    "80fcff54"              #         b.eq reap
    "1f000071"              #         cmp w0,
    "adfeff54"              #         b.le wait
    "e103002a"              #         mov w1, w0
    "80000018"              #         ldr w0, pid
    "281080d2"              #         mov x8,
    "010000d4"              #         svc
    "ddffff17"              #         b reap
)
# fmt: on
_CODE = {"x86_64": (62, _X86_64), "aarch64": (183, _AARCH64)}
"""ELF's number of the machine, code; the child's process id follows the code as 32 bits."""

_BASE = 0x400000
_HEADERS = 64 + 56
MFD_EXEC = 0x10
"""memfd_create(2), Linux 6.3: wanted where vm.memfd_noexec is set, unknown before."""


def elf_image(machine: str, child: int) -> bytes:
    """A complete static executable that is the init of process ``child``. elf(5)"""
    number, code = _CODE[machine]
    body = code + struct.pack("<I", child)
    size = _HEADERS + len(body)
    identification = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    readable_and_executable = 5
    segment = struct.pack("<IIQQQQQQ", 1, readable_and_executable, 0, _BASE, _BASE, size, size, 0x1000)
    return identification + header + segment + body


def make_memory() -> int:
    """An empty memfd to hold the init; made while the host's limits still hold."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        memory = os.memfd_create("composer-init", flags | MFD_EXEC)
    except OSError:
        memory = os.memfd_create("composer-init", flags)
    os.fchmod(memory, 0o555)
    return memory


def fill(memory: int, child: int) -> None:
    """Put the init of ``child`` into ``memory`` and seal it. Done as the container's user, who does not own it."""
    os.write(memory, elf_image(os.uname().machine, child))
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)


def prepare() -> None:
    """Orphans come to this process even where it is not the first one of its pid namespace."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
