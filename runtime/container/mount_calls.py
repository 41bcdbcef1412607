"""Mounting as system calls of a script (``runtime.kernel.script``): what ``runtime.kernel.mounts`` does, for a process
that makes nothing but these calls.

Descriptors: the standard streams, the channel, from :data:`FREE` on what one operation needs (the lowest free number is
known, for each closes all of its own), and those that all operations share.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable

from runtime.container import process, scripting
from runtime.kernel import mounts, syscalls
from runtime.kernel.script import STAT, Script
from runtime.network.sandbox_script import NotWritable

FREE = process.CHANNEL + 1
HOST, NETNS, ROOT, PROC, DEV, WORK, EMPTY, NULL = range(200, 208)
LAST_FREE = HOST - 1
TREE_FLAGS = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC
_TO_EMPTY = syscalls.MOVE_MOUNT_F_EMPTY_PATH | syscalls.MOVE_MOUNT_T_EMPTY_PATH
_MISSING = (errno.ENOENT, errno.ENOTDIR)


class MountCalls:
    """Adds calls to ``text``. Paths are below the descriptor :data:`ROOT`, as a process rooted there sees them."""

    def __init__(self, text: Script) -> None:
        self.text = text
        self.call = text.call
        self.nothing = text.text("")
        self._hows: dict[tuple[int, int], int] = {}
        self._attributes: dict[tuple[int, int], int] = {}
        self._found = text.keep(bytes(STAT))
        self._proc = text.keep(struct.pack("=Q", mounts.PROC_SUPER_MAGIC))
        self._shared: set[int] = set()

    def close(self) -> None:
        """What an operation has opened."""
        self.call("close_range", FREE, LAST_FREE, 0)

    def share(self, fd: int, shared: int) -> None:
        self.call("dup3", fd, shared, os.O_CLOEXEC)
        self._shared.add(shared)

    def is_shared(self, shared: int) -> bool:
        return shared in self._shared

    def need(self, shared: int) -> None:
        if shared not in self._shared:
            raise NotWritable

    def open(self, path: str, flags: int, resolve: int = mounts.IN_ROOT, *, root: int = ROOT) -> None:
        """``path`` below ``root``, as a process that is rooted there sees it."""
        self.openat2(root, path.lstrip("/") or ".", flags, resolve)

    def openat2(
        self, directory: int, path: str, flags: int, resolve: int, passing: Iterable[int] = ()
    ) -> None:
        if (how := self._hows.get((flags, resolve))) is None:
            how = self.text.keep(struct.pack("=3Q", flags | os.O_CLOEXEC, 0, resolve))
            self._hows[flags, resolve] = how
        self.call("openat2", directory, self.text.text(path), how, 24, passing=passing)

    def open_if_there(self, path: str, fd: int, flags: int = os.O_PATH) -> int:
        """The row that jumps where ``path``, which would be ``fd``, is not there; to be aimed."""
        self.openat2(ROOT, path.lstrip("/") or ".", flags, mounts.IN_ROOT, _MISSING)
        return self.text.jump_unless_open(fd)

    def jump_if(self, fd: int, kind: bytes) -> int:
        """The row that jumps where ``fd`` is of the kind; to be aimed."""
        compare = (self._found + scripting.KIND, self.text.keep(kind), 1)
        where = (fd, self.nothing, self._found, syscalls.AT_EMPTY_PATH)
        self.call("newfstatat", *where, passing=(errno.ENOENT,), compare=compare)
        is_other = self.text.next - 1
        jump = self.text.jump()
        self.text.aim(is_other)
        return jump

    def set(self, mount: int, attributes: int, propagation: int = 0, *, recursive: bool = False) -> None:
        key = (attributes, propagation)
        if (where := self._attributes.get(key)) is None:
            where = self.text.keep(struct.pack("=4Q", attributes, 0, propagation, 0))
            self._attributes[key] = where
        flags = syscalls.AT_EMPTY_PATH | (syscalls.AT_RECURSIVE if recursive else 0)
        self.call("mount_setattr", mount, self.nothing, flags, where, 32)

    def move(self, mount: int, where: int) -> None:
        self.call("move_mount", mount, self.nothing, where, self.nothing, _TO_EMPTY)

    def clone(self, fd: int, *, recursive: bool = False) -> None:
        flags = TREE_FLAGS | syscalls.AT_EMPTY_PATH | (syscalls.AT_RECURSIVE if recursive else 0)
        self.call("open_tree", fd, self.nothing, flags)

    def new_filesystem(
        self, kind: str, options: Iterable[tuple[str, str | None]], attributes: int, source: str = ""
    ) -> int:
        """The descriptor of a mount, with nothing but this operation's open before."""
        text = self.text.text
        context = FREE
        self.call("fsopen", text(kind), syscalls.FSOPEN_CLOEXEC)
        for key, value in (("source", source or kind), *options):
            command = syscalls.FSCONFIG_SET_FLAG if value is None else syscalls.FSCONFIG_SET_STRING
            self.call("fsconfig", context, command, text(key), 0 if value is None else text(value), 0)
        self.call("fsconfig", context, syscalls.FSCONFIG_CMD_CREATE, 0, 0, 0)
        self.call("fsmount", context, syscalls.FSMOUNT_CLOEXEC, attributes)
        return context + 1

    def open_directory(self, target: str, where: int, mode: int = 0o755) -> None:
        """As ``where``, the lowest free descriptor; made when it is missing."""
        is_missing = self.open_if_there(target, where, os.O_PATH | os.O_DIRECTORY)
        is_there = self.text.jump()
        self.text.aim(is_missing)
        self.make_directories(target, where)
        self.open(target, os.O_PATH | os.O_DIRECTORY)
        if mode != 0o755:
            self.call("fchmodat", syscalls.AT_FDCWD, self.text.text(f"/proc/self/fd/{where}"), mode)
        self.text.aim(is_there)

    def open_file(self, target: str, where: int) -> None:
        """As :meth:`open_directory`."""
        above, _, name = target.rpartition("/")
        if name in ("", ".", ".."):
            raise NotWritable
        is_missing = self.open_if_there(target, where)
        is_there = self.text.jump()
        self.text.aim(is_missing)
        self.make_directories(above, where)
        self.open(above, os.O_PATH | os.O_DIRECTORY)
        made = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.call("openat", where, self.text.text(name), made, 0o755)
        self.openat2(where, name, os.O_PATH | os.O_NOFOLLOW, mounts.IN_ROOT)
        self.call("dup3", where + 2, where, os.O_CLOEXEC)
        self.text.aim(is_there)

    def refuse_proc(self, fd: int) -> None:
        """Fails where ``fd`` is inside of a procfs; see ``mounts.refuse_proc``."""
        is_proc = (self._found, self._proc, 8)
        self.call("fstatfs", fd, self._found, passing=(errno.ENOENT,), compare=is_proc)
        row = self.text.next - 1
        scripting.fail(self.text)
        self.text.aim(row)

    def make_directories(self, path: str, free: int) -> None:
        """A link to nowhere is none."""
        parts = [part for part in path.split("/") if part]
        if "." in parts or ".." in parts:
            raise NotWritable
        for depth, part in enumerate(parts):
            self.open("/".join(parts[:depth]), os.O_PATH | os.O_DIRECTORY)
            self.call("mkdirat", free, self.text.text(part), 0o755, passing=(errno.EEXIST,))
            self.call("close_range", free, LAST_FREE, 0)

    def copy_mode(self, of: int, to: int) -> None:
        """The permission bits of a directory: found out in one row, and put into another one's arguments."""
        text = self.text
        self.call("newfstatat", of, self.nothing, self._found, syscalls.AT_EMPTY_PATH)
        changing = text.next + 1
        text.copy([(text.address_of(changing, 2), self._found + scripting.MODE)])
        self.call("fchmodat", syscalls.AT_FDCWD, text.text(f"/proc/self/fd/{to}"), 0)
