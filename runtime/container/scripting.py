"""What becomes a process of a container by a list of system calls (``runtime.kernel.script``): what a container's
first process and execs have in common. The order and its reasons are those of ``runtime.container.process``. Standard
library only.
"""

from __future__ import annotations

import base64
import errno
import os
import signal
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from runtime.container import process
from runtime.container.programs import search_path
from runtime.kernel import apparmor, capabilities, seccomp, syscalls
from runtime.kernel.script import STAT, Script
from runtime.kernel.users import Identity

USER_FILES = ("/etc/passwd", "/etc/group")
DEVICE_AND_INODE, INODE, CHANGED, MODE, KIND = (0, 16), (8, 8), (104, 16), 24, 25
"""``struct stat``: where device and inode, the inode alone, and the time of the last change are (offset,
bytes); type and permissions; the byte of these that tells the type of a file whose owner may read it."""
DIRECTORIES, REGULAR_FILE, NULL_DEVICE = (b"\x41", b"\x43", b"\x45"), b"\x81", b"\x21"
"""What that byte is of directories (one with a sticky bit, and one that hands its group on), files, and devices."""
_DEVICE = 40
"""Where the device number of a device is."""
_WRITE_ONLY = os.O_WRONLY | os.O_CLOEXEC


class Given(NamedTuple):
    """About a standard stream."""

    is_there: bool
    is_to_be_owned: bool


Seen = Sequence[tuple[tuple[tuple[int, int], bytes], ...]]
"""Of each of :data:`USER_FILES`: what is in which place (offset, bytes) of its ``struct stat``; nothing when it is not
there."""


def changed_at(nanoseconds: int) -> bytes:
    """As it stands in ``struct stat``."""
    return struct.pack("=2q", *divmod(nanoseconds, 1_000_000_000))


def write_file(text: Script, path: str, content: bytes) -> None:
    """The descriptor is closed with all others."""
    text.call(
        "openat", syscalls.AT_FDCWD, text.text(path), _WRITE_ONLY, store=text.address_of(text.next + 1, 0)
    )
    text.call("write", 0, text.keep(content), len(content))


def enter_cgroups(text: Script, confinement: dict[str, Any], tasks: Sequence[str]) -> None:
    """On the host: the files in ``tasks`` (v1), and what is said through the host's /proc."""
    for path in tasks:
        write_file(text, path, b"0")
    if confinement["oom_score_adj"]:
        write_file(text, "/proc/self/oom_score_adj", b"%d" % confinement["oom_score_adj"])
    if confinement["apparmor"]:
        write_file(text, apparmor.attribute(), b"exec " + os.fsencode(confinement["apparmor"]))


def open_null(text: Script, streams: Sequence[Given], call: str, *arguments: int) -> None:
    """Have what ``call`` opens as those standard streams that are not given."""
    targets = [number for number, given in enumerate(streams) if not given.is_there]
    if targets:
        text.call(call, *arguments, store=text.address_of(text.next + 1, 0))
        text.call("dup3", 0, targets[0], 0)
        check_null(text, targets[0])
        for target in targets[1:]:
            text.call("dup3", targets[0], target, 0)


def check_null(text: Script, fd: int) -> None:
    """What else has that name fails."""
    found = text.keep(bytes(STAT))
    is_null = (found + _DEVICE, text.keep(struct.pack("=Q", os.makedev(1, 3))), 8)
    text.call("newfstatat", fd, text.text(""), found, syscalls.AT_EMPTY_PATH, compare=is_null)
    is_device = (found + KIND, text.keep(NULL_DEVICE), 1)
    text.call("newfstatat", fd, text.text(""), found, syscalls.AT_EMPTY_PATH, compare=is_device)


def join_keyring(text: Script, container: str) -> None:
    keyring = text.text(f"_ses.{container}")
    text.call("keyctl", syscalls.KEYCTL_JOIN_SESSION_KEYRING, keyring, passing=syscalls.WITHOUT_KEYRINGS)


def _check_seen(text: Script, path: int, parts: tuple[tuple[tuple[int, int], bytes], ...]) -> None:
    found = text.keep(bytes(STAT))
    for (offset, length), expected in parts:
        compare = (found + offset, text.keep(expected), length)
        text.call("newfstatat", syscalls.AT_FDCWD, path, found, 0, compare=compare)
    if not parts:
        row = text.next
        text.call("newfstatat", syscalls.AT_FDCWD, path, found, 0, passing=(errno.ENOENT, errno.ENOTDIR))
        fail(text)
        text.aim(row)


def fail(text: Script) -> None:
    nothing_open = -1
    text.call("dup3", nothing_open, nothing_open, 0)


def become(
    text: Script, program: dict[str, Any], identity: Identity, seen: Seen, streams: Sequence[Given]
) -> None:
    """In the container's root, up to, not including, the confinement; ``identity`` is good while its files are as they
    were ``seen``."""
    for path, parts in zip(USER_FILES, seen, strict=True):
        _check_seen(text, text.text(path), parts)
    for limit, soft, hard in program["confinement"]["rlimits"]:
        text.call("prlimit64", 0, limit, text.keep(struct.pack("=2q", soft, hard)), 0)
    for number, given in enumerate(streams):
        if given.is_to_be_owned:
            text.call("fchown", number, identity.uid, -1, passing=process.NOT_OWNED)
    text.call("close_range", process.CHANNEL + 1, 0xFFFFFFFF, 0)
    text.call("chdir", text.text(program["cwd"]))
    place = text.keep(bytes(4096))
    text.call("getcwd", place, 4096, compare=(place, text.text("/"), 1))
    text.call("umask", program["umask"])
    by_default = text.keep(bytes(32))
    for signal_number in process.IGNORED:
        text.call("rt_sigaction", signal_number, by_default, 0, 8)
    text.call("rt_sigprocmask", signal.SIG_SETMASK, text.keep(bytes(8)), 0, 8)


def confine(text: Script, program: dict[str, Any], identity: Identity) -> None:
    confinement = program["confinement"]
    rules = base64.b64decode(confinement["seccomp"])
    filter_ = text.keep(struct.pack("=HxxxxxxQ", len(rules) // seccomp.INSTRUCTION_SIZE, text.keep(rules)))
    install = ("prctl", seccomp.PR_SET_SECCOMP, seccomp.SECCOMP_MODE_FILTER, filter_, 0, 0)
    if rules and not confinement["no_new_privs"]:
        text.call(*install)
    last_ones = []
    for number in range(capabilities.SETS):
        if not confinement["bounding"] >> number & 1:
            last_ones.append(text.next)
            text.call("prctl", capabilities.PR_CAPBSET_DROP, number, 0, 0, 0, passing=(errno.EINVAL,))
    text.aim(*last_ones)  # those beyond are not of this kernel
    text.call(
        "setgroups",
        len(identity.groups),
        text.keep(struct.pack(f"={len(identity.groups)}I", *identity.groups)),
    )
    text.call(
        "prctl",
        capabilities.PR_CAP_AMBIENT,
        capabilities.PR_CAP_AMBIENT_CLEAR_ALL,
        0,
        0,
        0,
        passing=range(64),
    )
    text.call("setresgid", identity.gid, identity.gid, identity.gid)
    text.call("setresuid", identity.uid, identity.uid, identity.uid)
    header, data = capabilities.sets(confinement["effective"] if identity.uid == 0 else 0)
    text.call("capset", text.keep(header), text.keep(data))
    if confinement["no_new_privs"]:
        text.call("prctl", syscalls.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if rules:
            text.call(*install)


def execute(text: Script, program: dict[str, Any], identity: Identity) -> None:
    """As ``runtime.container.programs`` finds it: what no directory of PATH has is looked for by that."""
    name = program["argv"][0]
    env = process.with_home(program["env"], identity)
    argv = text.vector(program["argv"])
    variables = text.vector(b"=".join(item) for item in process.variables(env).items())
    if "/" in name:
        text.call("execve", text.text(name), argv, variables)
        return
    found = text.keep(bytes(STAT))
    for directory in search_path(env):
        path = text.text(f"{directory or '.'}/{name}")
        # No other call than a fork makes: a profile may end processes for what it does not list.
        is_missing = text.next
        missing = (errno.ENOENT, errno.ENOTDIR)
        text.call("newfstatat", syscalls.AT_FDCWD, path, found, 0, passing=missing)
        text.call("execve", path, argv, variables)
        text.aim(is_missing)
    fail(text)
