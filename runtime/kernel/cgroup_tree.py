"""Directories of cgroups, whichever version: making, emptying and removing them, and what is in them. cgroups(7).

A cgroup may have children that the container made; whoever looks at its processes, kills them or removes it means
those as well. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator

SetFrozen = Callable[[str, bool], None]
"""Stops (True) or continues everything in the cgroup with this directory."""
KILL_SECONDS = 5.0
"""How long killed processes may take to be gone."""


def read(path: str) -> str:
    """A cgroup file, "" when it is not there (any more)."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(1 << 20).decode("ascii", "replace")
    except OSError:
        return ""


def read_number(path: str) -> int:
    """A file of one number; 0 for ``max`` and for what is not there."""
    text = read(path).strip()
    return int(text) if text.lstrip("-").isdecimal() else 0


def read_table(path: str) -> dict[str, int]:
    """A flat keyed file (``name value`` lines)."""
    table = {}
    for line in read(path).splitlines():
        name, _, value = line.partition(" ")
        if value.isdecimal():
            table[name] = int(value)
    return table


def write(path: str, text: str) -> None:
    """Each line by itself, as the kernel wants to be told. Raises OSError with the path in it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    line = text
    try:
        for line in text.split("\n"):
            os.write(fd, line.encode("ascii"))
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{path} ({line})") from None
    finally:
        os.close(fd)


def write_setting(directory_files: list[list[str]], device: str, required: bool) -> str:
    """Write one value to the first of the files ``[path, text]`` that is there; ``{device}`` becomes the numbers of
    the block device. Returns a sentence about what had to be left out, or "". Raises OSError."""
    numbers = _device_numbers(device) if device else ""
    for path, text in directory_files:
        try:
            write(path, text.replace("{device}", numbers))
        except FileNotFoundError:
            continue
        except OSError as error:
            if required or error.errno not in (errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.EACCES):
                raise
            continue
        return ""
    path, text = directory_files[0]
    if required:
        raise OSError(errno.EOPNOTSUPP, "this kernel has no such limit", f"{os.path.basename(path)} ({text})")
    return f"{os.path.basename(path)} ({text}): not supported by this kernel, left out"


def _device_numbers(path: str) -> str:
    state = os.stat(path)
    if not stat.S_ISBLK(state.st_mode):
        raise OSError(errno.ENOTBLK, "not a block device", path)
    return f"{os.major(state.st_rdev)}:{os.minor(state.st_rdev)}"


def make_fresh(directory: str, make_parent: Callable[[str], None]) -> None:
    """An empty cgroup with nothing set; one that was left over is emptied and removed first."""
    for _ in range(3):
        try:
            os.mkdir(directory, 0o755)
            return
        except FileExistsError:
            kill(directory)
            remove(directory)
        except FileNotFoundError:
            make_parent(os.path.dirname(directory))
    os.mkdir(directory, 0o755)


def walk(directory: str) -> Iterator[str]:
    """The cgroup and all below it, deepest first."""
    try:
        with os.scandir(directory) as entries:
            children = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for child in children:
        yield from walk(child)
    yield directory


def processes(directory: str) -> list[int]:
    """Process ids (as the reader numbers them) of the cgroup and all below it."""
    found = []
    for cgroup in walk(directory):
        found += [int(pid) for pid in read(f"{cgroup}/cgroup.procs").split()]
    # 0 is a process of another pid namespace: it cannot be named from here.
    return [pid for pid in found if pid > 0]


def kill(directory: str, freeze: SetFrozen | None = None) -> None:
    """SIGKILL for everything in the cgroup; returns when it is empty, at the latest after KILL_SECONDS.

    ``freeze(directory, True or False)`` holds a fork bomb still while it is shot at."""
    deadline = time.monotonic() + KILL_SECONDS
    pause = 0.0005
    rounds = 0
    while pids := processes(directory):
        rounds += 1
        try:
            write(f"{directory}/cgroup.kill", "1")
        except OSError:
            holds_still = freeze is not None and rounds > 1
            if freeze is not None and holds_still:
                with contextlib.suppress(OSError):
                    freeze(directory, True)
                pids = processes(directory)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if freeze is not None:
            # Also what was paused by request: a frozen process of cgroup v1 does not even die.
            with contextlib.suppress(OSError):
                freeze(directory, False)
        if time.monotonic() > deadline:
            return
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def remove(directory: str) -> None:
    """Remove the cgroup and all below it; nothing happens when it is not there.

    The kernel refuses (EBUSY) as long as the last process is being dismantled: tried again for a moment. Raises
    OSError when processes live in it."""
    deadline = time.monotonic() + KILL_SECONDS
    pause = 0.0005
    while True:
        try:
            os.rmdir(directory)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY) or time.monotonic() > deadline:
                raise
        for cgroup in walk(directory):
            with contextlib.suppress(OSError):
                os.rmdir(cgroup)
        if os.path.exists(directory):
            if processes(directory):
                raise OSError(errno.EBUSY, "processes are still in this cgroup", directory)
            time.sleep(pause)
            pause = min(pause * 2, 0.05)


def children(directory: str) -> list[str]:
    """Names of the cgroups directly below."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def has_children(directory: str) -> bool:
    """Whether there are cgroups below: each counts as a link of the directory, beside its own two."""
    try:
        return os.stat(directory).st_nlink > 2
    except FileNotFoundError:
        return False
