"""Make a container's root: executes the operations of a LaunchSpec in the container's first process.

Runs in a mount namespace of its own, still with the host's root, so that host paths can be opened; whatever is
inside the new root is reached by descriptors resolved within it (see ``runtime.kernel.mounts``). Standard library
only; nothing is imported late.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from runtime.container import copyup, upper
from runtime.container.failure import step
from runtime.crash_points import crash_point
from runtime.kernel import mounts, null_device, syscalls, sysctls

Operation = dict[str, Any]

_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
EMPTY_DIRECTORY = (("mode", "0555"), ("size", "4k"), ("nr_inodes", "2"))


class Root:
    """The root being made. ``configure_network`` is called at the place where the operations ask for it."""

    def __init__(self, mount_on: str, configure_network: Callable[[], None]) -> None:
        self._mount_on = mount_on
        self._configure_network = configure_network
        self.root = -1
        """Descriptor of the root directory, once there is an overlay."""
        self.proc = -1
        """Root of the container's procfs: mounted by us, so what is written through it goes to the kernel."""
        self.dev = -1
        self.devpts = -1
        self._host_null = -1
        self._own_null = -1
        self._empty = -1
        self._files = -1
        self._files_made = 0
        self._scratch = -1
        """The overlay's work directory: covered in this namespace by mounts that others are cloned from."""
        self._peers: dict[tuple[str, bool], int] = {}
        """Detached trees that are peers of the host's: source and depth of a shared bind."""
        self._ends_read_only = False

    def execute(self, operations: list[Operation]) -> None:
        """Execute in order. Raises Failure naming the operation that failed."""
        for operation in operations:
            name = operation["op"]
            subject = operation.get("target") or operation.get("name") or ""
            with step(f"{name} {subject}".rstrip()):
                crash_point("init.start.mounting")
                with upper.naming_its_disk(f"{name} {subject}", self._mount_on, self._scratch):
                    getattr(self, f"_{name}")(operation)

    def make_proc(self, operations: list[Operation], pid: int | str) -> None:
        """The container's procfs, before there is anything to mount it on: sysctls of its network are written through
        it. In the host's the kernel finds them among those of all other containers, which takes longer with each.

        A new one shows the pid namespace of who makes it; the one of process ``pid`` is that process's own, of which
        this is a copy: nobody has to be in there, in reach of its processes, to make one."""
        for operation in operations:
            if operation["op"] == "filesystem" and operation["kind"] == "proc":
                with step(f"filesystem {operation['target']}"):
                    if isinstance(pid, int):
                        self.proc = mounts.clone_proc_of(pid, operation.get("attributes", ()))
                    else:
                        self.proc = self._new_filesystem(operation, list(operation.get("options", ())))
                return

    def enter(self, working_directory: str) -> None:
        """Make the root this process's root and forget the host's. pivot_root(2), "pivot_root(".", ".")".

        ``working_directory`` is made when it is missing, before the root becomes read-only."""
        os.fchdir(self.root)
        syscalls.pivot_root(b".", b".")
        # The old root is stacked on the new one; as a slave its unmounting does not reach the host.
        syscalls.umount2(b".", syscalls.MNT_DETACH)
        os.chdir("/")
        doing = f'working directory "{working_directory}"'
        with step(doing), upper.naming_its_disk(doing, self._mount_on, self._scratch):
            os.close(mounts.make_directories(self.root, working_directory))
        if self._ends_read_only:
            mounts.make_read_only(self.root)

    # Operations, by tag

    def _overlay(self, operation: Operation) -> None:
        for source, recursive, is_made in operation.get("peers", ()):
            if is_made and not os.path.exists(source):
                os.makedirs(source, exist_ok=True)
            if "shared" not in (state := mounts.peer_groups_of(source))[1]:
                raise OSError(
                    errno.EINVAL, f"path {source} is mounted on {state[0]} but it is not a shared mount"
                )
            self._peers[source, recursive] = mounts.clone_tree(os.fsencode(source), recursive=recursive)
        syscalls.mount(None, b"/", None, syscalls.MS_SLAVE | syscalls.MS_REC)
        paths = (*operation["layers"], operation["base"])
        layers = [os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for layer in paths]
        directories = []
        for path in (operation["upper"], operation["work"]):
            if not os.path.isdir(path):
                upper.make_like(path, layers[0])
            directories.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        changes, work = directories
        is_volatile = operation.get("is_volatile", False)
        mounts.overlay(layers, changes, work, os.fsencode(self._mount_on), is_volatile=is_volatile)
        for fd in (*layers, changes):
            os.close(fd)
        self._scratch = work
        self.root = os.open(self._mount_on, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def _filesystem(self, operation: Operation) -> None:
        kind, target = operation["kind"], operation["target"]
        options = list(operation.get("options", ()))
        resolve = mounts.IN_ROOT
        if not operation.get("follow", True):
            resolve |= syscalls.RESOLVE_NO_SYMLINKS
        where = self._directory(target, resolve, 0o1777 if operation.get("inherit_mode") else 0o755)
        try:
            if operation.get("follow", True):
                mounts.refuse_proc(where, target)
            if operation.get("inherit_mode"):
                options.append(("mode", f"{stat.S_IMODE(os.fstat(where).st_mode):o}"))
            is_made = kind == "proc" and self.proc >= 0
            mount = self.proc if is_made else self._new_filesystem(operation, options)
            syscalls.move_mount(mount, where, target)
        finally:
            os.close(where)
        if operation.get("propagation"):
            mounts.set_propagation(mount, operation["propagation"])
        if kind == "proc":
            self.proc = mount
        elif kind == "devpts":
            self.devpts = mount
        else:
            os.close(mount)

    @staticmethod
    def _new_filesystem(operation: Operation, options: list[tuple[str, str | None]]) -> int:
        attributes = mounts.attribute_flags(operation.get("attributes", ()))
        source = "shm" if operation["target"] == "/dev/shm" else ""
        return mounts.new_filesystem(operation["kind"], options, attributes, source=source)

    def _directory(self, target: str, resolve: int, mode: int = 0o755) -> int:
        """A directory to mount on, made when missing; a tmpfs made where nothing was is open to all (1777)."""
        try:
            return mounts.open_in_root(self.root, target, os.O_PATH | os.O_DIRECTORY, resolve)
        except FileNotFoundError:
            made = mounts.make_directories(self.root, target)
            os.chmod(f"/proc/self/fd/{made}", mode)
            return made
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise OSError(error.errno, f"{target} of the image is not a real directory") from None
            raise

    def _devices(self, operation: Operation) -> None:
        """Everything is made in the detached tmpfs: no link of the image can lead anywhere else."""
        options = [("mode", "755"), ("size", str(operation.get("size", 65536 * 1024)))]
        flags = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_STRICTATIME
        dev = mounts.new_filesystem("tmpfs", options, flags)
        before = os.umask(0)
        try:
            for path, kind, major, minor, mode, uid, gid in operation["nodes"]:
                self._device(dev, path, kind, os.makedev(major, minor), mode, uid, gid)
        finally:
            os.umask(before)
        for name, text in operation["links"]:
            if name == "core" and not os.path.exists(text):
                continue
            with contextlib.suppress(FileExistsError):  # a device was given that name
                os.symlink(text, name, dir_fd=dev)
        for name in ("pts", "shm", "mqueue"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=dev)
        where = self._directory("/dev", mounts.IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS)
        syscalls.move_mount(dev, where, "/dev")
        os.close(where)
        self.dev = dev

    def _nodes(self, operation: Operation) -> None:
        """In the writable layer or in what is mounted there; one that is left of an earlier start is fine."""
        before = os.umask(0)
        try:
            for path, kind, major, minor, mode, uid, gid in operation["nodes"]:
                device = os.makedev(major, minor)
                try:
                    self._device(self.root, path, kind, device, mode, uid, gid)
                except FileExistsError:
                    fd = mounts.open_in_root(self.root, path)
                    state = os.fstat(fd)
                    os.close(fd)
                    if (stat.S_IFMT(state.st_mode), state.st_rdev) != (_TYPES[kind], device):
                        raise OSError(errno.EEXIST, f"{path} is there, and is another file") from None
        finally:
            os.umask(before)

    @staticmethod
    def _device(dev: int, path: str, kind: str, device: int, mode: int, uid: int, gid: int) -> None:
        directory, _, name = path.rpartition("/")
        parent = mounts.make_directories(dev, directory) if directory else dev
        try:
            os.mknod(name, _TYPES[kind] | mode, device, dir_fd=parent)
            if uid or gid:
                os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        finally:
            if parent != dev:
                os.close(parent)

    def _bind(self, operation: Operation) -> None:
        source, target = operation["source"], operation["target"]
        if operation.get("create") and not os.path.exists(source):  # what is there may be any kind of file
            os.makedirs(source, exist_ok=True)
        recursive, propagation = operation.get("recursive", True), operation.get("propagation", "rprivate")
        if propagation.endswith("slave") and not (state := mounts.peer_groups_of(source))[1]:
            raise OSError(
                errno.EINVAL, f"path {source} is mounted on {state[0]} but it is not a shared or slave mount"
            )
        tree = self._peers.pop((source, recursive), -1) if propagation.endswith("shared") else -1
        if tree < 0:
            tree = self._source_tree(source, operation.get("subpath", ""), recursive)
        attributes = mounts.attribute_flags(operation.get("attributes", ()))
        if operation.get("read_only"):
            attributes |= syscalls.MOUNT_ATTR_RDONLY
        self._attach(
            tree,
            target,
            attributes=attributes,
            recursive=operation.get("read_only_recursive", False) or not recursive,
            propagation=propagation,
        )

    def _bind_from(self, operation: Operation) -> None:
        target = operation["target"]
        tree = mounts.clone_tree_of(operation["pid"], target)
        self._attach(tree, target, propagation="rprivate")

    @staticmethod
    def _source_tree(source: str, subpath: str, recursive: bool) -> int:
        if not subpath:
            return mounts.clone_tree(os.fsencode(source), recursive=recursive)
        base = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            inside = mounts.open_in_root(base, subpath)
        finally:
            os.close(base)
        try:
            return mounts.clone_tree(b"", directory=inside, recursive=recursive)
        finally:
            os.close(inside)

    def _attach(
        self, tree: int, target: str, *, attributes: int = 0, recursive: bool = False, propagation: str = ""
    ) -> None:
        is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        where = mounts.make_mount_point(self.root, target, directory=is_directory)
        try:
            mounts.refuse_proc(where, target)
            mounts.attach(
                tree, where, attributes=attributes, recursive=recursive, propagation=propagation, what=target
            )
        finally:
            os.close(where)
            os.close(tree)

    def _image(self, operation: Operation) -> None:
        layers = [os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for layer in operation["layers"]]
        subpath = operation.get("subpath", "")
        if len(layers) == 1:
            tree = self._clone_inside(layers[0], subpath)
        else:
            # Mounted over the directory that the root was mounted on, then taken from there.
            mounts.overlay(layers, None, None, os.fsencode(self._mount_on))
            base = os.open(self._mount_on, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            tree = self._clone_inside(base, subpath)
            os.close(base)
            syscalls.umount2(os.fsencode(self._mount_on), syscalls.MNT_DETACH)
        for fd in layers:
            os.close(fd)
        self._attach(tree, operation["target"], attributes=syscalls.MOUNT_ATTR_RDONLY, propagation="private")

    @staticmethod
    def _clone_inside(base: int, subpath: str) -> int:
        """A detached copy of what is at ``subpath``. ``base`` is attached: a part of a detached mount cannot be copied
        by every kernel, nor by any when the mount itself is gone."""
        if not subpath:
            return mounts.clone_tree(b"", directory=base, recursive=False)
        inside = mounts.open_in_root(base, subpath)
        try:
            return mounts.clone_tree(b"", directory=inside, recursive=False)
        finally:
            os.close(inside)

    def _copy_up(self, operation: Operation) -> None:
        copyup.fill_volume(self.root, operation["target"], operation["volume"])

    def _file(self, operation: Operation) -> None:
        """Configs and secrets live on one tmpfs that nothing else is mounted from: never on a disk."""
        if self._files < 0:
            flags = mounts.attribute_flags(["nosuid", "nodev"])
            self._files = mounts.new_filesystem("tmpfs", [("mode", "700")], flags)
            syscalls.move_mount(self._files, self._scratch, "files")
        if operation.get("source"):
            source = os.open(operation["source"], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(source).st_mode):
                    raise OSError(errno.EINVAL, f"{operation['source']}: not a regular file")
                with open(source, "rb", closefd=False) as file:
                    content = file.read()
            finally:
                os.close(source)
        else:
            content = base64.b64decode(operation.get("content", ""))
        self._files_made += 1
        name = str(self._files_made)
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._files)
        with open(fd, "wb") as file:
            file.write(content)
            os.fchown(fd, operation.get("uid", 0), operation.get("gid", 0))
            os.fchmod(fd, operation.get("mode", 0o444))
        made = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=self._files)
        tree = mounts.clone_tree(b"", directory=made, recursive=False)
        os.close(made)
        self._attach(tree, operation["target"], attributes=syscalls.MOUNT_ATTR_RDONLY, propagation="private")

    def _links(self, operation: Operation) -> None:
        for path, text in operation["links"]:
            parent = mounts.open_in_root(self.root, os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
            with contextlib.suppress(FileExistsError):
                os.symlink(text, os.path.basename(path), dir_fd=parent)
            os.close(parent)

    def _network(self, operation: Operation) -> None:
        self._configure_network()

    @staticmethod
    def _hostname(operation: Operation) -> None:
        syscalls.sethostname(operation["name"].encode())
        if operation.get("domain"):
            syscalls.setdomainname(operation["domain"].encode())

    def _sysctls(self, operation: Operation) -> None:
        for key, value in operation["values"].items():
            path = "sys/" + sysctls.path_of(key)
            try:
                fd = syscalls.openat2(
                    self.proc,
                    path.encode(),
                    os.O_WRONLY,
                    syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS,
                )
            except FileNotFoundError:
                raise OSError(errno.ENOENT, f"sysctl {key} is not known to this kernel") from None
            try:
                os.write(fd, value.encode())
            except OSError as error:
                raise OSError(error.errno, f"sysctl {key}={value}: {error.strerror}") from None
            finally:
                os.close(fd)

    def _read_only(self, operation: Operation) -> None:
        for path in operation["paths"]:
            try:
                where = mounts.open_in_root(self.root, path)
            except FileNotFoundError:
                continue
            try:
                if operation.get("are_mounts"):
                    mounts.make_read_only(where)
                else:
                    self._cover_read_only(where, path)
            finally:
                os.close(where)

    @staticmethod
    def _cover_read_only(where: int, path: str) -> None:
        """Put a read-only copy over what is not the root of a mount."""
        tree = mounts.clone_tree(b"", directory=where, recursive=True)
        try:
            mounts.attach(tree, where, attributes=syscalls.MOUNT_ATTR_RDONLY, recursive=True, what=path)
        finally:
            os.close(tree)

    def _mask(self, operation: Operation) -> None:
        for path in operation["paths"]:
            try:
                where = mounts.open_in_root(self.root, path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                is_directory = stat.S_ISDIR(os.fstat(where).st_mode)
                source = self._empty_directory() if is_directory else self._null_to_mask_with()
                tree = mounts.clone_tree(b"", directory=source, recursive=False)
                if not is_directory:
                    # chmod of a masked path is not chmod of a device.
                    mounts.make_read_only(tree)
                syscalls.move_mount(tree, where, path)
                os.close(tree)
            finally:
                os.close(where)

    def _read_only_root(self, operation: Operation) -> None:
        self._ends_read_only = True

    def bind_console(self, terminal: int) -> None:
        """/dev/console is the container's terminal, by descriptor: CVE-2025-52565."""
        if self.dev < 0:
            return
        os.close(
            os.open("console", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self.dev)
        )
        where = os.open("console", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.dev)
        tree = mounts.clone_tree(b"", directory=terminal, recursive=False)
        syscalls.move_mount(tree, where, "/dev/console")
        os.close(where)
        os.close(tree)

    def open_null(self) -> int:
        """/dev/null for reading and writing: the container's own when we made it, else the host's."""
        if self.dev >= 0:
            return os.open("null", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.dev)
        return os.open(f"/proc/self/fd/{self.null()}", os.O_RDWR | os.O_CLOEXEC)

    def null(self) -> int:
        """The host's /dev/null, proven to be it."""
        if self._host_null < 0:
            fd = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            if not null_device.is_it(fd):
                raise OSError(errno.EINVAL, "/dev/null of the host is not the null device")
            self._host_null = fd
        return self._host_null

    def _null_to_mask_with(self) -> int:
        """The container's own /dev/null; the host's, where its /dev is not ours or has something else mounted there:
        that would show through every mask (CVE-2025-31133)."""
        if self.dev < 0:
            return self.null()
        if self._own_null < 0:
            self._own_null = os.open("null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.dev)
        return self._own_null if null_device.is_it(self._own_null) else self.null()

    def _empty_directory(self) -> int:
        if self._empty < 0:
            self._empty = mounts.new_filesystem("tmpfs", EMPTY_DIRECTORY, syscalls.MOUNT_ATTR_RDONLY)
            syscalls.move_mount(self._empty, self._scratch, "empty directory")
        return self._empty
