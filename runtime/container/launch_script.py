"""A container's first process as a list of system calls (``runtime.kernel.script``): what ``runtime.container.launch``
and ``runtime.container.rootfs`` do in a fork of the shim, written down by the core before there is one.

For containers with namespaces of their own, without a terminal and without an init, and for the operations that
nothing has to be looked at for. What cannot be written down, and whatever fails, is done the other way, which can say
why. Each step's order and reasons are those of the functions of the same name there.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Collection
from typing import Any

import msgspec

from runtime.container import operations, process, scripting
from runtime.container.mount_calls import (
    DEV,
    EMPTY,
    FREE,
    HOST,
    NULL,
    PROC,
    ROOT,
    TREE_FLAGS,
    WORK,
    MountCalls,
)
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
"""News when all but the confinement is done: 0 and this."""
_MOST_LAYERS = 128
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def is_writable(spec: LaunchSpec) -> bool:
    """Whether all that is not about the root can be written down, and the network is what it is said to be."""
    wanted, program = spec.namespaces, spec.process
    is_own = wanted.pid == "new" and not any(
        isinstance(kind, int) for kind in (wanted.net, wanted.ipc, wanted.uts, wanted.cgroup)
    )
    is_planned = (wanted.net == "new") == (spec.sandbox["mode"] in ("bridge", "none"))
    return is_own and is_planned and not (program.tty or program.tools or spec.init)


def write(
    spec: LaunchSpec, identity: Identity, seen: Seen, network: Network, filled: Collection[str]
) -> tuple[script.Table, list[int]]:
    """And where in its data the pieces of ``network`` are. ``identity`` is who the process will be, by files that were
    ``seen`` so (``runtime.container.layer_users``); ``filled`` are volumes that nothing is copied to. Raises
    NotWritable, TooLong."""
    if not is_writable(spec):
        raise NotWritable
    return _Launch(spec, identity, seen, network, filled).table()


class _Launch:
    def __init__(
        self,
        spec: LaunchSpec,
        identity: Identity,
        seen: Seen,
        network: Network,
        filled: Collection[str],
    ) -> None:
        self._filled = filled
        self._spec = spec
        self._network = network
        self._identity = identity
        self._seen = seen
        self._text = Script()
        self._call = self._text.call
        self._mount = MountCalls(self._text)
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
        call("close_range", FREE, 0xFFFFFFFF, 0)
        tasks = [] if is_v2 else [f"{directory}/tasks" for directory in spec.cgroup["directories"]]
        scripting.enter_cgroups(text, program["confinement"], tasks)
        self._mount.close()
        self._make_proc()
        keep = Keep(text)
        self._network.write(text, PROC, process.CHANNEL, FREE, HOST, keep)
        self._unshare()
        for operation in spec.operations:
            self._execute(operation)
        scripting.join_keyring(text, spec.id)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        self._mount.need(DEV)
        scripting.open_null(text, streams, "openat", DEV, text.text("null"), flags)
        self._enter(program["cwd"])
        scripting.become(text, program, self._identity, self._seen, streams)
        # Before the filter, which may not let it write. Who is left alone has nobody to tell that it is here.
        call("write", process.CHANNEL, text.keep(script.NEWS.pack(0, REACHED)), script.NEWS.size)
        scripting.confine(text, program, self._identity)
        # Again: the change of credentials has cleared it.
        call("prctl", syscalls.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        scripting.execute(text, program, self._identity)
        return text.finished(), keep.offsets

    # Namespaces and root

    def _make_proc(self) -> None:
        for operation in self._spec.operations:
            if isinstance(operation, operations.Filesystem) and operation.kind == "proc":
                flags = mounts.attribute_flags(operation.attributes)
                self._mount.share(self._mount.new_filesystem("proc", operation.options, flags), PROC)
                self._mount.close()
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
        self._call("fchdir", ROOT)
        self._call("pivot_root", here, here)
        self._call("umount2", here, syscalls.MNT_DETACH)
        self._call("chdir", self._text.text("/"))
        self._mount.open(working_directory, os.O_PATH | os.O_DIRECTORY)
        self._mount.close()
        if self._ends_read_only:
            self._mount.set(ROOT, syscalls.MOUNT_ATTR_RDONLY)

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
            case operations.CopyUp():
                if operation.volume not in self._filled:
                    self._copy_nothing(operation)
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
        *layers, upper, work = range(FREE, FREE + len(paths))
        options = mounts.overlay_options(layers, upper, work, is_volatile=operation.is_volatile)
        self._mount.share(work, WORK)
        self._call("chdir", text("/proc/self/fd"))
        self._call("mount", text("overlay"), text(self._spec.state_dir), text("overlay"), 0, text(options))
        self._call("chdir", text("/"))
        self._mount.close()
        self._call("openat", syscalls.AT_FDCWD, text(self._spec.state_dir), _DIRECTORY)
        self._mount.share(FREE, ROOT)
        self._mount.close()

    def _filesystem(self, operation: operations.Filesystem) -> None:
        if operation.propagation:
            raise NotWritable
        resolve = mounts.IN_ROOT | (0 if operation.follow else syscalls.RESOLVE_NO_SYMLINKS)
        mount, where = PROC, FREE
        if operation.kind != "proc":
            flags = mounts.attribute_flags(operation.attributes)
            source = "shm" if operation.target == "/dev/shm" else ""
            mount = self._mount.new_filesystem(operation.kind, operation.options, flags, source)
            where = mount + 1
        if operation.kind == "tmpfs" and operation.follow:
            # One that is made where nothing was is open to all.
            self._mount.open_directory(operation.target, where, 0o1777 if operation.inherit_mode else 0o755)
        else:
            self._mount.open(operation.target, os.O_PATH | os.O_DIRECTORY, resolve)
        if operation.follow:
            self._mount.refuse_proc(where)
        if operation.inherit_mode:
            self._mount.copy_mode(where, mount)
        self._mount.move(mount, where)
        self._mount.close()

    def _devices(self, operation: operations.Devices) -> None:
        text, call = self._text.text, self._call
        options = (("mode", "755"), ("size", str(operation.size)))
        flags = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_STRICTATIME
        self._mount.share(self._mount.new_filesystem("tmpfs", options, flags), DEV)
        call("umask", 0)
        for path, kind, major, minor, mode, uid, gid in operation.nodes:
            if "/" in path or kind not in "cu":
                raise NotWritable
            call("mknodat", DEV, text(path), stat.S_IFCHR | mode, os.makedev(major, minor))
            if uid or gid:
                call("fchownat", DEV, text(path), uid, gid, syscalls.AT_SYMLINK_NOFOLLOW)
        call("umask", 0o022)
        for name, target in operation.links:
            if name != "core" or os.path.exists(target):
                call("symlinkat", text(target), DEV, text(name), passing=(errno.EEXIST,))
        for name in ("pts", "shm", "mqueue"):
            call("mkdirat", DEV, text(name), 0o755, passing=(errno.EEXIST,))
        self._mount.close()
        resolve = mounts.IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS
        self._mount.open("/dev", os.O_PATH | os.O_DIRECTORY, resolve)
        self._mount.move(DEV, FREE)
        self._mount.close()

    def _bind(self, operation: operations.Bind) -> None:
        if operation.propagation not in ("private", "rprivate") or operation.subpath:
            raise NotWritable
        text, tree, where = self._text, FREE, FREE + 1
        flags = TREE_FLAGS | (syscalls.AT_RECURSIVE if operation.recursive else 0)
        self._call("open_tree", syscalls.AT_FDCWD, text.text(operation.source), flags)
        are_directories = [self._mount.jump_if(tree, kind) for kind in scripting.DIRECTORIES]
        is_file = self._mount.jump_if(tree, scripting.REGULAR_FILE)
        scripting.fail(text)
        text.aim(is_file)
        self._mount.open_file(operation.target, where)
        is_open = self._text.jump()
        text.aim(*are_directories)
        self._mount.open_directory(operation.target, where)
        text.aim(is_open)
        self._mount.refuse_proc(where)
        attributes = mounts.attribute_flags(operation.attributes)
        if operation.read_only:
            attributes |= syscalls.MOUNT_ATTR_RDONLY
        is_deep = operation.propagation == "rprivate"
        is_recursive = operation.read_only_recursive or not operation.recursive
        if attributes and is_deep == is_recursive:
            self._mount.set(tree, attributes, syscalls.MS_PRIVATE, recursive=is_deep)
        else:
            self._mount.set(tree, 0, syscalls.MS_PRIVATE, recursive=is_deep)
            if attributes:
                self._mount.set(tree, attributes, recursive=is_recursive)
        self._mount.move(tree, where)
        self._mount.close()

    def _copy_nothing(self, operation: operations.CopyUp) -> None:
        """Copying takes more than system calls."""
        is_missing = self._mount.open_if_there(operation.target, FREE, os.O_PATH | os.O_DIRECTORY)
        scripting.fail(self._text)
        self._text.aim(is_missing)

    def _links(self, operation: operations.Links) -> None:
        text = self._text.text
        for path, target in operation.links:
            self._mount.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
            link = (text(target), FREE, text(os.path.basename(path)))
            self._call("symlinkat", *link, passing=(errno.EEXIST,))
            self._mount.close()

    def _hostname(self, operation: operations.Hostname) -> None:
        for call, name in (("sethostname", operation.name), ("setdomainname", operation.domain)):
            if name or call == "sethostname":
                self._call(call, self._text.text(name), len(name.encode()))

    def _sysctls(self, operation: operations.Sysctls) -> None:
        self._mount.need(PROC)
        for key, value in operation.values.items():
            path = "sys/" + sysctls.path_of(key)
            self._mount.openat2(
                PROC, path, os.O_WRONLY, syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
            )
            content = value.encode()
            self._call("write", FREE, self._text.keep(content), len(content))
            self._mount.close()

    def _read_only(self, operation: operations.ReadOnly) -> None:
        where, tree = FREE, FREE + 1
        for path in operation.paths:
            is_missing = self._mount.open_if_there(path, where)
            if operation.are_mounts:
                self._mount.set(where, syscalls.MOUNT_ATTR_RDONLY)
            else:
                self._mount.clone(where, recursive=True)
                self._mount.set(tree, syscalls.MOUNT_ATTR_RDONLY, recursive=True)
                self._mount.move(tree, where)
            self._text.aim(is_missing)
            self._mount.close()

    def _mask(self, operation: operations.Mask) -> None:
        self._make_covers()
        where, tree = FREE, FREE + 1
        for path in operation.paths:
            is_missing = self._mount.open_if_there(path, where)
            is_directory = self._mount.jump_if(where, scripting.DIRECTORIES[0])
            self._mount.clone(NULL)
            self._mount.set(tree, syscalls.MOUNT_ATTR_RDONLY)
            is_cloned = self._text.jump()
            self._text.aim(is_directory)
            self._mount.clone(EMPTY)
            self._text.aim(is_cloned)
            self._mount.move(tree, where)
            self._text.aim(is_missing)
            self._mount.close()

    def _make_covers(self) -> None:
        """What directories and files are masked with."""
        if self._mount.is_shared(NULL):
            return
        self._mount.need(DEV)
        self._mount.share(
            self._mount.new_filesystem("tmpfs", EMPTY_DIRECTORY, syscalls.MOUNT_ATTR_RDONLY), EMPTY
        )
        self._mount.close()
        self._mount.move(EMPTY, WORK)
        path = self._text.text("null")
        self._call("openat", DEV, path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._mount.share(FREE, NULL)
        scripting.check_null(self._text, NULL)
        self._mount.close()
