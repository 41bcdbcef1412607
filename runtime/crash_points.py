"""Named places between an intent and its effect, where a test can hold a process still, kill it, or make it fail.

With the environment variable COMPOSER_CRASH_POINTS a process maps the file that it names when it starts; what the
process forks has the mapping too, also inside a container's root, until it executes something else. The test writes
into the file which point it waits for (:class:`Switchboard`). Whoever comes by marks it as reached and waits there
until it is released (or killed), or fails with an error number. Without the variable a point is one comparison.
Standard library only.
"""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap

ENVIRONMENT = "COMPOSER_CRASH_POINTS"

POINTS = {
    # The command that starts an engine.
    "cli.engine.forked": "the keeper has a process, and the command waits for it",
    # The keeper.
    "keeper.engine.locked": "the engine's lock is taken",
    "keeper.engine.listening": "the socket is there, and no core yet",
    "keeper.engine.forked": "the core has a process",
    "keeper.start.asked": "a container is to be started; no shim yet",
    "keeper.start.forked": "the shim has a process; the core does not know yet",
    "keeper.start.answered": "the core knows of the shim",
    "keeper.start.stored": "published ports are held",
    "keeper.names.accepted": "who asks for names over TCP has a connection; the core does not know",
    "keeper.exit.reaped": "a shim has ended",
    # A shim.
    "shim.start.begun": "it knows what to start",
    "shim.start.reserved": "there is room for an exit status, and a log",
    "shim.start.grouped": "the cgroup is made",
    "shim.start.listening": "the shim can be found by a later core",
    "shim.start.forked": "the container's first process is there",
    "shim.start.executed": "the container runs its program",
    "shim.start.reported": "the core was told so",
    "shim.fail.undoing": "a start has failed; nothing is undone yet",
    "shim.fail.written": "how it failed is on the disk",
    "shim.exec.asked": "an exec is to be started",
    "shim.exec.forked": "its first process is there",
    "shim.exec.reported": "the core knows of it",
    "shim.exec.ended": "it has ended, and nobody knows",
    "shim.exit.seen": "the container's first process has ended",
    "shim.exit.killed": "all others are killed",
    "shim.exit.logged": "everything written is in the log",
    "shim.exit.written": "the exit status is on the disk",
    "shim.exit.ungrouped": "the cgroup is gone",
    "shim.exit.closed": "the shim can no longer be found",
    "shim.exit.told": "the core was told how it ended",
    # A container's first process, until it executes its program.
    "init.start.born": "it is there, with its descriptors",
    "init.start.grouped": "it is in its cgroup, and in the host's namespaces",
    "init.start.networked": "its network namespace is there and connected",
    "init.start.isolated": "it has all its namespaces",
    "init.start.mounting": "the next operation on its root is to be done",
    "init.start.configured": "its network is ready",
    "init.start.entered": "it is in its root",
    "init.start.confined": "nothing is left to do but to execute",
    "init.start.doubled": "with an init: its program has a process",
    # What runs beside it.
    "exec.exec.born": "an exec's first process, on the host",
    "exec.exec.joined": "it is in the container's namespaces",
    "exec.exec.forked": "the second one is there, and the shim does not know",
    "exec.exec.inside": "the second one, in the pid namespace",
    "exec.exec.confined": "nothing is left to do but to execute",
    # The core.
    "core.network.recorded": "a network is in the database",
    "core.network.bridged": "its bridge is there, without rules",
    "core.network.ruled": "its bridge has rules",
    "core.network-rm.unruled": "a network is not in the database any more, and its rules are gone",
    "core.network-rm.unbridged": "its bridge is gone",
    "core.connect.leased": "a running container has addresses on one more network, and no interface",
    "core.connect.attached": "it has the interface; ports, names and files do not know",
    "core.connect.followed": "all know; the database still says that it joins",
    "core.connect-first.opened": "it was on none until now; names can be asked for, and its shim does not know",
    "core.connect-first.kept": "its shim knows",
    "core.disconnect.recorded": "a running container has left a network, and has the interface",
    "core.disconnect.detached": "the interface is gone; ports, names and files do not know",
    "core.volume.made": "a volume has a directory, and is not in the database",
    "core.volume-rm.moved": "its directory is out of the way, its record still there",
    "core.volume-rm.forgotten": "its record is gone",
    "core.create.leased": "a container has addresses; it is nowhere yet",
    "core.create.volumes": "its volumes are made",
    "core.create.recorded": "it is in the database",
    "core.start.wanted": "that it is to run is in the database",
    "core.start.reserved": "its ports are bound, and in the firewall",
    "core.start.connected": "its networks and files are there",
    "core.start.prepared": "all about its start is decided",
    "core.start.written": "launch.json is written",
    "core.start.asked": "the keeper has forked a shim",
    "core.start.launched": "it runs; the database does not say so",
    "core.start.recorded": "the database says so; nobody watches over it yet",
    "core.fail.seen": "a start has failed; nothing is undone yet",
    "core.fail.recorded": "how it failed is in the database",
    "core.exec.asked": "an exec is decided",
    "core.exec.started": "it runs",
    "core.exec.ended": "it has ended",
    "core.stop.recorded": "that it is not to run is in the database",
    "core.stop.signalled": "it has got its signal",
    "core.stop.killed": "it has got SIGKILL",
    "core.stop.ended": "its end is known; who asked is not answered",
    "core.exit.seen": "its end is known, and not in the database",
    "core.exit.recorded": "how it ended is in the database",
    "core.exit.released": "ports and names are given back",
    "core.restart.waited": "its back-off is over",
    "core.remove.recorded": "that it is being removed is in the database",
    "core.remove.released": "ports and names are given back",
    "core.remove.cleaned": "its files are gone",
    "core.remove.emptied": "its anonymous volumes are gone",
    "core.remove.forgotten": "it is not in the database any more",
    "core.engine.opened": "the database is open, and nothing else done",
    "core.engine.adopted": "what runs is adopted; nothing is swept",
    "core.engine.swept": "what belongs to nobody is gone",
    "core.engine.served": "requests are answered; the keeper does not know",
    "core.engine.ending": "it is to end; the keeper does not know",
}
"""``process.operation.step``, and what is true there."""

_SIZE = 4096
_HEAD = struct.Struct("=BBHI")
"""State, how often to pass first, error number, the process that is there (in its own pid namespace)."""
_OFF, _ARMED, _REACHED, _RELEASED = range(4)


def _map(path: str) -> mmap.mmap | None:
    if not path:
        return None
    import mmap

    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return mmap.mmap(fd, _SIZE)
    finally:
        os.close(fd)


_page = _map(os.environ.get(ENVIRONMENT, ""))


def crash_point(name: str) -> None:
    """The process is at the point ``name``. Raises OSError where a test wants it to."""
    if _page is not None:
        _pass(_page, name)


def is_armed(prefix: str) -> bool:
    """Whether a test waits for somebody at a point whose name begins like this."""
    return _page is not None and _page[0] == _ARMED and _page[_HEAD.size :].startswith(prefix.encode())


def _pass(page: mmap.mmap, name: str) -> None:
    state, skip, error, _ = _HEAD.unpack_from(page)
    if state != _ARMED or page[_HEAD.size : _SIZE].partition(b"\0")[0] != name.encode():
        return
    if skip:
        _HEAD.pack_into(page, 0, _ARMED, skip - 1, error, 0)
        return
    _HEAD.pack_into(page, 0, _RELEASED if error else _REACHED, 0, error, os.getpid())
    if error:
        raise OSError(error, os.strerror(error))
    while page[0] == _REACHED:
        time.sleep(0.001)


class Switchboard:
    """A test's end of the file: one point at a time."""

    def __init__(self, path: str) -> None:
        with open(path, "wb") as file:
            file.truncate(_SIZE)
        page = _map(path)
        assert page is not None
        self._page = page

    def arm(self, name: str, *, skip: int = 0, error: int = 0) -> None:
        """Wait for the next process at ``name``, after ``skip`` others; ``error``: let it fail and go on."""
        if name not in POINTS:
            raise KeyError(name)
        self._page[_HEAD.size : _SIZE] = name.encode().ljust(_SIZE - _HEAD.size, b"\0")
        _HEAD.pack_into(self._page, 0, _ARMED, skip, error, 0)

    @property
    def reached(self) -> int:
        """The process that is, or was, at the point, as it numbers itself; 0 while nobody has come by."""
        pid: int = _HEAD.unpack_from(self._page)[3]
        return pid

    def release(self) -> None:
        """Let it go on; nobody is held any more."""
        self._page[0] = _RELEASED
