"""System calls that Python's ``os`` lacks, as thin ctypes bindings: one function each, in alphabetical order.

Every failure is an :class:`OSError` whose text names the call and what it was about
(``mount /proc: Operation not permitted``). Paths are ``bytes``. Numbers come from
``asm/unistd_64.h`` (x86-64) and ``asm-generic/unistd.h`` (aarch64, and everything since Linux 5.1).

Only the standard library is used: this is loaded in the keeper and called in processes that have entered a
container's root, where nothing can be imported any more.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable

from runtime.kernel import kernel_limits

_libc = ctypes.CDLL(None, use_errno=True)
_MACHINE = os.uname().machine

# (x86-64, aarch64)
_NUMBERS = {
    "execveat": (322, 281),
    "fstatfs": (138, 44),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "close_range": (436, 436),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "openat2": (437, 437),
    "pidfd_send_signal": (424, 424),
}
_COLUMN = {"x86_64": 0, "aarch64": 1}.get(_MACHINE)


def _bind(name: str, *kinds: type) -> Callable[..., int]:
    """``name`` as a function of what it is about (bytes or text, for errors) and its arguments.

    It raises OSError naming the call and its subject. A machine whose numbers are not known has none of these calls.
    """
    number = -1 if _COLUMN is None else _NUMBERS[name][_COLUMN]
    function = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, *kinds, use_errno=True)(("syscall", _libc))

    def call(what: str | bytes, *arguments: object) -> int:
        result: int = function(number, *arguments)
        if result == -1:
            error = ctypes.get_errno()
            raise OSError(error, f"{name} {os.fsdecode(what)}: {os.strerror(error)}")
        return result

    return call


_INT, _BYTES, _POINTER = ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p
_close_range = _bind("close_range", _INT, _INT, _INT)
_execveat = _bind("execveat", _INT, _BYTES, _POINTER, _POINTER, _INT)
_fsconfig = _bind("fsconfig", _INT, _INT, _BYTES, _BYTES, _INT)
_fsmount = _bind("fsmount", _INT, _INT, _INT)
_fsopen = _bind("fsopen", _BYTES, _INT)
_fstatfs = _bind("fstatfs", _INT, _POINTER)
_keyctl = _bind("keyctl", _INT, _BYTES)
_mount = _bind("mount", _BYTES, _BYTES, _BYTES, _INT, _BYTES)
_mount_setattr = _bind("mount_setattr", _INT, _BYTES, _INT, _BYTES, _INT)
_move_mount = _bind("move_mount", _INT, _BYTES, _INT, _BYTES, _INT)
_open_tree = _bind("open_tree", _INT, _BYTES, _INT)
_openat2 = _bind("openat2", _INT, _BYTES, _BYTES, _INT)
_pidfd_send_signal = _bind("pidfd_send_signal", _INT, _INT, _POINTER, _INT)
_pivot_root = _bind("pivot_root", _BYTES, _BYTES)
_prctl = _bind("prctl", _INT, _POINTER, _INT, _INT, _INT)
_setdomainname = _bind("setdomainname", _BYTES, _INT)
_sethostname = _bind("sethostname", _BYTES, _INT)
_setns = _bind("setns", _INT, _INT)
_umount2 = _bind("umount2", _BYTES, _INT)
_unshare = _bind("unshare", _INT)

AT_EMPTY_PATH = 0x1000
AT_FDCWD = -100
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

# sched.h
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWNET = 0x40000000
CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWTIME = 0x00000080
CLONE_NEWUSER = 0x10000000
CLONE_NEWUTS = 0x04000000

# linux/mount.h
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MNT_DETACH = 2
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40

# linux/openat2.h
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

KEYCTL_JOIN_SESSION_KEYRING = 1
WITHOUT_KEYRINGS = (errno.ENOSYS, errno.EPERM, errno.EACCES)
"""What keyctl(2) says where there are none that could leak."""


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """Close every descriptor from ``first`` to ``last``, both included. close_range(2), Linux 5.9."""
    _close_range(f"{first}-{last}", first, last, 0)


def execveat(fd: int, argv: list[bytes], env: list[bytes]) -> None:
    """Execute the file behind ``fd`` (AT_EMPTY_PATH); returns only by raising. execveat(2)."""
    _execveat(f"fd {fd}", fd, b"", _vector(argv), _vector(env), AT_EMPTY_PATH)


def _vector(items: list[bytes]) -> ctypes.Array[ctypes.c_char]:
    vector = (ctypes.c_char_p * (len(items) + 1))(*items, None)
    return vector  # type: ignore[return-value]


def fsconfig(
    fd: int, command: int, key: bytes | None = None, value: bytes | None = None, aux: int = 0
) -> None:
    """Configure a filesystem context made by :func:`fsopen`. Linux 5.2."""
    _fsconfig(key or b"create", fd, command, key, value, aux)


def fsmount(fd: int, attributes: int = 0, what: str = "") -> int:
    """Make a detached mount of a configured context; returns a close-on-exec descriptor of its root."""
    try:
        return _fsmount(what, fd, FSMOUNT_CLOEXEC, attributes)
    except OSError as error:  # what is detached is in a mount namespace without a name
        raise kernel_limits.of_namespaces(error, CLONE_NEWNS) from None


def fsopen(kind: bytes) -> int:
    """Begin a new superblock of filesystem ``kind``; returns the context's descriptor."""
    return _fsopen(kind, kind, FSOPEN_CLOEXEC)


def filesystem_type(fd: int) -> int:
    """The magic number of the file system that ``fd`` is on, of linux/magic.h. fstatfs(2)"""
    found = ctypes.create_string_buffer(256)
    _fstatfs(f"fd {fd}", fd, ctypes.addressof(found))
    return int(struct.unpack_from("=Q", found)[0])


def join_session_keyring(name: bytes) -> None:
    """Give the process a session keyring of its own, so that none of the host's is reachable. keyctl(2)."""
    _keyctl(name, KEYCTL_JOIN_SESSION_KEYRING, name)


def mount(
    source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None
) -> None:
    """mount(2)."""
    _mount(target, source, target, kind, flags, data)


def mount_setattr(fd: int, path: bytes, flags: int, set_: int, clear: int, propagation: int = 0) -> None:
    """Change attributes of a mount, or with AT_RECURSIVE of a tree of them. mount_setattr(2), Linux 5.12."""
    attributes = struct.pack("QQQQ", set_, clear, propagation, 0)
    _mount_setattr(path or f"fd {fd}", fd, path, flags, attributes, 32)


def move_mount(from_fd: int, to_fd: int, what: str = "") -> None:
    """Attach the mount behind ``from_fd`` on the object behind ``to_fd``. move_mount(2), Linux 5.2."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    try:
        _move_mount(what, from_fd, b"", to_fd, b"", flags)
    except OSError as error:
        raise kernel_limits.of_mounts(error, f"mount {what}") from None


def open_tree(fd: int, path: bytes, flags: int) -> int:
    """Open a mount, or with OPEN_TREE_CLONE a detached copy of it; close-on-exec. open_tree(2), Linux 5.2."""
    try:
        return _open_tree(path or f"fd {fd}", fd, path, flags | OPEN_TREE_CLOEXEC)
    except OSError as error:  # as with fsmount
        raise kernel_limits.of_namespaces(error, CLONE_NEWNS) from None


def openat2(fd: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """Open ``path`` below ``fd`` under the rules of ``resolve``; close-on-exec. openat2(2), Linux 5.6.

    EAGAIN (a rename raced with the resolution of ``..``) is tried again, as the man page asks.
    """
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(64):
        try:
            return _openat2(path, fd, path, how, 24)
        except BlockingIOError:
            continue
    raise OSError(11, f"openat2 {os.fsdecode(path)}: the path keeps changing while it is resolved")


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """Signal the process behind ``pidfd``: never another one that got its number. Linux 5.1."""
    _pidfd_send_signal(f"signal {signal}", pidfd, signal, None, 0)


def pivot_root(new_root: bytes, put_old: bytes) -> None:
    """pivot_root(2)."""
    _pivot_root(new_root, new_root, put_old)


def prctl(option: int, argument: int | bytes = 0, third: int = 0, fourth: int = 0, fifth: int = 0) -> int:
    """prctl(2); the options used here are named above."""
    return _prctl(str(option), option, argument, third, fourth, fifth)


def setdomainname(name: bytes) -> None:
    """setdomainname(2): the NIS domain of the UTS namespace."""
    _setdomainname(name, name, len(name))


def sethostname(name: bytes) -> None:
    """sethostname(2): at most 64 bytes."""
    _sethostname(name, name, len(name))


def setns(fd: int, kinds: int) -> None:
    """Enter the namespaces ``kinds`` of what ``fd`` stands for: a namespace file or (Linux 5.8) a pidfd."""
    _setns(f"fd {fd} kinds {kinds:#x}", fd, kinds)


def umount2(target: bytes, flags: int) -> None:
    """umount2(2)."""
    _umount2(target, target, flags)


def unshare(kinds: int) -> None:
    """Leave the namespaces ``kinds`` for new ones; some of them may be left also when it fails. unshare(2)."""
    try:
        _unshare(f"{kinds:#x}", kinds)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        for kind in (1 << bit for bit in range(kinds.bit_length()) if kinds >> bit & 1):
            try:
                _unshare(f"{kind:#x}", kind)
            except OSError as one:
                raise kernel_limits.of_namespaces(one, kind) from None
        raise
