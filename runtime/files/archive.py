"""Tars out of and into a container's root, as ``docker cp`` moves files: nothing leads outside the root.

Every path is resolved below the root's descriptor (openat2(2), RESOLVE_IN_ROOT), what is read or made is reached by
descriptor, and the last name is never followed, so whoever changes links meanwhile only changes his own files.
Blocking, all of it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.files.tree import OPAQUE, check_layer_name, is_whiteout
from runtime.image import tar as reading
from runtime.image.unpack import normalise
from runtime.kernel import mounts, syscalls
from runtime.storage.removal import remove_at

_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}
_OF_THE_KERNEL = {
    0x9FA0: "proc",
    0x62656572: "sysfs",
    0x27E0EB: "cgroup",
    0x63677270: "cgroup2",
    0x1CD1: "devpts",
    0x19800202: "mqueue",
    0x64626720: "debugfs",
    0x74726163: "tracefs",
    0x73636673: "securityfs",
    0xCAFE4A11: "bpf",
}
"""File systems that hold no files, by their magic numbers. linux/magic.h"""
_MOST_OF_THE_KERNEL = 1 << 20
"""Bytes of one file there: its size is not known before it was read."""
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Found:
    """Something in a container, the last link of its path not followed."""

    name: str
    size: int
    mode: int
    """As in stat(2)."""
    mtime: float
    link_target: str = ""
    """Where a link leads in the end, from the root on."""


def stat_path(root: int, path: str) -> Found:
    """What is at ``path``. Raises NotFound."""
    with _opened(root, path) as fd:
        status = os.fstat(fd)
        target = ""
        if stat.S_ISLNK(status.st_mode):
            target = "/" + "/".join(mounts.follow_missing(root, path))
        name = posixpath.basename(posixpath.normpath("/" + path)) or "/"
        return Found(name, status.st_size, status.st_mode, status.st_mtime, target)


def write_path(root: int, path: str, target: IO[bytes], *, name: str = "") -> None:
    """A tar of ``path`` under ``name``, else its own ("." when it ends so); of what it is a link to when it ends
    in "/". Raises NotFound."""
    own = "." if path.endswith("/.") else posixpath.basename(path.rstrip("/")) or "/"
    with _opened(root, path) as fd:
        _write(fd, name or own, target, device=None)


def write_root(root: int, target: IO[bytes]) -> None:
    """A tar of the root's own files: other mounts are empty in it."""
    _write(root, "", target, device=os.fstat(root).st_dev)


def write_layer(upper: int, target: IO[bytes]) -> None:
    """The layer of what is in an overlay's upper directory: what hides something becomes a ``.wh.`` name.
    OCI image-spec, layer.md"""
    _write(upper, "", target, device=None, is_layer=True)


@contextlib.contextmanager
def _opened(root: int, path: str) -> Iterator[int]:
    """An O_PATH descriptor of ``path``; its last link is followed when "/" or "/." stands behind it."""
    try:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not parts or parts[-1] == ".." or path.endswith(("/", "/.")):
            fd = mounts.open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
        else:
            above = mounts.open_in_root(root, "/".join(parts[:-1]), os.O_PATH | os.O_DIRECTORY)
            try:
                flags = syscalls.RESOLVE_NO_MAGICLINKS | syscalls.RESOLVE_BENEATH
                fd = syscalls.openat2(above, os.fsencode(parts[-1]), _PATH, flags)
            finally:
                os.close(above)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"Could not find the file {path} in container") from None
    except OSError as error:
        if (
            error.errno == errno.ELOOP
        ):  # links in a circle, or into a process (/proc/1/root): they lead nowhere
            raise NotFound(f"Could not find the file {path} in container") from None
        raise ComposerError(f"{path} in the container: {os.strerror(error.errno or 0)}") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _write(fd: int, name: str, target: IO[bytes], *, device: int | None, is_layer: bool = False) -> None:
    """Everything at and below ``fd``. Kernel file systems are empty in it, unless it begins in one."""
    links: dict[tuple[int, int], str] = {}
    is_kernels = is_of_the_kernel(fd)
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        waiting: list[tuple[int, str, Iterator[str]]] = []
        try:
            if _add(tar, fd, name, device, links, is_layer, is_kernels):
                waiting.append(_listing(fd, name))
            while waiting:
                directory, prefix, names = waiting[-1]
                child = next(names, None)
                if child is None:
                    os.close(waiting.pop()[0])
                    continue
                try:
                    inner = os.open(child, _PATH, dir_fd=directory)
                except OSError:
                    continue  # it was removed meanwhile
                try:
                    path = f"{prefix}/{child}" if prefix else child
                    is_descended = _add(tar, inner, path, device, links, is_layer, is_kernels)
                    if is_descended and (is_kernels or not is_of_the_kernel(inner)):
                        waiting.append(_listing(inner, path))
                except (FileNotFoundError, ProcessLookupError):
                    continue  # what a process has in /proc goes with it
                finally:
                    os.close(inner)
        finally:
            for directory, _, _ in waiting:
                os.close(directory)


def _listing(fd: int, name: str) -> tuple[int, str, Iterator[str]]:
    directory = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return directory, name, iter(sorted(os.listdir(directory)))


def _add(
    tar: tarfile.TarFile,
    fd: int,
    name: str,
    device: int | None,
    links: dict[tuple[int, int], str],
    is_layer: bool,
    is_kernels: bool = False,
) -> bool:
    """Write one entry; whether it is a directory to be gone through."""
    status = os.fstat(fd)
    kind = stat.S_IFMT(status.st_mode)
    if is_layer and is_whiteout(status):
        above, _, hidden = name.rpartition("/")
        tar.addfile(tarfile.TarInfo(f"{above}/.wh.{hidden}".lstrip("/")))
        return False
    if is_layer:
        check_layer_name(name)
    if kind not in _TYPES:
        return False  # sockets have no place in a tar
    is_elsewhere = device is not None and status.st_dev != device
    info = tarfile.TarInfo(name)
    info.type, info.mode = _TYPES[kind], stat.S_IMODE(status.st_mode)
    info.uid, info.gid, info.mtime = status.st_uid, status.st_gid, int(status.st_mtime)
    if kind == stat.S_IFLNK:
        info.linkname = os.readlink("", dir_fd=fd)
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    elif kind == stat.S_IFREG and is_kernels:
        return _add_read(tar, fd, info)
    elif kind == stat.S_IFREG and not is_elsewhere:
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and key in links:
            info.type, info.linkname = tarfile.LNKTYPE, links[key]
        else:
            links[key] = name
            info.size = status.st_size
            info.pax_headers = _attributes(fd, is_layer)
            content = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(content, "rb", buffering=0) as file:
                tar.addfile(info, _Padded(file))  # type: ignore[arg-type]
            return False
    if name:
        if kind == stat.S_IFDIR and is_layer:
            info.pax_headers = _attributes(fd, is_layer)
        tar.addfile(info)
        if kind == stat.S_IFDIR and is_layer and hides_all_below(fd):
            tar.addfile(tarfile.TarInfo(f"{name}/.wh..wh..opq"))
    return kind == stat.S_IFDIR and not is_elsewhere


def _add_read(tar: tarfile.TarFile, fd: int, info: tarfile.TarInfo) -> bool:
    """A file of the kernel's, which has a size only when it has been read; one that does not let itself be read is
    left out."""
    try:
        content = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(content, "rb", buffering=0) as file:
            data = io.BytesIO()
            while data.tell() < _MOST_OF_THE_KERNEL and (
                piece := file.read(_MOST_OF_THE_KERNEL - data.tell())
            ):
                data.write(piece)
    except OSError:
        return False
    info.size = data.tell()
    data.seek(0)
    tar.addfile(info, data)
    return False


def is_of_the_kernel(fd: int) -> bool:
    """Whether ``fd`` is on a file system such as /proc."""
    return syscalls.filesystem_type(fd) in _OF_THE_KERNEL


def hides_all_below(directory: int) -> bool:
    """Whether the directory behind a descriptor is opaque: nothing of lower layers is seen in it."""
    for name in OPAQUE:
        with contextlib.suppress(OSError):
            return os.getxattr(f"/proc/self/fd/{directory}", name) == b"y"
    return False


class _Padded:
    """A file that is as long as it was said to be, also when somebody truncates it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        return data if len(data) == size else data + bytes(size - len(data))


def _attributes(fd: int, is_layer: bool) -> dict[str, str]:
    """Extended attributes as PAX records: in a layer all but the overlay's own, else what programs set and see."""
    path = f"/proc/self/fd/{fd}"
    try:
        names = [n for n in os.listxattr(path) if not n.startswith(("trusted.overlay.", "user.overlay."))]
        values = {
            n: os.getxattr(path, n)
            for n in names
            if is_layer or n == "security.capability" or n.startswith("user.")
        }
    except OSError:
        return {}
    return {f"SCHILY.xattr.{n}": value.decode("utf-8", "surrogateescape") for n, value in values.items()}


def renamed(name: str, old: str, new: str) -> str:
    """``name`` with ``old`` at its beginning replaced; "." is the beginning of every name."""
    if not old:
        return name
    if old == ".":
        return f"{new}/{name}".rstrip("/")
    return new + name[len(old) :] if name == old or name.startswith(f"{old}/") else name


def extract(
    root: int,
    path: str,
    source: reading.Source,
    *,
    keeps_kinds: bool = False,
    keeps_owners: bool = True,
    rename: tuple[str, str] = ("", ""),
) -> None:
    """Unpack a tar in the directory ``path``; ``keeps_kinds``: a directory never replaces a file, nor the other way
    round. ``rename`` is what names begin with in the tar and here. Raises NotFound, InvalidArgument."""
    try:
        os.close(mounts.open_in_root(root, path, os.O_PATH | os.O_DIRECTORY))
    except NotADirectoryError:
        raise InvalidArgument("extraction point is not a directory") from None
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            raise
        raise NotFound(f"Could not find the file {path} in container") from None
    reader = reading.TarReader(source)
    directories: list[tuple[str, int]] = []
    for entry in reader:
        name = renamed(os.fsdecode(normalise(entry.name)), *rename)
        if entry.type == reading.HARD_LINK:
            entry.link = os.fsencode(renamed(os.fsdecode(normalise(entry.link)), *rename))
        if not keeps_owners:
            entry.uid = entry.gid = -1
        where = posixpath.join(path, name)
        try:
            if not name:
                with _directory(root, path) as fd:
                    _set(fd, entry)
            else:
                _extract_one(root, path, where, entry, reader, keeps_kinds)
        except OSError as error:
            raise ComposerError(f"{where} in the container: {os.strerror(error.errno or 0)}") from None
        if entry.type == reading.DIRECTORY:
            directories.append((where, entry.mtime))
    for where, mtime in reversed(directories):
        with contextlib.suppress(OSError), _directory(root, where) as fd:
            os.utime(f"/proc/self/fd/{fd}", ns=(mtime, mtime))


@contextlib.contextmanager
def _directory(root: int, path: str) -> Iterator[int]:
    fd = mounts.open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def _extract_one(
    root: int, base: str, where: str, entry: reading.Entry, reader: reading.TarReader, keeps_kinds: bool
) -> None:
    above, name = posixpath.split(where)
    parent = mounts.make_directories(root, above)
    try:
        is_directory = entry.type == reading.DIRECTORY
        _make_way(parent, name, where, is_directory, keeps_kinds)
        if is_directory:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=parent)
            fd = os.open(name, _PATH | os.O_DIRECTORY, dir_fd=parent)
            try:
                _set(fd, entry)
            finally:
                os.close(fd)
        elif entry.type == reading.HARD_LINK:
            target = posixpath.join(base, os.fsdecode(entry.link))
            with _directory(root, posixpath.dirname(target)) as other:
                os.link(
                    posixpath.basename(target),
                    name,
                    src_dir_fd=other,
                    dst_dir_fd=parent,
                    follow_symlinks=False,
                )
        elif entry.type == reading.SYMBOLIC_LINK:
            os.symlink(os.fsdecode(entry.link), name, dir_fd=parent)
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
        elif (kind := _NODES.get(entry.type)) is not None:
            os.mknod(name, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent)
            fd = os.open(name, _PATH, dir_fd=parent)
            try:
                _set(fd, entry)
            finally:
                os.close(fd)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=parent)
            with open(fd, "wb", buffering=0) as file:
                _fill(file, entry, reader)
                _set(fd, entry)
    finally:
        os.close(parent)


_NODES = {
    reading.FIFO: stat.S_IFIFO,
    reading.CHARACTER_DEVICE: stat.S_IFCHR,
    reading.BLOCK_DEVICE: stat.S_IFBLK,
}


def _make_way(parent: int, name: str, where: str, is_directory: bool, keeps_kinds: bool) -> None:
    try:
        there = stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode)
    except FileNotFoundError:
        return
    if there and is_directory:
        return
    if there != is_directory and keeps_kinds:
        old, new = ("directory", "non-directory") if there else ("non-directory", "directory")
        raise InvalidArgument(f'cannot overwrite {old} "{where}" with {new}')
    if there:
        remove_at(parent, name)
    else:
        os.unlink(name, dir_fd=parent)


def _fill(file: IO[bytes], entry: reading.Entry, reader: reading.TarReader) -> None:
    if entry.sparse is None:
        for piece in reader.data():
            file.write(piece)
        return
    data = b"".join(bytes(piece) for piece in reader.data())
    position = 0
    for offset, length in entry.sparse:
        os.pwrite(file.fileno(), data[position : position + length], offset)
        position += length
    os.ftruncate(file.fileno(), entry.real_size)


def _set(fd: int, entry: reading.Entry) -> None:
    """Owner, mode, attributes and time of what is behind a descriptor."""
    path = f"/proc/self/fd/{fd}"
    os.chown(path, entry.uid, entry.gid)
    os.chmod(path, entry.mode & 0o7777)
    for key, value in entry.xattrs.items():
        if key == b"security.capability" or (
            key.startswith(b"user.") and not key.startswith(b"user.overlay.")
        ):
            with contextlib.suppress(OSError):
                os.setxattr(path, key, value)
    os.utime(path, ns=(entry.mtime, entry.mtime))
