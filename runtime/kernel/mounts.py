"""Mounting with the descriptor-based interface: detached mounts are made, prepared, then attached by descriptor.

No target is ever a path that somebody else could exchange in the meantime: it is resolved inside the container's
root by ``openat2(RESOLVE_IN_ROOT)`` to a descriptor, and the mount is attached to that. Needs Linux 5.6;
``mount_setattr`` (5.12) has a fallback.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence

from runtime.kernel import kernel_limits, refusal
from runtime.kernel import syscalls as sys

PROC_SUPER_MAGIC = 0x9FA0
SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC = 0x62656572, 0x27E0EB, 0x63677270
PROC_ROOT_INO = 1
"""linux/magic.h, linux/proc_fs.h"""

IN_ROOT = sys.RESOLVE_IN_ROOT | sys.RESOLVE_NO_MAGICLINKS

_ATTRIBUTES = {
    "ro": sys.MOUNT_ATTR_RDONLY,
    "nosuid": sys.MOUNT_ATTR_NOSUID,
    "nodev": sys.MOUNT_ATTR_NODEV,
    "noexec": sys.MOUNT_ATTR_NOEXEC,
    "noatime": sys.MOUNT_ATTR_NOATIME,
    "strictatime": sys.MOUNT_ATTR_STRICTATIME,
    "nodiratime": sys.MOUNT_ATTR_NODIRATIME,
}
_OLD_FLAGS = {
    sys.MOUNT_ATTR_RDONLY: sys.MS_RDONLY,
    sys.MOUNT_ATTR_NOSUID: sys.MS_NOSUID,
    sys.MOUNT_ATTR_NODEV: sys.MS_NODEV,
    sys.MOUNT_ATTR_NOEXEC: sys.MS_NOEXEC,
    sys.MOUNT_ATTR_STRICTATIME: sys.MS_STRICTATIME,
}
PROPAGATION = {
    "private": (sys.MS_PRIVATE, False),
    "rprivate": (sys.MS_PRIVATE, True),
    "slave": (sys.MS_SLAVE, False),
    "rslave": (sys.MS_SLAVE, True),
    "shared": (sys.MS_SHARED, False),
    "rshared": (sys.MS_SHARED, True),
}
"""By Docker's name: the flag and whether it goes for the whole tree."""


def attribute_flags(names: Iterable[str]) -> int:
    """``ro``, ``nosuid``, ``nodev``, ``noexec``, ``noatime``, ``strictatime``, ``nodiratime`` as MOUNT_ATTR bits;
    others count as none."""
    flags = 0
    for name in names:
        flags |= _ATTRIBUTES.get(name, 0)
    return flags


def new_filesystem(
    kind: str, options: Sequence[tuple[str, str | None]] = (), attributes: int = 0, *, source: str = ""
) -> int:
    """A detached mount of a new instance of ``kind``; ``options`` are its own (not those of the mount). ``source`` is
    what ``df`` and ``mount`` show as device, by default ``kind``."""
    context = sys.fsopen(kind.encode())
    try:
        for key, value in (("source", source or kind), *options):
            try:
                if value is None:
                    sys.fsconfig(context, sys.FSCONFIG_SET_FLAG, key.encode())
                else:
                    sys.fsconfig(context, sys.FSCONFIG_SET_STRING, key.encode(), value.encode())
            except OSError as error:
                told = f"{kind} option {key}{'' if value is None else '=' + value}"
                raise OSError(
                    error.errno, f"{told}: {_reason(context) or os.strerror(error.errno or 0)}"
                ) from None
        try:
            sys.fsconfig(context, sys.FSCONFIG_CMD_CREATE)
        except OSError as error:
            reason = _reason(context) or os.strerror(error.errno or 0)
            raise OSError(error.errno, f"mount {kind}: {reason}") from None
        return sys.fsmount(context, attributes, kind)
    finally:
        os.close(context)


def _reason(context: int) -> str:
    """The kernel's own words about what it disliked; fsopen(2) on reading the context."""
    try:
        return os.read(context, 4096).decode(errors="replace").strip()[2:]
    except OSError:
        return ""


def clone_tree(source: bytes, *, directory: int = sys.AT_FDCWD, recursive: bool = True) -> int:
    """A detached copy of the mounts at ``source`` (b"" for ``directory`` itself): what a bind mount attaches."""
    flags = sys.OPEN_TREE_CLONE | (sys.AT_RECURSIVE if recursive else 0)
    return sys.open_tree(directory, source, flags | (0 if source else sys.AT_EMPTY_PATH))


def peer_groups_of(path: str) -> tuple[str, set[str]]:
    """Where the mount that ``path`` is in is mounted, and which of ``shared`` and ``master`` (a slave's) it is.
    proc_pid_mountinfo(5)"""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
            number = next(line.split()[1] for line in file if line.startswith(b"mnt_id:"))
    finally:
        os.close(fd)
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            words = line.split(b" ")
            if words[0] == number:
                fields = words[6 : words.index(b"-")]
                return os.fsdecode(words[4]), {field.partition(b":")[0].decode() for field in fields}
    return "?", set()


def clone_tree_of(pid: int, path: str) -> int:
    """A detached copy of the mount at ``path``, as process ``pid`` sees it, links not followed. Only mounts of the
    caller's own mount namespace can be copied, so this one is entered and left again: the root and the working
    directory of the process are then the root of its own. Raises OSError."""
    own, theirs = (os.open(f"/proc/{which}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC) for which in ("self", pid))
    try:
        sys.setns(theirs, sys.CLONE_NEWNS)
        try:
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                where = open_in_root(root, path, os.O_PATH, sys.RESOLVE_IN_ROOT | sys.RESOLVE_NO_SYMLINKS)
            finally:
                os.close(root)
            try:
                return clone_tree(b"", directory=where, recursive=False)
            finally:
                os.close(where)
        finally:
            sys.setns(own, sys.CLONE_NEWNS)
    finally:
        os.close(own)
        os.close(theirs)


def clone_proc_of(pid: int, attributes: Iterable[str]) -> int:
    """A detached copy of the procfs that process ``pid`` has at /proc, with the mount attributes ``attributes``.

    Raises OSError, EINVAL when what is there is not the procfs of its pid namespace."""
    tree = clone_tree_of(pid, "/proc")
    try:
        is_proc = sys.filesystem_type(tree) == PROC_SUPER_MAGIC and os.fstat(tree).st_ino == PROC_ROOT_INO
        if not is_proc or not os.path.samestat(
            os.stat("1/ns/pid", dir_fd=tree), os.stat(f"/proc/{pid}/ns/pid")
        ):
            raise OSError(errno.EINVAL, "/proc of the container whose processes are shared is not its procfs")
        sys.mount_setattr(tree, b"", sys.AT_EMPTY_PATH, attribute_flags(attributes), 0, sys.MS_PRIVATE)
    except OSError as error:
        # Before Linux 5.12: then it has the attributes of the one that it is a copy of.
        if error.errno != errno.ENOSYS:
            os.close(tree)
            raise
    return tree


def attach(
    tree: int,
    target: int,
    *,
    attributes: int = 0,
    recursive: bool = False,
    propagation: str = "",
    what: str = "",
) -> None:
    """Give the detached mount ``tree`` its attributes and propagation and attach it on the descriptor ``target``.

    On kernels without mount_setattr the attributes follow the attaching, and go for the topmost mount only."""
    flag, deep = PROPAGATION.get(propagation, (0, False))
    try:
        set_now = 0 if flag == sys.MS_SHARED else flag
        if set_now and attributes and deep == recursive:
            sys.mount_setattr(tree, b"", _empty(deep), attributes, 0, set_now)
        else:
            if set_now:
                sys.mount_setattr(tree, b"", _empty(deep), 0, 0, set_now)
            if attributes:
                sys.mount_setattr(tree, b"", _empty(recursive), attributes, 0)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        sys.move_mount(tree, target, what)
        remount_bind(tree, attributes)
        if flag:
            sys.mount(None, _proc_fd(tree), None, flag | (sys.MS_REC if deep else 0))
        return
    sys.move_mount(tree, target, what)
    if flag == sys.MS_SHARED:
        sys.mount(None, _proc_fd(tree), None, flag | (sys.MS_REC if deep else 0))


def set_propagation(mount: int, propagation: str) -> None:
    """Of the attached mount that the descriptor ``mount`` is the root of. Raises OSError."""
    flag, deep = PROPAGATION[propagation]
    sys.mount(None, _proc_fd(mount), None, flag | (sys.MS_REC if deep else 0))


def _empty(recursive: bool) -> int:
    return sys.AT_EMPTY_PATH | (sys.AT_RECURSIVE if recursive else 0)


def _proc_fd(fd: int) -> bytes:
    return b"/proc/self/fd/%d" % fd


def remount_bind(mount: int, attributes: int) -> None:
    """Set attributes on the attached mount that the descriptor ``mount`` is the root of, the old way. A directory is
    reached as working directory: who prepares a process for another pid namespace is not in the /proc that is there."""
    flags = sys.MS_REMOUNT | sys.MS_BIND
    for bit, old in _OLD_FLAGS.items():
        if attributes & bit:
            flags |= old
    if not stat.S_ISDIR(os.fstat(mount).st_mode):
        sys.mount(None, _proc_fd(mount), None, flags)
        return
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(mount)
        sys.mount(None, b".", None, flags)
    finally:
        os.fchdir(before)
        os.close(before)


def make_read_only(mount: int) -> None:
    """Make the mount behind the descriptor read-only, whether it is attached or not."""
    try:
        sys.mount_setattr(mount, b"", sys.AT_EMPTY_PATH, sys.MOUNT_ATTR_RDONLY, 0)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        remount_bind(mount, sys.MOUNT_ATTR_RDONLY)


def open_in_root(root: int, path: str, flags: int = os.O_PATH, resolve: int = IN_ROOT) -> int:
    """Open ``path`` as a process rooted at ``root`` would see it: links cannot lead outside."""
    return sys.openat2(root, os.fsencode(path.lstrip("/") or "."), flags, resolve)


def refuse_proc(where: int, path: str) -> None:
    """Raises OSError for a place to mount on, found at ``path``, that is inside of a procfs: a link of the image may
    lead there, and what is told to a process or the kernel through a covered file is told to nobody. CVE-2019-16884"""
    if sys.filesystem_type(where) == PROC_SUPER_MAGIC:
        raise OSError(errno.EPERM, f"{path} leads into /proc, where nothing can be mounted")


LINKS_LIMIT = 40
"""As the kernel's own, path_resolution(7)."""


def follow_missing(root: int, path: str) -> list[str]:
    """The components of ``path`` with all links in it followed as a process rooted at ``root`` would, also those that
    lead to where nothing is yet. Raises OSError (ELOOP)."""
    waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    found: list[str] = []
    links = 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            del found[-1:]
            continue
        try:
            fd = open_in_root(root, "/".join((*found, part)), os.O_PATH | os.O_NOFOLLOW)
        except FileNotFoundError:
            found.append(part)
            continue
        try:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                found.append(part)
                continue
            text = os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
        links += 1
        if links > LINKS_LIMIT:
            raise OSError(errno.ELOOP, f"{path}: {os.strerror(errno.ELOOP)}")
        if text.startswith("/"):
            found.clear()
        waiting += [part for part in reversed(text.split("/")) if part not in ("", ".")]
    return found


def make_directories(root: int, path: str, *, mode: int = 0o755, uid: int = -1, gid: int = -1) -> int:
    """``mkdir -p`` inside ``root``; returns an O_PATH descriptor of the directory. Raises NotADirectoryError."""
    try:
        return open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    if (made := _make_last(root, path, mode, uid, gid)) >= 0:
        return made
    parts = follow_missing(root, path)
    current = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    for depth, part in enumerate(parts, 1):
        prefix = "/".join(parts[:depth])
        try:
            following = open_in_root(root, prefix, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            try:
                _make_directory(part, current, mode, uid, gid)
            except FileExistsError:
                pass
            following = open_in_root(root, prefix, os.O_PATH | os.O_DIRECTORY)
        os.close(current)
        current = following
    return current


def _make_last(root: int, path: str, mode: int, uid: int, gid: int) -> int:
    """The usual case of :func:`make_directories`: only the last component is missing. -1 when it is not that (a link
    to nowhere is there, too)."""
    above, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        return -1
    try:
        parent = open_in_root(root, above, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return -1
    try:
        _make_directory(name, parent, mode, uid, gid)
        return open_in_root(parent, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileExistsError:
        return -1
    finally:
        os.close(parent)


def _make_directory(name: str, parent: int, mode: int, uid: int, gid: int) -> None:
    os.mkdir(name, mode, dir_fd=parent)
    if uid != -1 or gid != -1:
        os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)


def make_mount_point(root: int, path: str, *, directory: bool) -> int:
    """A descriptor of ``path`` inside ``root`` to mount on, made (with its parents) when missing.

    Raises NotADirectoryError or IsADirectoryError when what is there does not fit."""
    if directory:
        return make_directories(root, path)
    try:
        found = open_in_root(root, path)
    except FileNotFoundError:
        *above, name = follow_missing(root, path)
        parent = make_directories(root, "/".join(above))
        try:
            fd = os.open(
                name,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o755,
                dir_fd=parent,
            )
            os.close(fd)
            return sys.openat2(parent, os.fsencode(name), os.O_PATH | os.O_NOFOLLOW, sys.RESOLVE_NO_SYMLINKS)
        finally:
            os.close(parent)
    if stat.S_ISDIR(os.fstat(found).st_mode):
        os.close(found)
        raise IsADirectoryError(errno.EISDIR, f"{path} is a directory, what is to be mounted there is a file")
    return found


def overlay(
    layers: Sequence[int],
    upper: int | None,
    work: int | None,
    target: bytes,
    options: str = "",
    *,
    is_volatile: bool = False,
) -> None:
    """Mount an overlay of the directories behind ``layers`` (topmost first) and ``upper`` on ``target``.

    Directories are named by their descriptor's number with ``/proc/self/fd`` as working directory, so that the 4096
    bytes of mount(2) hold the kernel's maximum of 500 layers wherever they are, with any character in their path.
    The working directory of the process is then ``/``. An upper directory holds whole files and directories, as layers
    of images do, whatever the kernel's defaults are (filesystems/overlayfs.rst: redirect_dir, metacopy). In a volatile
    one nothing that programs sync is waited for, and it can be mounted once.
    """
    text = overlay_options(layers, upper, work, is_volatile=is_volatile)
    os.chdir("/proc/self/fd")
    try:
        sys.mount(b"overlay", target, b"overlay", 0, (text + options).encode())
    except OSError as error:
        # A disk may have room for one more file, but not for what an overlay makes of its own.
        if work is not None and (refusal.refusal(".", work) or kernel_limits.is_far_from_most_mounts()):
            raise
        raise kernel_limits.of_mounts(error, "mount overlay") from None
    finally:
        os.chdir("/")


def overlay_options(
    layers: Sequence[int], upper: int | None, work: int | None, *, is_volatile: bool = False
) -> str:
    """What :func:`overlay` gives to mount(2), with /proc/self/fd as working directory."""
    text = "redirect_dir=off,metacopy=off,lowerdir=" + ":".join(map(str, layers))
    if upper is not None and work is not None:
        text += f",upperdir={upper},workdir={work}{',volatile' if is_volatile else ''}"
    return text


def can_set_attributes() -> bool:
    """Whether there is mount_setattr(2), Linux 5.12."""
    try:
        sys.mount_setattr(-1, b"", sys.AT_EMPTY_PATH, 0, 0)
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True
