"""Removing trees that somebody else filled: by directory descriptor, no link followed, no mount crossed.

Large trees are first renamed into a trash directory of the same file system (one atomic step), then deleted
whenever there is time, by :func:`empty_trash`: what an interrupted deletion leaves is found again at the next
start.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from runtime.errors import ComposerError
from runtime.storage.files import storage_error

TRASH = ".trash"


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Remove a file or a directory with everything in it; what does not exist is already removed.

    Works in any depth with a bounded number of descriptors, does not follow symbolic links and refuses to
    descend into another file system (EXDEV): a mount point below ``path`` is an error, never emptied.
    """
    try:
        parent = os.open(os.path.dirname(os.path.abspath(path)), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, "remove", path) from error
    try:
        remove_at(parent, os.path.basename(os.path.abspath(path)))
    except OSError as error:
        raise storage_error(error, "remove", path) from error
    finally:
        os.close(parent)


def _open_directory(name: str, parent: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def remove_at(parent: int, name: str) -> None:
    """:func:`remove_tree` of an entry of the directory behind a descriptor. Raises OSError."""
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
    try:
        root = _open_directory(name, parent)
    except NotADirectoryError:
        # unlink was refused for another reason than this being a directory (an immutable file): say that one.
        os.unlink(name, dir_fd=parent)
        return
    try:
        device = os.fstat(root).st_dev
        if device != os.fstat(parent).st_dev:
            raise OSError(errno.EXDEV, "is a mount point")
        _empty(root, device)
    finally:
        os.close(root)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=parent)


def _empty(root: int, device: int) -> None:
    """Empty the directory ``root``. The tree is walked by going down with a name and up with "..", which is
    checked, so that depth costs no descriptors and nobody's rename leads out of the tree."""
    current = os.dup(root)
    above: list[tuple[str, int, list[str]]] = []
    pending = _unlink_files(current)
    try:
        while True:
            if pending:
                name = pending.pop()
                child = _descend(name, current, device)
                if child is None:
                    continue
                above.append((name, os.fstat(current).st_ino, pending))
                os.close(current)
                current = child
                pending = _unlink_files(current)
                continue
            if not above:
                return
            name, inode, pending = above.pop()
            parent = _open_directory("..", current)
            os.close(current)
            current = parent
            if os.fstat(current).st_ino != inode:
                raise OSError(errno.EBUSY, f"{name} was moved while it was removed")
            os.rmdir(name, dir_fd=current)
    finally:
        os.close(current)


def _unlink_files(directory: int) -> list[str]:
    """Unlink all but the directories, which are returned."""
    subdirectories: list[str] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                subdirectories.append(entry.name)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.name, dir_fd=directory)
    return subdirectories


def _descend(name: str, parent: int, device: int) -> int | None:
    """Remove an empty directory (None), or open it for being emptied."""
    try:
        os.rmdir(name, dir_fd=parent)
        return None
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    child = _open_directory(name, parent)
    if os.fstat(child).st_dev != device:
        os.close(child)
        raise OSError(errno.EXDEV, f"{name} is a mount point")
    return child


def discard(path: Path, trash: Path) -> None:
    """Make ``path`` disappear at once by renaming it into ``trash`` (a directory of the same file system)."""
    try:
        trash.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.rename(path, trash / f"{path.name[:100]}-{secrets.token_hex(8)}")
    except FileNotFoundError:
        if not os.path.lexists(path):
            return
        raise ComposerError(f"remove {path}: the trash {trash} vanished") from None
    except OSError as error:
        raise storage_error(error, "remove", path) from error


def empty_trash(trash: Path) -> list[str]:
    """Delete what :func:`discard` put aside. Blocking: for a thread. Returns what could not be deleted, and
    why."""
    problems: list[str] = []
    try:
        names = os.listdir(trash)
    except FileNotFoundError:
        return problems
    for name in names:
        try:
            remove_tree(trash / name)
        except ComposerError as error:
            problems.append(error.message)
    return problems
