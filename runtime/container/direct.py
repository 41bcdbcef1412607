"""A process beside init as a list of system calls (``runtime.kernel.script``): what ``runtime.container.execute`` does
in a fork of the shim, for programs without a terminal, in containers that may not trace.

Nothing of the container is looked at here, in the shim, which a file of the container's could make wait. So what has
to be read in there (who a user is) is remembered from an exec that went the other way, and good for as long as the
files it is from are the same. Whatever fails is done again the other way, which can say why. Standard library only.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import os
import signal
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from runtime.container import launch, process
from runtime.container.programs import search_path
from runtime.kernel import (
    apparmor,
    capabilities,
    cgroup_lifecycle,
    mounts,
    namespaces,
    script,
    seccomp,
    sockets,
    syscalls,
)
from runtime.kernel.script import Runner, Script
from runtime.kernel.users import Identity

_INIT = process.CHANNEL + 1
_HIGH = 16
"""The least number of a descriptor that nothing is put in the place of."""
_WRITE_ONLY = os.O_WRONLY | os.O_CLOEXEC
_STAT, _IDENTITY, _CHANGED = 144, (0, 16), (104, 16)
_DEVICE = 40
"""``struct stat``: its size; where device and inode, and the time of the last change, are (offset, bytes); where the
device number of a device is."""


class Known(NamedTuple):
    """Who a user was, and the files that said so."""

    identity: Identity
    seen: tuple[tuple[bytes, bytes], ...]
    """Of each of :data:`USER_FILES`: device and inode, time of the last change; zeros when it is not there."""


USER_FILES = ("/etc/passwd", "/etc/group")
_RECENT = 2.0
"""Seconds that a file must not have changed for: a change within a tick of the clock shows in nothing else."""
_ABSENT = (0, 0, 0)


def look_up(program: dict[str, Any], root: int, channel: socket.socket) -> Identity:
    """In a fork that is in the container, whose root ``root`` is: who ``program`` is to be, told to the shim where it
    may be remembered. Raises Failure."""
    before = [_look(path) for path in USER_FILES]
    identity = process.identify(program, root)
    after = [_look(path) for path in USER_FILES]
    message: dict[str, Any] = {"identity": None}
    if program["tools"] is None and before == after and None not in before:
        message = {"identity": (identity.uid, identity.gid, identity.groups, identity.home), "seen": before}
    # In any case: the first such message is this one, and not of whoever has traced what this process becomes.
    sockets.send_packet(channel, message)
    return identity


def _look(path: str) -> tuple[int, int, int] | None:
    """Device, inode, nanoseconds of the last change; None for what may be changing."""
    try:
        state = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return _ABSENT
    except OSError:
        return None
    return None if time.time() - state.st_ctime < _RECENT else (state.st_dev, state.st_ino, state.st_ctime_ns)


class _Given(NamedTuple):
    """About a standard stream."""

    is_there: bool
    is_to_be_owned: bool


_Key = tuple[dict[str, Any], Known, list[_Given], list[str]]


class Direct:
    """The shim's."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self.begun = 0
        """How many it has begun."""
        self._runner: Runner | None = None
        self._is_possible = True
        self._known: dict[tuple[str, tuple[str, ...]], Known] = {}
        self._last: tuple[_Key, script.Table] | None = None

    def remember(self, program: dict[str, Any], message: dict[str, Any]) -> None:
        """That a fork has looked ``program``'s user up: ``message`` is from :func:`look_up`."""
        if message["identity"] is None or process.can_trace(program) or not process.can_fork(program):
            return  # or the fork was in others' reach
        uid, gid, groups, home = message["identity"]
        seen = tuple(
            (struct.pack("=2Q", *where), struct.pack("=2q", *divmod(changed, 1_000_000_000)))
            for *where, changed in message["seen"]
        )
        if len(self._known) >= 16:
            self._known.clear()
        self._known[_user_of(program)] = Known(Identity(uid, gid, tuple(groups), home), seen)

    def start(self, program: dict[str, Any], init: int, streams: launch.Streams) -> int | None:
        """Begin it in the container of ``init`` (a pidfd): a descriptor to hear the rest from
        (:data:`script.NEWS`, until it executes); None where it has to be done the other way."""
        known = self._known.get(_user_of(program))
        if known is None or program["tty"] or program["tools"] or process.can_trace(program):
            return None
        if not process.can_fork(program):
            return None
        if self._runner is None and self._is_possible:
            self._runner = script.runner()
            self._is_possible = self._runner is not None
        if self._runner is None:
            return None
        ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        opened = [theirs]
        try:
            given = {"channel": theirs, "init": init}
            given |= {name: fd for name, fd in streams._asdict().items() if fd >= 0}
            if self._spec["cgroup"]["version"] == 2:
                directory = self._spec["cgroup"]["directories"][0]
                given["cgroup"] = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                opened.append(given["cgroup"])
            table = self._table(program, known, streams, self._runner.base)
            self._runner.run(table, {name: _high(fd, opened) for name, fd in given.items()})
            self.begun += 1
            return ours
        except (OSError, script.TooLong):
            os.close(ours)
            return None
        finally:
            for fd in opened:
                os.close(fd)

    def _table(
        self, program: dict[str, Any], known: Known, streams: launch.Streams, base: int
    ) -> script.Table:
        """A probe is the same one each time: the last one is kept."""
        given = [
            _Given(fd >= 0, fd >= 0 and process.is_to_be_owned(fd, known.identity.uid)) for fd in streams
        ]
        cgroups = (
            []
            if self._spec["cgroup"]["version"] == 2
            else cgroup_lifecycle.files_to_join(self._spec["cgroup"])
        )
        key = (program, known, given, cgroups)
        if self._last is None or self._last[0] != key:
            text = Script(base)
            _write(text, self._spec, *key)
            self._last = (key, text.finished())
        return self._last[1]

    def step_aside(self) -> None:
        """Before a fork that needs memory."""
        if self._runner is not None:
            self._runner.show()


def _user_of(program: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    return program["user"], tuple(program["groups"])


def _high(fd: int, opened: list[int]) -> int:
    if fd >= _HIGH:
        return fd
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    opened.append(copy)
    return copy


def _write(
    text: Script,
    spec: dict[str, Any],
    program: dict[str, Any],
    known: Known,
    streams: Sequence[_Given],
    cgroups: Sequence[str],
) -> None:
    """The order and its reasons are those of ``execute.join`` and ``process.become``."""
    text.begin("channel", process.CHANNEL, cgroup="cgroup" if spec["cgroup"]["version"] == 2 else "")
    _on_the_host(text, spec, program["confinement"], streams, cgroups)
    _become(text, spec["id"], program, known, streams)
    _confine(text, program, known.identity)
    text.hand_over()
    text.call("setsid")
    _execute(text, program, known.identity)


def _on_the_host(
    text: Script,
    spec: dict[str, Any],
    confinement: dict[str, Any],
    streams: Sequence[_Given],
    cgroups: Sequence[str],
) -> None:
    for tasks in cgroups:
        _write_file(text, tasks, b"0")
    if confinement["oom_score_adj"]:
        _write_file(text, "/proc/self/oom_score_adj", b"%d" % confinement["oom_score_adj"])
    if confinement["apparmor"]:
        _write_file(text, apparmor.attribute(), b"exec " + os.fsencode(confinement["apparmor"]))
    # Nothing of the host's is left when somebody inside could see it. CVE-2016-9962
    path = text.text("/dev/null")
    _open_null(text, streams, "openat", syscalls.AT_FDCWD, path, os.O_RDWR | os.O_CLOEXEC)
    for number, (name, given) in enumerate(zip(launch.Streams._fields, streams, strict=True)):
        if given.is_there:
            text.call("dup3", name, number, 0)
    text.call("dup3", "init", _INIT, os.O_CLOEXEC)
    text.call("close_range", _INIT + 1, 0xFFFFFFFF, 0)
    text.call("setns", _INIT, namespaces.to_enter(spec["namespaces"]))
    if spec["namespaces"]["pid"] != "host":
        text.call("setns", _INIT, syscalls.CLONE_NEWPID)
    text.call("close_range", _INIT, 0xFFFFFFFF, 0)


def _write_file(text: Script, path: str, content: bytes) -> None:
    """The descriptor is closed with all others."""
    text.call(
        "openat", syscalls.AT_FDCWD, text.text(path), _WRITE_ONLY, store=text.address_of(text.next + 1, 0)
    )
    text.call("write", 0, text.keep(content), len(content))


def _open_null(text: Script, streams: Sequence[_Given], call: str, *arguments: int) -> None:
    """Have what ``call`` opens as those standard streams that are not given."""
    targets = [number for number, given in enumerate(streams) if not given.is_there]
    if targets:
        text.call(call, *arguments, store=text.address_of(text.next + 1, 0))
        text.call("dup3", 0, targets[0], 0)
        found = text.keep(bytes(_STAT))
        # What else has that name the other way does without.
        is_null = (found + _DEVICE, text.keep(struct.pack("=Q", os.makedev(1, 3))), 8)
        text.call("newfstatat", targets[0], text.text(""), found, syscalls.AT_EMPTY_PATH, compare=is_null)
        for target in targets[1:]:
            text.call("dup3", targets[0], target, 0)


def _become(
    text: Script, container: str, program: dict[str, Any], known: Known, streams: Sequence[_Given]
) -> None:
    """In the container's namespaces."""
    keyring = text.text(f"_ses.{container}")
    text.call("keyctl", syscalls.KEYCTL_JOIN_SESSION_KEYRING, keyring, passing=syscalls.WITHOUT_KEYRINGS)
    how = text.keep(struct.pack("=3Q", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC, 0, mounts.IN_ROOT))
    _open_null(text, streams, "openat2", syscalls.AT_FDCWD, text.text("/dev/null"), how, 24)
    for path, seen in zip(USER_FILES, known.seen, strict=True):
        found = text.keep(bytes(_STAT))
        for (offset, length), expected in zip((_IDENTITY, _CHANGED), seen, strict=True):
            text.call(
                "newfstatat",
                syscalls.AT_FDCWD,
                text.text(path),
                found,
                0,
                passing=() if any(seen[0]) else (errno.ENOENT, errno.ENOTDIR),
                compare=(found + offset, text.keep(expected), length),
            )
    for limit, soft, hard in program["confinement"]["rlimits"]:
        text.call("prlimit64", 0, limit, text.keep(struct.pack("=2q", soft, hard)), 0)
    for number, given in enumerate(streams):
        if given.is_to_be_owned:
            text.call("fchown", number, known.identity.uid, -1, passing=process.NOT_OWNED)
    text.call("close_range", process.CHANNEL + 1, 0xFFFFFFFF, 0)
    text.call("chdir", text.text(program["cwd"]))
    place = text.keep(bytes(4096))
    text.call("getcwd", place, 4096, compare=(place, text.text("/"), 1))
    text.call("umask", program["umask"])
    by_default = text.keep(bytes(32))
    for signal_number in process.IGNORED:
        text.call("rt_sigaction", signal_number, by_default, 0, 8)
    text.call("rt_sigprocmask", signal.SIG_SETMASK, text.keep(bytes(8)), 0, 8)


def _confine(text: Script, program: dict[str, Any], identity: Identity) -> None:
    confinement = program["confinement"]
    rules = base64.b64decode(confinement["seccomp"])
    filter_ = text.keep(struct.pack("=HxxxxxxQ", len(rules) // seccomp.INSTRUCTION_SIZE, text.keep(rules)))
    install = ("prctl", seccomp.PR_SET_SECCOMP, seccomp.SECCOMP_MODE_FILTER, filter_, 0, 0)
    if rules and not confinement["no_new_privs"]:
        text.call(*install)
    for number in range(capabilities.SETS):
        if not confinement["bounding"] >> number & 1:
            text.call("prctl", capabilities.PR_CAPBSET_DROP, number, 0, 0, 0, passing=(errno.EINVAL,))
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


def _execute(text: Script, program: dict[str, Any], identity: Identity) -> None:
    """As ``runtime.container.programs`` finds it: what no directory of PATH has is looked for by that."""
    name = program["argv"][0]
    env = process.with_home(program["env"], identity)
    argv = text.vector(program["argv"])
    variables = text.vector(b"=".join(item) for item in process.variables(env).items())
    if "/" in name:
        text.call("execve", text.text(name), argv, variables)
        return
    for directory in search_path(env):
        path = text.text(f"{directory or '.'}/{name}")
        executable = 1
        text.call(
            "faccessat",
            syscalls.AT_FDCWD,
            path,
            executable,
            passing=(errno.ENOENT, errno.ENOTDIR),
            jump=text.address_of(text.next + 2),
        )
        text.call("execve", path, argv, variables)
    nothing_open = -1
    text.call("dup3", nothing_open, nothing_open, 0)  # fails
