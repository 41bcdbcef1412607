"""A container's first process as a list of system calls (``runtime.kernel.script``): what ``runtime.container.launch``
and ``runtime.container.rootfs`` do in a fork of the shim, written down by the core before there is one.

For containers with namespaces of their own, without a terminal and without an init, and for the operations that
nothing has to be looked at for. What cannot be written down, and whatever fails, is done the other way, which can say
why. Each step's order and reasons are those of the functions of the same name there.

Descriptors: the standard streams, the channel, from :data:`_FREE` on what one operation needs (the lowest free number
is known, for each closes all of its own), and those that all operations share.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import struct
from collections.abc import Iterable
from typing import Any

import msgspec

from runtime.container import operations, process, scripting
from runtime.container.rootfs import EMPTY_DIRECTORY
from runtime.container.scripting import Given, Seen
from runtime.container.wire import LaunchSpec
from runtime.kernel import mounts, script, syscalls, sysctls
from runtime.kernel.script import Script
from runtime.kernel.users import Identity
from runtime.network.sandbox_script import Keep, Network, NotWritable

CHANNEL, STDIN, STDOUT, STDERR, CGROUP = range(100, 105)
"""What the shim has put there before: where news go, the container's ends of its streams, its cgroup (v2)."""
REACHED = 1
"""News before the program is executed: 0 and this."""
_FREE = process.CHANNEL + 1
_HOST, NETNS, _ROOT, _PROC, _DEV, _WORK, _EMPTY, _NULL = range(200, 208)
_LAST_FREE = _HOST - 1
_MOST_LAYERS = 128
_EVERYTHING = 0xFFFFFFFF
_TREE_FLAGS = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC
_TO_EMPTY = syscalls.MOVE_MOUNT_F_EMPTY_PATH | syscalls.MOVE_MOUNT_T_EMPTY_PATH
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_MISSING = (errno.ENOENT, errno.ENOTDIR)


def is_writable(spec: LaunchSpec) -> bool:
    """Whether all that is not about the root can be written down, and the network is what it is said to be."""
    wanted, program = spec.namespaces, spec.process
    is_own = wanted.pid == "new" and not any(
        isinstance(kind, int) for kind in (wanted.net, wanted.ipc, wanted.uts, wanted.cgroup)
    )
    is_planned = (wanted.net == "new") == (spec.sandbox["mode"] in ("bridge", "none"))
    return is_own and is_planned and not (program.tty or program.tools or spec.init)


def write(
    spec: LaunchSpec, identity: Identity, seen: Seen, network: Network
) -> tuple[script.Table, list[int]]:
    """And where in its data the pieces of ``network`` are. ``identity`` is who the process will be, by files that were
    ``seen`` so (``runtime.container.layer_users``). Raises NotWritable, TooLong."""
    if not is_writable(spec):
        raise NotWritable
    return _Launch(spec, identity, seen, network).table()


class _Launch:
    def __init__(self, spec: LaunchSpec, identity: Identity, seen: Seen, network: Network) -> None:
        self._spec = spec
        self._network = network
        self._identity = identity
        self._seen = seen
        self._text = Script()
        self._call = self._text.call
        self._nothing = self._text.text("")
        self._hows: dict[tuple[int, int], int] = {}
        self._attributes: dict[tuple[int, int], int] = {}
        self._found = self._text.keep(bytes(scripting.STAT))
        self._made: set[int] = set()
        """Which of the shared descriptors there are."""
        self._ends_read_only = False

    def table(self) -> tuple[script.Table, list[int]]:
        spec, text, call = self._spec, self._text, self._call
        program: dict[str, Any] = msgspec.to_builtins(spec.process)
        is_owned = self._identity.uid != 0
        streams = [
            Given(spec.stdin_open, spec.stdin_open and is_owned),
            Given(True, is_owned),
            Given(True, is_owned),
        ]
        is_v2 = spec.cgroup["version"] == 2
        text.begin(CHANNEL, process.CHANNEL, cgroup=CGROUP if is_v2 else "")
        call("prctl", syscalls.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        call("setsid")
        call("umask", 0o022)
        for number, given in enumerate(streams):
            if given.is_there:
                call("dup3", STDIN + number, number, 0)
        path = text.text("/dev/null")
        scripting.open_null(text, streams, "openat", syscalls.AT_FDCWD, path, os.O_RDWR | os.O_CLOEXEC)
        call("close_range", _FREE, _EVERYTHING, 0)
        tasks = [] if is_v2 else [f"{directory}/tasks" for directory in spec.cgroup["directories"]]
        scripting.enter_cgroups(text, program["confinement"], tasks)
        self._close()
        self._make_proc()
        keep = Keep(text)
        self._network.write(text, _PROC, process.CHANNEL, _FREE, _HOST, keep)
        self._unshare()
        for operation in spec.operations:
            self._execute(operation)
        scripting.join_keyring(text, spec.id)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        self._need(_DEV)
        scripting.open_null(text, streams, "openat", _DEV, text.text("null"), flags)
        self._enter(program["cwd"])
        scripting.become(text, program, self._identity, self._seen, streams)
        scripting.confine(text, program, self._identity)
        # Again: the change of credentials has cleared it. Who is left alone has nobody to tell that it is here.
        call("prctl", syscalls.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        call("write", process.CHANNEL, text.keep(script.NEWS.pack(0, REACHED)), script.NEWS.size)
        scripting.execute(text, program, self._identity)
        return text.finished(), keep.offsets

    # What all operations are made of

    def _close(self) -> None:
        """What an operation has opened."""
        self._call("close_range", _FREE, _LAST_FREE, 0)

    def _share(self, fd: int, shared: int) -> None:
        self._call("dup3", fd, shared, os.O_CLOEXEC)
        self._made.add(shared)

    def _need(self, shared: int) -> None:
        if shared not in self._made:
            raise NotWritable

    def _open(self, path: str, flags: int, resolve: int = mounts.IN_ROOT, *, root: int = _ROOT) -> None:
        """``path`` below ``root``, as a process that is rooted there sees it."""
        self._openat2(root, path.lstrip("/") or ".", flags, resolve)

    def _openat2(
        self, directory: int, path: str, flags: int, resolve: int, passing: Iterable[int] = ()
    ) -> None:
        if (how := self._hows.get((flags, resolve))) is None:
            how = self._text.keep(struct.pack("=3Q", flags | os.O_CLOEXEC, 0, resolve))
            self._hows[flags, resolve] = how
        self._call("openat2", directory, self._text.text(path), how, 24, passing=passing)

    def _open_if_there(self, path: str, fd: int, flags: int = os.O_PATH) -> int:
        """The row that jumps where ``path``, which would be ``fd``, is not there; to be aimed."""
        self._openat2(_ROOT, path.lstrip("/") or ".", flags, mounts.IN_ROOT, _MISSING)
        return self._jump_unless_open(fd)

    def _jump_unless_open(self, fd: int) -> int:
        self._call(
            "newfstatat", fd, self._nothing, self._found, syscalls.AT_EMPTY_PATH, passing=(errno.EBADF,)
        )
        return self._text.next - 1

    def _jump_if(self, fd: int, kind: bytes) -> int:
        """The row that jumps where ``fd`` is of the kind; to be aimed."""
        compare = (self._found + scripting.KIND, self._text.keep(kind), 1)
        where = (fd, self._nothing, self._found, syscalls.AT_EMPTY_PATH)
        self._call("newfstatat", *where, passing=(errno.ENOENT,), compare=compare)
        is_other = self._text.next - 1
        jump = self._jump()
        self._text.aim(is_other)
        return jump

    def _jump(self) -> int:
        self._call("getpid")
        return self._text.next - 1

    def _set(self, mount: int, attributes: int, propagation: int = 0, *, recursive: bool = False) -> None:
        key = (attributes, propagation)
        if (where := self._attributes.get(key)) is None:
            where = self._text.keep(struct.pack("=4Q", attributes, 0, propagation, 0))
            self._attributes[key] = where
        flags = syscalls.AT_EMPTY_PATH | (syscalls.AT_RECURSIVE if recursive else 0)
        self._call("mount_setattr", mount, self._nothing, flags, where, 32)

    def _move(self, mount: int, where: int) -> None:
        self._call("move_mount", mount, self._nothing, where, self._nothing, _TO_EMPTY)

    def _clone(self, fd: int, *, recursive: bool = False) -> None:
        flags = _TREE_FLAGS | syscalls.AT_EMPTY_PATH | (syscalls.AT_RECURSIVE if recursive else 0)
        self._call("open_tree", fd, self._nothing, flags)

    def _new_filesystem(
        self, kind: str, options: Iterable[tuple[str, str | None]], attributes: int, source: str = ""
    ) -> int:
        """The descriptor of a mount, with nothing but this operation's open before."""
        text = self._text.text
        context = _FREE
        self._call("fsopen", text(kind), syscalls.FSOPEN_CLOEXEC)
        for key, value in (("source", source or kind), *options):
            command = syscalls.FSCONFIG_SET_FLAG if value is None else syscalls.FSCONFIG_SET_STRING
            self._call("fsconfig", context, command, text(key), 0 if value is None else text(value), 0)
        self._call("fsconfig", context, syscalls.FSCONFIG_CMD_CREATE, 0, 0, 0)
        self._call("fsmount", context, syscalls.FSMOUNT_CLOEXEC, attributes)
        return context + 1

    # Namespaces and root

    def _make_proc(self) -> None:
        for operation in self._spec.operations:
            if isinstance(operation, operations.Filesystem) and operation.kind == "proc":
                flags = mounts.attribute_flags(operation.attributes)
                self._share(self._new_filesystem("proc", operation.options, flags), _PROC)
                self._close()
                return
        raise NotWritable

    def _unshare(self) -> None:
        flags = syscalls.CLONE_NEWNS
        wanted = self._spec.namespaces
        if wanted.ipc == "new":
            flags |= syscalls.CLONE_NEWIPC
        if wanted.uts == "new":
            flags |= syscalls.CLONE_NEWUTS
        if wanted.cgroup == "new":
            flags |= syscalls.CLONE_NEWCGROUP
        self._call("unshare", flags)

    def _enter(self, working_directory: str) -> None:
        here = self._text.text(".")
        self._call("fchdir", _ROOT)
        self._call("pivot_root", here, here)
        self._call("umount2", here, syscalls.MNT_DETACH)
        self._call("chdir", self._text.text("/"))
        self._open(working_directory, os.O_PATH | os.O_DIRECTORY)
        self._close()
        if self._ends_read_only:
            self._set(_ROOT, syscalls.MOUNT_ATTR_RDONLY)

    # Operations

    def _execute(self, operation: operations.AnyOperation) -> None:
        match operation:
            case operations.Overlay():
                self._overlay(operation)
            case operations.Filesystem():
                self._filesystem(operation)
            case operations.Devices():
                self._devices(operation)
            case operations.Bind():
                self._bind(operation)
            case operations.Links():
                self._links(operation)
            case operations.Hostname():
                self._hostname(operation)
            case operations.Sysctls() if not operation.optional:
                self._sysctls(operation)
            case operations.ReadOnly():
                self._read_only(operation)
            case operations.Mask():
                self._mask(operation)
            case operations.ReadOnlyRoot():
                self._ends_read_only = True
            case operations.Network():
                pass
            case _:
                raise NotWritable

    def _overlay(self, operation: operations.Overlay) -> None:
        """The directories are there: the shim has made them."""
        text = self._text.text
        paths = (*operation.layers, operation.base, operation.upper, operation.work)
        if operation.peers or len(paths) > _MOST_LAYERS:
            raise NotWritable
        self._call("mount", 0, text("/"), 0, syscalls.MS_SLAVE | syscalls.MS_REC, 0)
        for path in paths:
            self._call("openat", syscalls.AT_FDCWD, text(path), _DIRECTORY)
        *layers, upper, work = range(_FREE, _FREE + len(paths))
        options = mounts.overlay_options(layers, upper, work, is_volatile=operation.is_volatile)
        self._share(work, _WORK)
        self._call("chdir", text("/proc/self/fd"))
        self._call("mount", text("overlay"), text(self._spec.state_dir), text("overlay"), 0, text(options))
        self._call("chdir", text("/"))
        self._close()
        self._call("openat", syscalls.AT_FDCWD, text(self._spec.state_dir), _DIRECTORY)
        self._share(_FREE, _ROOT)
        self._close()

    def _filesystem(self, operation: operations.Filesystem) -> None:
        if operation.propagation:
            raise NotWritable
        resolve = mounts.IN_ROOT | (0 if operation.follow else syscalls.RESOLVE_NO_SYMLINKS)
        mount, where = _PROC, _FREE
        if operation.kind != "proc":
            flags = mounts.attribute_flags(operation.attributes)
            source = "shm" if operation.target == "/dev/shm" else ""
            mount = self._new_filesystem(operation.kind, operation.options, flags, source)
            where = mount + 1
        if operation.kind == "tmpfs" and not operation.inherit_mode:
            self._open_directory(operation.target, where)
        else:
            self._open(operation.target, os.O_PATH | os.O_DIRECTORY, resolve)
        if operation.inherit_mode:
            self._copy_mode(where, mount)
        self._move(mount, where)
        self._close()

    def _open_directory(self, target: str, where: int) -> None:
        """As ``where``, the lowest free descriptor; made when it is missing."""
        is_missing = self._open_if_there(target, where, os.O_PATH | os.O_DIRECTORY)
        is_there = self._jump()
        self._text.aim(is_missing)
        self._make_directories(target, where)
        self._open(target, os.O_PATH | os.O_DIRECTORY)
        self._text.aim(is_there)

    def _open_file(self, target: str, where: int) -> None:
        """As :meth:`_open_directory`."""
        above, _, name = target.rpartition("/")
        if name in ("", ".", ".."):
            raise NotWritable
        is_missing = self._open_if_there(target, where)
        is_there = self._jump()
        self._text.aim(is_missing)
        self._make_directories(above, where)
        self._open(above, os.O_PATH | os.O_DIRECTORY)
        made = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._call("openat", where, self._text.text(name), made, 0o755)
        self._openat2(where, name, os.O_PATH | os.O_NOFOLLOW, mounts.IN_ROOT)
        self._call("dup3", where + 2, where, os.O_CLOEXEC)
        self._text.aim(is_there)

    def _make_directories(self, path: str, free: int) -> None:
        """A link to nowhere is none."""
        parts = [part for part in path.split("/") if part]
        if "." in parts or ".." in parts:
            raise NotWritable
        for depth, part in enumerate(parts):
            self._open("/".join(parts[:depth]), os.O_PATH | os.O_DIRECTORY)
            self._call("mkdirat", free, self._text.text(part), 0o755, passing=(errno.EEXIST,))
            self._call("close_range", free, _LAST_FREE, 0)

    def _copy_mode(self, of: int, to: int) -> None:
        """The permission bits of a directory: found out in one row, and put into another one's arguments."""
        text = self._text
        self._call("newfstatat", of, self._nothing, self._found, syscalls.AT_EMPTY_PATH)
        changing = text.next + 1
        text.copy([(text.address_of(changing, 2), self._found + scripting.MODE)])
        self._call("fchmodat", syscalls.AT_FDCWD, text.text(f"/proc/self/fd/{to}"), 0)

    def _devices(self, operation: operations.Devices) -> None:
        text, call = self._text.text, self._call
        options = (("mode", "755"), ("size", str(operation.size)))
        flags = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_STRICTATIME
        self._share(self._new_filesystem("tmpfs", options, flags), _DEV)
        call("umask", 0)
        for path, kind, major, minor, mode, uid, gid in operation.nodes:
            if "/" in path or kind not in "cu":
                raise NotWritable
            call("mknodat", _DEV, text(path), stat.S_IFCHR | mode, os.makedev(major, minor))
            if uid or gid:
                call("fchownat", _DEV, text(path), uid, gid, syscalls.AT_SYMLINK_NOFOLLOW)
        call("umask", 0o022)
        for name, target in operation.links:
            if name != "core" or os.path.exists(target):
                call("symlinkat", text(target), _DEV, text(name), passing=(errno.EEXIST,))
        for name in ("pts", "shm", "mqueue"):
            call("mkdirat", _DEV, text(name), 0o755, passing=(errno.EEXIST,))
        self._close()
        resolve = mounts.IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS
        self._open("/dev", os.O_PATH | os.O_DIRECTORY, resolve)
        self._move(_DEV, _FREE)
        self._close()

    def _bind(self, operation: operations.Bind) -> None:
        if operation.propagation not in ("private", "rprivate") or operation.subpath:
            raise NotWritable
        text, tree, where = self._text, _FREE, _FREE + 1
        flags = _TREE_FLAGS | (syscalls.AT_RECURSIVE if operation.recursive else 0)
        self._call("open_tree", syscalls.AT_FDCWD, text.text(operation.source), flags)
        are_directories = [self._jump_if(tree, kind) for kind in scripting.DIRECTORIES]
        is_file = self._jump_if(tree, scripting.REGULAR_FILE)
        scripting.fail(text)
        text.aim(is_file)
        self._open_file(operation.target, where)
        is_open = self._jump()
        text.aim(*are_directories)
        self._open_directory(operation.target, where)
        text.aim(is_open)
        attributes = mounts.attribute_flags(operation.attributes)
        if operation.read_only:
            attributes |= syscalls.MOUNT_ATTR_RDONLY
        is_deep = operation.propagation == "rprivate"
        is_recursive = operation.read_only_recursive or not operation.recursive
        if attributes and is_deep == is_recursive:
            self._set(tree, attributes, syscalls.MS_PRIVATE, recursive=is_deep)
        else:
            self._set(tree, 0, syscalls.MS_PRIVATE, recursive=is_deep)
            if attributes:
                self._set(tree, attributes, recursive=is_recursive)
        self._move(tree, where)
        self._close()

    def _links(self, operation: operations.Links) -> None:
        text = self._text.text
        for path, target in operation.links:
            self._open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
            link = (text(target), _FREE, text(os.path.basename(path)))
            self._call("symlinkat", *link, passing=(errno.EEXIST,))
            self._close()

    def _hostname(self, operation: operations.Hostname) -> None:
        for call, name in (("sethostname", operation.name), ("setdomainname", operation.domain)):
            if name or call == "sethostname":
                self._call(call, self._text.text(name), len(name.encode()))

    def _sysctls(self, operation: operations.Sysctls) -> None:
        self._need(_PROC)
        for key, value in operation.values.items():
            path = "sys/" + sysctls.path_of(key)
            self._openat2(_PROC, path, os.O_WRONLY, syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS)
            content = value.encode()
            self._call("write", _FREE, self._text.keep(content), len(content))
            self._close()

    def _read_only(self, operation: operations.ReadOnly) -> None:
        where, tree = _FREE, _FREE + 1
        for path in operation.paths:
            is_missing = self._open_if_there(path, where)
            if operation.are_mounts:
                self._set(where, syscalls.MOUNT_ATTR_RDONLY)
            else:
                self._clone(where, recursive=True)
                self._set(tree, syscalls.MOUNT_ATTR_RDONLY, recursive=True)
                self._move(tree, where)
            self._text.aim(is_missing)
            self._close()

    def _mask(self, operation: operations.Mask) -> None:
        self._make_covers()
        where, tree = _FREE, _FREE + 1
        for path in operation.paths:
            is_missing = self._open_if_there(path, where)
            is_directory = self._jump_if(where, scripting.DIRECTORIES[0])
            self._clone(_NULL)
            self._set(tree, syscalls.MOUNT_ATTR_RDONLY)
            is_cloned = self._jump()
            self._text.aim(is_directory)
            self._clone(_EMPTY)
            self._text.aim(is_cloned)
            self._move(tree, where)
            self._text.aim(is_missing)
            self._close()

    def _make_covers(self) -> None:
        """What directories and files are masked with."""
        if _NULL in self._made:
            return
        self._need(_DEV)
        self._share(self._new_filesystem("tmpfs", EMPTY_DIRECTORY, syscalls.MOUNT_ATTR_RDONLY), _EMPTY)
        self._close()
        self._move(_EMPTY, _WORK)
        path = self._text.text("null")
        self._call("openat", _DEV, path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._share(_FREE, _NULL)
        scripting.check_null(self._text, _NULL)
        self._close()
