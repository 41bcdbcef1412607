"""The last steps of a process into a container: limits, identity, confinement, working directory, execve.

Used by a container's first process and by every exec, both already inside the container's namespaces and root.
Nothing here may import, load or look up anything by name through libraries: the files around are the container's.
Order matters throughout; each step says why it stands where it stands.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import os
import select
import signal
import socket
import stat
import struct
import termios
from collections.abc import Iterable, Sequence
from typing import Any

from runtime.container.failure import CANNOT_EXECUTE, NOT_FOUND, Failure, step
from runtime.container.programs import find_program
from runtime.kernel import capabilities, kernel_limits, rlimits, seccomp, syscalls, users
from runtime.kernel.users import Identity

CHANNEL = 3
"""Where the descriptor on which failures are reported ends up; it is closed by execve."""


def become(
    process: dict[str, Any],
    identity: Identity,
    *,
    channel: int,
    keep: Sequence[int] = (),
    dies_with_parent: bool = True,
) -> int:
    """Turn into ``process`` up to, not including, execve. 0, 1 and 2 are in place.

    All other descriptors are closed but ``channel``, which moves to :data:`CHANNEL`, and ``keep``, which move to
    ``CHANNEL + 1`` and on. Returns the first descriptor that is not in use. Raises Failure."""
    confinement = process["confinement"]
    with step("limits"):
        for number, soft, hard in confinement["rlimits"]:
            rlimits.set_limit(number, soft, hard)
    with step("stdio"):
        _own_streams(identity.uid)
    process["env"] = with_home(process["env"], identity)
    # It is entered when no descriptor of the host is left that a path of the image (/proc/self/fd/7) could name:
    # CVE-2024-21626.
    free = _close_descriptors(channel, keep)
    with step(f'working directory "{process["cwd"]}"', CANNOT_EXECUTE):
        os.chdir(process["cwd"])
        if not os.getcwdb().startswith(b"/"):
            raise OSError(errno.ENOENT, "it is outside of the container's root")
    os.umask(process["umask"])
    restore_signals()
    program = base64.b64decode(confinement["seccomp"])
    with step("confinement"):
        # Without no_new_privs a filter can only be installed with CAP_SYS_ADMIN, so before capabilities go.
        if program and not confinement["no_new_privs"]:
            seccomp.install(program)
        capabilities.limit_bounding(confinement["bounding"])
        os.setgroups(identity.groups)
        capabilities.become(identity.uid, identity.gid, confinement["effective"])
        if confinement["no_new_privs"]:
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
            if program:
                seccomp.install(program)
    if dies_with_parent:
        # Again: the change of credentials has cleared it.
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    return free


def identify(process: dict[str, Any], root: int) -> Identity:
    """Who ``process`` is to be, by the files below the descriptor ``root``. Raises Failure."""
    with step("user"):
        return users.resolve(root, process["user"], process["groups"])


def with_home(env: list[str], identity: Identity) -> list[str]:
    """``env`` with the user's HOME where it has none."""
    return env if any(item.startswith("HOME=") for item in env) else [*env, f"HOME={identity.home}"]


def can_fork(process: dict[str, Any]) -> bool:
    """Whether ``process`` can still become a child of itself when it is confined; unknown to cores of before."""
    return bool(process["confinement"].get("may_fork", False))


def can_trace(process: dict[str, Any]) -> bool:
    """Whether ``process``, and with it all others of its container, may have the right to trace any of them."""
    return bool(process["confinement"]["bounding"] >> capabilities.NUMBERS["SYS_PTRACE"] & 1)


def die_with(channel: socket.socket) -> None:
    """End when the parent does, which has the other end of ``channel``: said too late, when it has ended by now."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    end = select.poll()
    end.register(channel, 0)
    if end.poll(0):
        os._exit(125)


def forget_parent(kept: Iterable[int]) -> None:
    """Close what was inherited but ``kept``, and have /dev/null as standard streams: who may trace this process
    (CAP_SYS_PTRACE, in a pid namespace that it shares) sees its descriptors as soon as it is inside. CVE-2016-9962"""
    signal.set_wakeup_fd(-1)
    start = 3
    for fd in sorted(fd for fd in set(kept) if fd >= start):
        if fd > start:
            syscalls.close_range(start, fd - 1)
        start = fd + 1
    syscalls.close_range(start)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def _close_descriptors(channel: int, keep: Sequence[int]) -> int:
    # Out of the way first: CHANNEL, or one behind it, may be their number.
    kept = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in keep]
    if channel != CHANNEL:
        os.dup2(channel, CHANNEL, inheritable=False)
    free = CHANNEL + 1
    for fd in kept:
        os.dup2(fd, free, inheritable=False)
        free += 1
    syscalls.close_range(free)
    return free


def _own_streams(uid: int) -> None:
    """Let the user reopen its standard streams (``/dev/stdout``): pipes and terminals belong to who made them."""
    for fd in (0, 1, 2):
        if is_to_be_owned(fd, uid):
            try:
                os.fchown(fd, uid, -1)
            except OSError as error:
                if error.errno not in NOT_OWNED:
                    raise


NOT_OWNED = (errno.EPERM, errno.EROFS, errno.EINVAL)
"""What fchown(2) says of a stream that stays whose it is."""


def is_to_be_owned(fd: int, uid: int) -> bool:
    """Whether ``fd`` is a standard stream of somebody else's that can be ``uid``'s."""
    state = os.fstat(fd)
    is_null = stat.S_ISCHR(state.st_mode) and state.st_rdev == os.makedev(1, 3)
    return not is_null and state.st_uid != uid and not stat.S_ISREG(state.st_mode)


IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)


def restore_signals() -> None:
    """Default dispositions and an empty mask. Only what is ignored outlives execve: by the shim, and by Python; the
    keeper has seen to the others."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def execute(argv: list[str], env: list[str], image: str = "") -> None:
    """execve with a search of PATH. Raises Failure with Docker's texts and exit statuses; ``image`` is for them."""
    program = find_program(argv[0], env, image)
    words = [os.fsencode(word) for word in argv]
    try:
        os.execve(os.fsencode(program), words, variables(env))
    except OSError as error:
        text = os.strerror(error.errno or 0).lower()
        code = NOT_FOUND if error.errno == errno.ENOENT else CANNOT_EXECUTE
        raise Failure("exec", error.errno or 0, f"exec {program}: {text}", code) from None


def variables(env: Iterable[str]) -> dict[bytes, bytes]:
    """``NAME=value`` as execve(2) gets it: the last of each name."""
    found = {}
    for item in env:
        name, _, value = os.fsencode(item).partition(b"=")
        found[name] = value
    return found


def open_terminal(devpts: int, window: Sequence[int]) -> tuple[int, int]:
    """A new pseudo terminal of the devpts whose root ``devpts`` is: (master, slave), both close-on-exec. pts(4)
    ``window``: rows and columns."""
    try:
        master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=devpts)
    except OSError as error:
        raise kernel_limits.of_terminals(error) from None
    try:
        fcntl.ioctl(master, TIOCSPTLCK, b"\0\0\0\0")
        # The peer by descriptor: /dev/pts/N is a name that the container controls.
        slave = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        set_window_size(master, *window)
    except BaseException:
        os.close(master)
        raise
    return master, slave


TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441


def take_control() -> None:
    """Make the terminal that is 0 the controlling one of a session leader."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def take_streams(streams: tuple[int, int, int]) -> None:
    """Put three descriptors, none of which is 0, 1 or 2, in the place of the standard streams."""
    for target, fd in enumerate(streams):
        os.dup2(fd, target)


def set_window_size(terminal: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ; the foreground process group gets SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
