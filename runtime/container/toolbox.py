"""A root for debugging: a container's files with this machine's programs beside them, whatever its image has.

Made in a mount namespace of the process's own, so that nothing in the container changes, not even a mount point. The
new root is a small read-only tmpfs: /usr and the like are the host's, read-only and without set-user-id; every other
entry of the container's root is where it was, as writable as it was; and the whole of that root is at ``CONTAINER``.
Standard library only; what is the host's is opened before the container is joined, all else by descriptor.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any

from runtime.container.failure import step
from runtime.kernel import mounts, syscalls

CONTAINER = "/container"
"""Where the container's whole root is."""
LINKED = "/.tools"
"""Directory of programs whose way leads through the host's /etc, by where they really are."""
_READ_ONLY = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV


class Toolbox:
    """``tools`` is a ``runtime.container.debugging.Tools`` as it came over the wire."""

    def __init__(self, tools: dict[str, Any]) -> None:
        """On the host: take copies of its mounts. Raises Failure."""
        self._tools = tools
        self._trees: list[tuple[str, int]] = []
        with step("tools of the host"):
            for path in tools["trees"]:
                self._trees.append((path, mounts.clone_tree(os.fsencode(path))))
            self._covers = [
                (target, mounts.clone_tree(os.fsencode(source), recursive=False))
                for target, source in tools["covers"]
            ]

    @property
    def descriptors(self) -> tuple[int, ...]:
        return tuple(fd for _, fd in (*self._trees, *self._covers))

    def enter(self, root: int, program: dict[str, Any]) -> int:
        """In the container, whose root ``root`` is: make the new root this process's. Returns a descriptor of the
        container's root in it; ``program`` gets its working directory. Raises Failure."""
        with step("tools"):
            os.close(root)
            syscalls.unshare(syscalls.CLONE_NEWNS)
            # Of this namespace: a descriptor of before is one of a mount in the other.
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            # What is mounted here reaches neither the container nor, through a shared mount of its, the host.
            syscalls.mount(None, b"/", None, syscalls.MS_SLAVE | syscalls.MS_REC)
            whole = mounts.clone_tree(b"", directory=root)
            options = (("mode", "755"), ("size", "1m"))
            new = mounts.new_filesystem("tmpfs", options, syscalls.MOUNT_ATTR_NOSUID, source="tools")
            syscalls.move_mount(new, root, "tools")
            taken = {path.split("/")[1] for path in self._tools["trees"]}
            for path, text in self._tools["links"]:
                directory, _, name = path.strip("/").rpartition("/")
                parent = mounts.make_directories(new, directory)
                os.symlink(text, name, dir_fd=parent)
                os.close(parent)
                taken.add(path.split("/")[1])
            self._take_over(new, root, taken)
            self._place(new, CONTAINER, whole)
            for path, tree in self._trees:
                self._place(new, path, tree, _READ_ONLY)
            for target, tree in self._covers:
                self._cover(new, target, tree)
            mounts.make_read_only(new)
            os.fchdir(new)
            syscalls.pivot_root(b".", b".")
            syscalls.umount2(b".", syscalls.MNT_DETACH)
            os.chdir("/")
            os.close(new)
            os.close(root)
            inside = os.open(CONTAINER, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        program["cwd"] = program["cwd"] or self._place_of(self._tools["cwd"], taken, inside)
        return inside

    @staticmethod
    def _take_over(new: int, root: int, taken: set[str]) -> None:
        """Every entry of the container's root that no tool takes the place of. Each is opened once, by its name, and
        what is then behind the descriptor is what is placed: the container may rename meanwhile."""
        listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
        try:
            names = os.listdir(listed)
        finally:
            os.close(listed)
        for name in names:
            if name in taken or f"/{name}" in (CONTAINER, LINKED):
                continue
            with contextlib.suppress(FileNotFoundError):
                entry = mounts.open_in_root(root, name, os.O_PATH | os.O_NOFOLLOW)
                try:
                    if stat.S_ISLNK(os.fstat(entry).st_mode):
                        os.symlink(os.readlink("", dir_fd=entry), name, dir_fd=new)
                    else:
                        Toolbox._place(new, name, mounts.clone_tree(b"", directory=entry))
                finally:
                    os.close(entry)

    @staticmethod
    def _place(new: int, path: str, tree: int, attributes: int = 0) -> None:
        try:
            is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
            where = mounts.make_mount_point(new, path, directory=is_directory)
            try:
                mounts.attach(tree, where, attributes=attributes, recursive=bool(attributes), what=path)
            finally:
                os.close(where)
        finally:
            os.close(tree)

    @staticmethod
    def _cover(new: int, target: str, tree: int) -> None:
        """Put a file of the host's over one of the container's that its programs would read instead."""
        try:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                where = mounts.open_in_root(new, target)
                try:
                    if not stat.S_ISDIR(os.fstat(where).st_mode):
                        mounts.make_read_only(tree)
                        syscalls.move_mount(tree, where, target)
                finally:
                    os.close(where)
        finally:
            os.close(tree)

    @staticmethod
    def _place_of(cwd: str, taken: set[str], inside: int) -> str:
        """The container's working directory where it is to be found now; / when it is not there."""
        try:
            there = mounts.open_in_root(inside, cwd, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return "/"
        try:
            # With all links followed, and as it is reached from the new root. Not by /proc, where this process is not.
            os.fchdir(there)
            found = os.fsdecode(os.getcwdb())
        finally:
            os.chdir("/")
            os.close(there)
        below = found.removeprefix(CONTAINER) or "/"
        return found if below.split("/")[1] in taken else below
