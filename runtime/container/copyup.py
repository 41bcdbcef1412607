"""Fill an empty volume with what the image has where the volume will be mounted (Docker's copy-up).

Everything on both sides goes by directory descriptors without following a link, so neither the image nor somebody
who shares the volume can lead a copy elsewhere. A copy that was interrupted is taken up again: ``copying`` beside
the data directory says that it is not complete, and single files appear by rename.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

from runtime.kernel import mounts, syscalls

MARK = "copying"
CHUNK = 1 << 30
_OF_THE_KERNEL = (
    mounts.PROC_SUPER_MAGIC,
    mounts.SYSFS_MAGIC,
    mounts.CGROUP_SUPER_MAGIC,
    mounts.CGROUP2_SUPER_MAGIC,
)
"""What images have nothing in: what links lead to there is this machine's, or of who copies, and not masked yet."""


def fill_volume(root: int, target: str, data_dir: str) -> None:
    """Copy ``target`` of ``root`` into ``data_dir`` when that is empty, owner and mode of the directory included.

    Raises OSError (ENOSPC ...). Two containers that start with the same volume take turns."""
    data = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=data)
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)
        if os.listdir(data) and not _exists(parent, MARK):
            return
        try:
            source = mounts.open_in_root(root, target, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            os.close(os.open(MARK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=parent))
            copy_directory(source, data)
            os.unlink(MARK, dir_fd=parent)
        finally:
            os.close(source)
    finally:
        os.close(parent)
        os.close(data)


def is_filled(data_dir: str) -> bool:
    """Whether :func:`fill_volume` has nothing to do, whatever the image has. Raises OSError."""
    with os.scandir(data_dir) as entries:
        is_empty = next(entries, None) is None
    return not is_empty and not os.path.lexists(os.path.join(os.path.dirname(data_dir), MARK))


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def copy_directory(source: int, destination: int, links: dict[tuple[int, int], int] | None = None) -> None:
    """Copy entries, owner, mode, extended attributes and times of ``source`` onto ``destination``; what is there
    already stays. Hard links within the tree stay hard links."""
    opened: dict[tuple[int, int], int] = {} if links is None else links
    """Copies of files that have several names, by device and inode of the original."""
    if syscalls.filesystem_type(source) in _OF_THE_KERNEL:
        return
    try:
        for name in os.listdir(source):
            state = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(state.st_mode):
                _copy_subdirectory(source, destination, name, opened)
            elif not _exists(destination, name):
                _copy_entry(source, destination, name, state, opened)
        _copy_metadata(source, destination, os.fstat(source))
    finally:
        if links is None:
            for fd in opened.values():
                os.close(fd)


def _copy_subdirectory(source: int, destination: int, name: str, opened: dict[tuple[int, int], int]) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=destination)
    with (
        _closing(os.open(name, flags, dir_fd=source)) as inner_source,
        _closing(os.open(name, flags, dir_fd=destination)) as inner_destination,
    ):
        copy_directory(inner_source, inner_destination, opened)


class _closing:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _copy_entry(
    source: int, destination: int, name: str, state: os.stat_result, opened: dict[tuple[int, int], int]
) -> None:
    if stat.S_ISREG(state.st_mode):
        key = (state.st_dev, state.st_ino)
        if key in opened:
            os.link(f"/proc/self/fd/{opened[key]}", name, dst_dir_fd=destination, follow_symlinks=True)
            return
        copy = _copy_file(source, destination, name)
        if state.st_nlink > 1 and len(opened) < 256:
            opened[key] = copy
        else:
            os.close(copy)
    elif stat.S_ISLNK(state.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=destination)
        os.chown(name, state.st_uid, state.st_gid, dir_fd=destination, follow_symlinks=False)
    elif stat.S_ISSOCK(state.st_mode):
        return
    else:
        os.mknod(name, state.st_mode, state.st_rdev, dir_fd=destination)
        os.chown(name, state.st_uid, state.st_gid, dir_fd=destination, follow_symlinks=False)
        os.chmod(name, stat.S_IMODE(state.st_mode), dir_fd=destination)


def _copy_file(source: int, destination: int, name: str) -> int:
    """Copy one file under a temporary name, then rename; returns a descriptor of the copy."""
    temporary = ".composer-copy"
    with _closing(
        os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
    ) as reader:
        if not stat.S_ISREG(os.fstat(reader).st_mode):
            raise OSError(errno.ESTALE, f"{name} changed while it was copied")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=destination)
        writer = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=destination
        )
        try:
            while os.sendfile(writer, reader, None, CHUNK):
                pass
            _copy_metadata(reader, writer, os.fstat(reader))
            os.rename(temporary, name, src_dir_fd=destination, dst_dir_fd=destination)
        except BaseException:
            os.close(writer)
            raise
    return writer


def _copy_metadata(source: int, destination: int, state: os.stat_result) -> None:
    os.fchown(destination, state.st_uid, state.st_gid)
    os.fchmod(destination, stat.S_IMODE(state.st_mode))
    for attribute in os.listxattr(source):
        if attribute.startswith(("user.", "security.capability", "system.posix_acl")):
            try:
                os.setxattr(destination, attribute, os.getxattr(source, attribute))
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
    os.utime(destination, ns=(state.st_atime_ns, state.st_mtime_ns))
