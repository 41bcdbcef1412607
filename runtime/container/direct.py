"""A process beside init as a list of system calls (``runtime.kernel.script``): what ``runtime.container.execute`` does
in a fork of the shim, for programs without a terminal, in containers that may not trace.

Nothing of the container is looked at here, in the shim, which a file of the container's could make wait. So what has
to be read in there (who a user is) is remembered from an exec that went the other way, and good for as long as the
files it is from are the same. Whatever fails is done again the other way, which can say why. Standard library only.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from runtime.container import launch, process, scripting
from runtime.container.scripting import USER_FILES, Given
from runtime.kernel import cgroup_lifecycle, mounts, namespaces, script, sockets, syscalls
from runtime.kernel.script import Runner, Script
from runtime.kernel.users import Identity

_INIT = process.CHANNEL + 1
_HIGH = 16
"""The least number of a descriptor that nothing is put in the place of."""


class Known(NamedTuple):
    """Who a user was, and the files that said so."""

    identity: Identity
    seen: scripting.Seen


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


_Key = tuple[dict[str, Any], Known, list[Given], list[str]]


class Direct:
    """The shim's."""

    def __init__(self, spec: dict[str, Any], runner: Runner | None) -> None:
        self._spec = spec
        self._runner = runner
        self.begun = 0
        """How many it has begun."""
        self._known: dict[tuple[str, tuple[str, ...]], Known] = {}
        self._last: tuple[_Key, script.Table] | None = None

    def remember(self, program: dict[str, Any], message: dict[str, Any]) -> None:
        """That a fork has looked ``program``'s user up: ``message`` is from :func:`look_up`."""
        if message["identity"] is None or process.can_trace(program) or not process.can_fork(program):
            return  # or the fork was in others' reach
        uid, gid, groups, home = message["identity"]
        seen = tuple(
            (
                (scripting.DEVICE_AND_INODE, struct.pack("=2Q", *where)),
                (scripting.CHANGED, scripting.changed_at(changed)),
            )
            if any(where)
            else ()
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
        if self._runner is None or not process.can_fork(program):
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
            table = self._table(program, known, streams)
            self._runner.run(table, {name: _high(fd, opened) for name, fd in given.items()})
            self.begun += 1
            return ours
        except (OSError, script.TooLong):
            os.close(ours)
            return None
        finally:
            for fd in opened:
                os.close(fd)

    def _table(self, program: dict[str, Any], known: Known, streams: launch.Streams) -> script.Table:
        """A probe is the same one each time: the last one is kept."""
        given = [Given(fd >= 0, fd >= 0 and process.is_to_be_owned(fd, known.identity.uid)) for fd in streams]
        cgroups = (
            []
            if self._spec["cgroup"]["version"] == 2
            else cgroup_lifecycle.files_to_join(self._spec["cgroup"])
        )
        key = (program, known, given, cgroups)
        if self._last is None or self._last[0] != key:
            text = Script()
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
    streams: Sequence[Given],
    cgroups: Sequence[str],
) -> None:
    """The order and its reasons are those of ``execute.join`` and ``process.become``."""
    text.begin("channel", process.CHANNEL, cgroup="cgroup" if spec["cgroup"]["version"] == 2 else "")
    _on_the_host(text, spec, program["confinement"], streams, cgroups)
    scripting.join_keyring(text, spec["id"])
    how = text.keep(struct.pack("=3Q", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC, 0, mounts.IN_ROOT))
    null = text.text("/dev/null")
    scripting.open_null(text, streams, "openat2", syscalls.AT_FDCWD, null, how, 24)
    scripting.become(text, program, known.identity, known.seen, streams)
    scripting.confine(text, program, known.identity)
    text.hand_over()
    text.call("setsid")
    scripting.execute(text, program, known.identity)


def _on_the_host(
    text: Script,
    spec: dict[str, Any],
    confinement: dict[str, Any],
    streams: Sequence[Given],
    cgroups: Sequence[str],
) -> None:
    scripting.enter_cgroups(text, confinement, cgroups)
    # Nothing of the host's is left when somebody inside could see it. CVE-2016-9962
    path = text.text("/dev/null")
    scripting.open_null(text, streams, "openat", syscalls.AT_FDCWD, path, os.O_RDWR | os.O_CLOEXEC)
    for number, (name, given) in enumerate(zip(launch.Streams._fields, streams, strict=True)):
        if given.is_there:
            text.call("dup3", name, number, 0)
    text.call("dup3", "init", _INIT, os.O_CLOEXEC)
    text.call("close_range", _INIT + 1, 0xFFFFFFFF, 0)
    text.call("setns", _INIT, namespaces.to_enter(spec["namespaces"]))
    if spec["namespaces"]["pid"] != "host":
        text.call("setns", _INIT, syscalls.CLONE_NEWPID)
    text.call("close_range", _INIT, 0xFFFFFFFF, 0)
