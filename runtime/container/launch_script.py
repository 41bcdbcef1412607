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
import hashlib
import os
import signal
import stat
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from runtime.container import layer_users, operations, process, scripting
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
_HOST, _NETNS, _ROOT, _PROC, _DEV, _WORK, _EMPTY, _NULL = range(200, 208)
_LAST_FREE = _HOST - 1
_MOST_LAYERS = 128
_EVERYTHING = 0xFFFFFFFF
_TREE_FLAGS = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC
_TO_EMPTY = syscalls.MOVE_MOUNT_F_EMPTY_PATH | syscalls.MOVE_MOUNT_T_EMPTY_PATH
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_MISSING = (errno.ENOENT, errno.ENOTDIR)


REMEMBERED = 8
"""Tables; each takes some 80 kB."""
_ID_LENGTH, _SHORT_LENGTH = 64, 12
_ANY_ID = b"\xfe\xfd any container's id \xfd\xfe".ljust(_ID_LENGTH, b"\xfd")
_ANY_SHORT_ID = b"\xfe\xfc any id\xfd\xfe"


class Tables:
    """Of containers that were started lately. Those that are alike but for their ids (replicas, and one that is started
    again with another id) have the same one, in which ids are exchanged."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[script.Table, list[int]]] = {}

    def get(self, spec: LaunchSpec, document: bytes) -> script.Table:
        """``document``: all of ``spec`` that a first process depends on, encoded. Raises NotWritable, TooLong."""
        layers = _layers_of(spec)
        if not is_writable(spec):
            raise NotWritable
        if (found := layer_users.find(layers, spec.process.user, spec.process.groups)) is None:
            raise NotWritable
        network = Network.look(spec.sandbox, _NETNS)
        if len(spec.id) != _ID_LENGTH:
            return _Launch(spec, *found, network).table()[0]
        ids = ((spec.id.encode(), _ANY_ID), (spec.id[:_SHORT_LENGTH].encode(), _ANY_SHORT_ID))
        key = hashlib.blake2b(_exchange(document, ids) + repr((found, network.shape)).encode()).digest()
        if (known := self._known.pop(key, None)) is None:
            table, offsets = _Launch(spec, *found, network).table()
            known = (table._replace(data=_exchange(table.data, ids)), offsets)
            while len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
        self._known[key] = known
        table, offsets = known
        data = bytearray(_exchange(table.data, [(to, of) for of, to in reversed(ids)]))
        for offset, piece in zip(offsets, network.pieces, strict=True):
            data[offset : offset + len(piece)] = piece
        return table._replace(data=bytes(data))


def _exchange(data: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    for of, to in pairs:
        data = data.replace(of, to)
    return data


def is_writable(spec: LaunchSpec) -> bool:
    """Whether all that is not about the root can be written down."""
    wanted, program = spec.namespaces, spec.process
    is_own = wanted.pid == "new" and not any(
        isinstance(kind, int) for kind in (wanted.net, wanted.ipc, wanted.uts, wanted.cgroup)
    )
    return is_own and not (program.tty or program.tools or spec.init)


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
        self._is_directory = self._text.keep(scripting.DIRECTORY)
        self._made: set[int] = set()
        """Which of the shared descriptors there are."""
        self._ends_read_only = False

    def table(self) -> tuple[script.Table, list[int]]:
        """And where in its data the pieces of the network are."""
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

    def _jump_unless_directory(self, fd: int) -> int:
        self._call(
            "newfstatat",
            fd,
            self._nothing,
            self._found,
            syscalls.AT_EMPTY_PATH,
            passing=(errno.ENOENT,),
            compare=(self._found + scripting.KIND, self._is_directory, 1),
        )
        return self._text.next - 1

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
        if operation.inherit_mode or operation.propagation:
            raise NotWritable
        resolve = mounts.IN_ROOT | (0 if operation.follow else syscalls.RESOLVE_NO_SYMLINKS)
        mount, where = _PROC, _FREE
        if operation.kind != "proc":
            flags = mounts.attribute_flags(operation.attributes)
            source = "shm" if operation.target == "/dev/shm" else ""
            mount = self._new_filesystem(operation.kind, operation.options, flags, source)
            where = mount + 1
        self._open(operation.target, os.O_PATH | os.O_DIRECTORY, resolve)
        self._move(mount, where)
        self._close()

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
        """A directory that nothing is there for is made where only the last name is missing."""
        if operation.propagation not in ("private", "rprivate") or operation.subpath:
            raise NotWritable
        text, target = self._text, operation.target.rstrip("/")
        above, _, name = target.rpartition("/")
        if name in ("", ".", ".."):
            raise NotWritable
        tree, where = _FREE, _FREE + 1
        flags = _TREE_FLAGS | (syscalls.AT_RECURSIVE if operation.recursive else 0)
        self._call("open_tree", syscalls.AT_FDCWD, text.text(operation.source), flags)
        is_file = self._jump_unless_directory(tree)
        is_missing = self._open_if_there(target, where, os.O_PATH | os.O_DIRECTORY)
        is_there = self._jump()
        text.aim(is_missing)
        self._open(above, os.O_PATH | os.O_DIRECTORY)
        self._call("mkdirat", where, text.text(name), 0o755)
        self._openat2(where, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, mounts.IN_ROOT)
        self._call("dup3", where + 1, where, os.O_CLOEXEC)
        is_made = text.next - 1
        text.aim(is_file)
        self._open(target, os.O_PATH)
        text.aim(is_there, is_made)
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
            is_file = self._jump_unless_directory(where)
            self._clone(_EMPTY)
            is_cloned = self._jump()
            self._text.aim(is_file)
            self._clone(_NULL)
            self._set(tree, syscalls.MOUNT_ATTR_RDONLY)
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


def _layers_of(spec: LaunchSpec) -> Sequence[str]:
    """The directories of a container's root, topmost first. Raises NotWritable."""
    for operation in spec.operations[:1]:
        if isinstance(operation, operations.Overlay):
            return (operation.upper, *operation.layers, operation.base)
    raise NotWritable
