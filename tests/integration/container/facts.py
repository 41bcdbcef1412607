"""What a process finds out about its own confinement: run inside a container, prints one JSON object.

Standard library only, and no import of anything beside it: the text of this file is given to the container's own
interpreter. Arguments name the topics; see ``TOPICS``.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import socket
import stat
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)


def _read(path: str) -> str:
    """The content, or the name of the error."""
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20).decode(errors="replace")
    except OSError as problem:
        return errno.errorcode[problem.errno or 0]


def _attempt(action: Callable[[], object]) -> str:
    """ "ok", or the name of the error."""
    try:
        action()
    except OSError as problem:
        return errno.errorcode[problem.errno or 0]
    return "ok"


def status() -> dict[str, str]:
    """/proc/self/status"""
    pairs = (line.split(":", 1) for line in _read("/proc/self/status").splitlines())
    return {name: " ".join(value.split()) for name, value in pairs}


def limits() -> dict[str, list[str]]:
    """/proc/self/limits: soft and hard by name."""
    lines = _read("/proc/self/limits").splitlines()[1:]
    return {line[:26].strip(): line[26:68].split() for line in lines}


def mounts() -> dict[str, dict[str, str]]:
    """/proc/self/mountinfo by target; of mounts on one another the topmost."""
    result = {}
    for line in _read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        words, (kind, source, options) = before.split(), after.split(" ", 2)
        result[words[4]] = {
            "root": words[3], "flags": words[5], "propagation": " ".join(words[6:]), "kind": kind,
            "source": source, "options": options,
        }  # fmt: skip
    return result


def namespaces() -> dict[str, str]:
    """Kind to identity."""
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in os.listdir("/proc/self/ns")}


def descriptors() -> list[int]:
    """Those that were open when the interpreter began."""
    found = [int(name) for name in os.listdir("/proc/self/fd")]
    return sorted(fd for fd in found if _is_open(fd))


def _is_open(fd: int) -> bool:
    return _attempt(lambda: os.fstat(fd)) == "ok"


def environment() -> dict[str, str]:
    return dict(os.environ)


def calls() -> dict[str, str]:
    """System calls by number with arguments that no kernel would take: what the filter says comes before that."""
    return {name: _call(number) for name, number in json.loads(os.environ["CALLS"]).items()}


def _call(number: int) -> str:
    ctypes.set_errno(0)
    bad = ctypes.c_long(-1)
    if _libc.syscall(ctypes.c_long(number), bad, bad, bad, bad, bad, bad) >= 0:
        return "ok"
    return errno.errorcode[ctypes.get_errno()]


def by_interrupt() -> dict[str, str]:
    """The calls in INTERRUPT, numbered as on i386, by ``int 0x80`` from 64-bit code, with arguments of -1."""
    return {name: _interrupt(number) for name, number in json.loads(os.environ["INTERRUPT"]).items()}


def _interrupt(number: int) -> str:
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # push rbx; mov eax, number; mov ebx, -1; mov ecx, -1; mov edx, -1; int 0x80; pop rbx; ret
    memory.write(
        b"\x53\xb8" + number.to_bytes(4, "little") + b"\xbb\xff\xff\xff\xff\xb9\xff\xff\xff\xff"
        b"\xba\xff\xff\xff\xff\xcd\x80\x5b\xc3"
    )
    code = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    returned = int(code())
    return "ok" if returned >= 0 else errno.errorcode[-returned]


def sockets() -> dict[str, str]:
    """Families by name."""
    families = {"unix": (1, 1), "inet": (2, 1), "inet6": (10, 1), "netlink": (16, 3), "packet": (17, 3),
                "raw": (2, 3), "alg": (38, 5), "vsock": (40, 1)}  # fmt: skip
    return {name: _socket(*pair) for name, pair in families.items()}


def _socket(family: int, kind: int) -> str:
    return _attempt(lambda: socket.socket(family, kind, 1 if (family, kind) == (2, 3) else 0).close())


def writable() -> list[str]:
    """Files below /proc/sys, /sys and the cgroups that could be opened for writing."""
    result = []
    for base in ("/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/sys"):
        for directory, _, names in os.walk(base):
            for name in names:
                path = os.path.join(directory, name)
                if not os.path.islink(path) and os.access(path, os.W_OK) and _opens(path) == "ok":
                    result.append(path)
    return result


def _opens(path: str, flags: int = os.O_WRONLY) -> str:
    return _attempt(lambda: os.close(os.open(path, flags | os.O_NONBLOCK)))


def devices() -> dict[str, str]:
    """Nodes below /dev: kind, number, mode and owner; links: where they lead."""
    result = {}
    for directory, names, files in os.walk("/dev"):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            state = os.lstat(path)
            text = f"{stat.filemode(state.st_mode)} {state.st_uid}:{state.st_gid}"
            if stat.S_ISLNK(state.st_mode):
                text = f"-> {os.readlink(path)}"
            elif stat.S_ISCHR(state.st_mode) or stat.S_ISBLK(state.st_mode):
                text += f" {os.major(state.st_rdev)}:{os.minor(state.st_rdev)}"
            result[path] = text
    return result


def nodes() -> dict[str, str]:
    """Devices by ``kind major:minor`` in NODES: made, then opened for reading and writing."""
    result = {}
    for text in json.loads(os.environ["NODES"]):
        kind, _, number = text.partition(" ")
        major, minor = map(int, number.split(":"))
        path = f"/tmp/node-{kind}-{major}-{minor}"
        mode = (stat.S_IFCHR if kind == "c" else stat.S_IFBLK) | 0o600
        made = _attempt(partial(os.mknod, path, mode, os.makedev(major, minor)))
        result[text] = made if made != "ok" else _opens(path, os.O_RDWR)
    return result


def masked() -> dict[str, str]:
    """What is left of paths in MASKED: absent, empty file, empty directory, or what shows through."""
    result = {}
    for path in json.loads(os.environ["MASKED"]):
        if not os.path.lexists(path):
            result[path] = "absent"
        elif os.path.isdir(path):
            result[path] = "empty directory" if not os.listdir(path) else "SHOWS"
        else:
            result[path] = "empty file" if not _read(path) else "SHOWS"
    return result


def process() -> dict[str, Any]:
    """Session, directory, umask, scores."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "cwd": os.getcwd(),
        "umask": f"{umask:04o}",
        "oom_score_adj": _read("/proc/self/oom_score_adj").strip(),
        "groups": os.getgroups(),
        "ids": [*os.getresuid(), *os.getresgid()],
        "uid_map": _read("/proc/self/uid_map").split(),
        "hostname": os.uname().nodename,
    }


TOPICS: dict[str, Callable[[], Any]] = {
    function.__name__: function
    for function in (
        status, limits, mounts, namespaces, descriptors, environment, calls, by_interrupt, sockets, writable,
        devices, nodes, masked, process,
    )
}  # fmt: skip

if __name__ == "__main__":
    print(json.dumps({topic: TOPICS[topic]() for topic in sys.argv[1:]}))
