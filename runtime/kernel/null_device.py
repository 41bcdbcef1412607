"""The null device: telling it from what only has its name, and having one where none can be trusted. null(4)"""

from __future__ import annotations

import os
import stat

from runtime.kernel import mounts, syscalls

_NUMBER = os.makedev(1, 3)


def is_it(fd: int) -> bool:
    state = os.fstat(fd)
    return stat.S_ISCHR(state.st_mode) and state.st_rdev == _NUMBER


def make() -> int:
    """One for reading and writing, in no directory of anybody's. Raises OSError."""
    options = (("mode", "0555"), ("size", "4k"), ("nr_inodes", "2"))
    made = mounts.new_filesystem("tmpfs", options, syscalls.MOUNT_ATTR_NOSUID)
    before = os.umask(0)
    try:
        os.mknod("null", stat.S_IFCHR | 0o666, _NUMBER, dir_fd=made)
        return os.open("null", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=made)
    finally:
        os.umask(before)
        os.close(made)
