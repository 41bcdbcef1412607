"""The root of the process tree: small, standard library only, one thread; started by the first command.

Holds the engine's lock and listening socket, starts the core (and starts it again when it dies), forks a shim for
each container, and holds descriptors for cores to come. It is not dumpable and runs from a read-only view of the
interpreter: what it forks is, until execve, this interpreter inside a container, and ``/proc/<pid>/exe`` must not
lead a container to a file of the host that can be written (CVE-2019-5736).

Command line: ``<run directory> <core's argv ...>``; a keeper that replaces one that was killed gets its inheritance
from the core in the environment (see ``bootstrap.replace_keeper``).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import os
import resource
import signal
import socket
import sys
import time
import warnings
from typing import NoReturn

from runtime.container import refusing, shim
from runtime.container.failure import errno_of, reason_of
from runtime.container.loop import BREATH, Loop
from runtime.container.watchdog import Watchdog
from runtime.container.watchdog import kill as kill_core
from runtime.crash_points import crash_point
from runtime.kernel import mounts, oom_kills, page_sharing, script, sockets, syscalls
from runtime.kernel.process_limits import reached_limit
from runtime.kernel.sockets import Message

CORE_ENVIRONMENT = "COMPOSER_KEEPER"
"""For the core: ``socket,listener,lock,keeper's pid``."""
REPLACEMENT_ENVIRONMENT = "COMPOSER_REPLACED_KEEPER"
"""For a keeper that a core starts: ``socket,listener,lock,core's pid``."""
LIMIT_ENVIRONMENT = "COMPOSER_KEEPER_NOFILE"
"""Descriptors that a container may have (the soft limit), for a keeper that takes over."""
READ_ONLY_ENVIRONMENT = "COMPOSER_KEEPER_IS_READ_ONLY"
NOTIFY_ENVIRONMENT = "COMPOSER_KEEPER_NOTIFY"
"""Descriptor of a pipe to which :data:`READY`, :data:`LOCKED` or :data:`FAILED` is written."""
READY, LOCKED, FAILED = b"ready", b"locked", b"failed"

FIRST_DELAY, LAST_DELAY = 0.05, 10.0
"""Seconds before a core that died is started again: doubled each time, from the start after a good run."""
LAST_DELAY_OF_SERVING = 1.0
"""Seconds at most where the one that died has served: somebody may be waiting for its like."""
LONG_ENOUGH = 10.0


def main() -> NoReturn:
    """Run as ``python -c``'s target with ``sys.argv`` as told above."""
    run_dir, core_argv = sys.argv[1], sys.argv[2:]
    if READ_ONLY_ENVIRONMENT not in os.environ:
        execute_read_only()
    del os.environ[READ_ONLY_ENVIRONMENT]
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    syscalls.prctl(syscalls.PR_SET_NAME, b"composer-keeper")
    os.umask(0o077)
    # A warning would look up source files, in a fork of this even inside a container, and print among its output.
    warnings.simplefilter("ignore")
    # Whatever the command that started this one ignored: no container is to inherit it.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Nor does a cgroup of version 1 let real-time processes in that has no time for them, as a new one has not.
    if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK in (os.SCHED_FIFO, os.SCHED_RR):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    inherited = os.environ.pop(REPLACEMENT_ENVIRONMENT, "")
    keeper = Keeper(run_dir, core_argv)
    if inherited:
        connection, listener, lock, core = map(int, inherited.split(","))
        keeper.take_over(connection, listener, lock, core)
    else:
        keeper.open()
    gc.collect()
    page_sharing.end_warming_up()
    page_sharing.keep_large_blocks()
    gc.freeze()
    gc.disable()
    keeper.snapshot = page_sharing.share()
    keeper.runner = script.runner() if mounts.can_set_attributes() else None
    keeper.serve()
    os._exit(0)


def execute_read_only() -> None:
    """Execute this interpreter again through a view of it that cannot be written, whoever has it open.

    A read-only clone of its mount costs nothing; where that is not possible, a sealed copy in memory."""
    program = os.path.realpath(sys.executable)
    argv = [os.fsencode(word) for word in (sys.executable, *sys.orig_argv[1:])]
    os.environ[READ_ONLY_ENVIRONMENT] = "1"
    env = [os.fsencode(f"{name}={value}") for name, value in os.environ.items()]
    try:
        view = syscalls.open_tree(syscalls.AT_FDCWD, os.fsencode(program), syscalls.OPEN_TREE_CLONE)
        syscalls.mount_setattr(view, b"", syscalls.AT_EMPTY_PATH, syscalls.MOUNT_ATTR_RDONLY, 0)
    except OSError:
        view = sealed_copy(program)
    syscalls.execveat(view, argv, env)


def sealed_copy(path: str) -> int:
    """A memfd with the content of ``path`` that nobody can change."""
    memory = os.memfd_create("composer-keeper", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(path, "rb") as file:
        while os.sendfile(memory, file.fileno(), None, 1 << 30):
            pass
    os.fchmod(memory, 0o500)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
    return memory


class Keeper:
    """State: the lock, the listener, the core, the store."""

    def __init__(self, run_dir: str, core_argv: list[str]) -> None:
        self._run_dir = run_dir
        self._core_argv = core_argv
        self._loop = Loop()
        self._lock = -1
        self._listener = -1
        self._watchdog: Watchdog | None = None
        self._core = -1
        self._core_pidfd = -1
        self._core_started = 0.0
        oom_kills.watch()
        self._delay = 0.0
        self._connection: socket.socket | None = None
        self._store: dict[str, list[int]] = {}
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = (int(os.environ.pop(LIMIT_ENVIRONMENT, soft)), hard)
        """Of descriptors, as the command that started this had it: so containers have it."""
        # Core and keeper hold some for each container, and neither uses select(2), for whose sake the limit is low.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.snapshot: page_sharing.Snapshot | None = None
        """Of this process's memory when it began to serve: for its forks."""
        self.runner: script.Runner | None = None
        """For the same, which inherit what it has made."""
        self._is_ending = False
        self._has_served = False
        """This core has said that it serves."""
        self._unserved = 0
        """Cores in a row that have died before they had."""
        self._was_ready = False
        """A core has said that it serves: from then on one that dies is started again."""
        self._notify = int(os.environ.pop(NOTIFY_ENVIRONMENT, "-1"))
        """Pipe to the command that started this keeper and waits."""
        if self._notify >= 0:
            os.set_inheritable(self._notify, False)

    # Beginning

    def open(self) -> None:
        """Take the lock and listen; ends when another engine has it."""
        os.makedirs(self._run_dir, 0o711, exist_ok=True)
        os.chmod(self._run_dir, 0o711)
        path = os.path.join(self._run_dir, "engine.lock")
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._say(LOCKED)
            os._exit(0)
        crash_point("keeper.engine.locked")
        path = os.path.join(self._run_dir, "engine.sock")
        self._listener = sockets.listen(path, socket.SOCK_STREAM, mode=0o660).detach()
        crash_point("keeper.engine.listening")
        self._loop.on_children(self._child_ended)
        self._watch_listener()
        self._start_core()

    def take_over(self, connection: int, listener: int, lock: int, core: int) -> None:
        """Go on where a killed keeper stopped, beside the core that started this one."""
        for fd in (connection, listener, lock):
            os.set_inheritable(fd, False)
        self._lock, self._listener, self._core = lock, listener, core
        self._was_ready = self._has_served = True
        self._loop.on_children(self._child_ended)
        self._core_started = time.monotonic()
        self._watch_core(socket.socket(fileno=connection))
        try:
            self._core_pidfd = os.pidfd_open(core)
        except ProcessLookupError:
            self._core_gone(False)
            return
        self._loop.watch(self._core_pidfd, lambda _: self._core_gone(False))
        self._watch_listener()
        self._core_serves()

    def _watch_listener(self) -> None:
        address = os.path.join(self._run_dir, "engine.sock")
        self._watchdog = Watchdog(self._loop, self._listener, address, self._core_hangs)

    def _core_serves(self) -> None:
        if self._watchdog is not None:
            self._watchdog.watch(self._core)

    def _core_hangs(self, seconds: float) -> None:
        _complain(f"the core (pid {self._core}) has not answered for {seconds:g} s; killing it")
        kill_core(self._core)

    def _start_core(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._core_started = time.monotonic()
        self._has_served = False
        own = os.getpid()
        self._core = os.fork()
        if self._core == 0:
            self._execute_core(theirs, own)
        crash_point("keeper.engine.forked")
        theirs.close()
        self._watch_core(ours)

    def _execute_core(self, connection: socket.socket, keeper: int) -> NoReturn:
        """``keeper``: its pid. Where it has been killed meanwhile, the parent is somebody else, for whose end the core
        would wait for ever."""
        try:
            for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            descriptors = (connection.fileno(), self._listener, self._lock)
            for fd in descriptors:
                os.set_inheritable(fd, True)
            environment = dict(os.environ)
            environment[LIMIT_ENVIRONMENT] = str(self._limit[0])
            environment[CORE_ENVIRONMENT] = ",".join(map(str, (*descriptors, keeper)))
            os.umask(0o022)
            os.execve(self._core_argv[0], self._core_argv, environment)
        except BaseException as error:
            _complain(f"cannot start the core: {error}")
        os._exit(127)

    def _watch_core(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._loop.watch(connection.fileno(), lambda _: self._hear_any(connection))

    # Serving

    def serve(self) -> None:
        """Until the core has ended on purpose."""
        self._loop.run()

    def _hear_any(self, connection: socket.socket) -> None:
        self._hear(connection)

    def _hear(self, connection: socket.socket) -> bool:
        """Answer one request; False when there is none."""
        try:
            packet = sockets.receive_packet(connection)
        except BlockingIOError:
            return False
        except sockets.PacketLost as error:
            with contextlib.suppress(OSError):
                sockets.send_packet(connection, {"error": f"the engine's keeper: {error.strerror}"})
            return True
        except MemoryError:
            # Nothing was read: it is still there when there is memory again.
            time.sleep(BREATH)
            return False
        except (OSError, ValueError) as error:
            _complain(f"core: {error}")
            packet = None
        if packet is None:
            self._loop.forget(connection.fileno())
            connection.close()
            self._connection = None
            return False
        message, descriptors = packet
        try:
            reply, attached = self._answer(message, descriptors)
        except Exception as error:
            number = errno_of(error)
            limit = reached_limit() if number == errno.EAGAIN else ""
            reason = f"{reason_of(error)}{': ' if limit else ''}{limit}"
            reply = {"error": f"{message.get('op')}: {reason}", "errno": number}
            attached = []
        finally:
            if message.get("op") != "store":
                sockets.close_all(descriptors)
        with contextlib.suppress(OSError):
            sockets.send_packet(connection, reply, attached)
        if message.get("op") == "launch":
            crash_point("keeper.start.answered")
        return True

    def _answer(self, message: Message, descriptors: list[int]) -> tuple[Message, list[int]]:
        match message.get("op"):
            case "launch":
                return {"pid": self._fork_shim(message, descriptors)}, []
            case "store":
                sockets.close_all(self._store.pop(message["name"], []))
                self._store[message["name"]] = descriptors
                crash_point("keeper.start.stored")
                return {"stored": len(descriptors)}, []
            case "fetch":
                found = self._store.get(message["name"], [])
                return {"found": len(found)}, found
            case "accept":
                return self._accept(message["name"], descriptors[0])
            case "drop":
                sockets.close_all(self._store.pop(message["name"], []))
                return {"dropped": True}, []
            case "hello":
                return {"core": self._core_argv, "tables": script.FORMAT if self.runner else 0}, []
            case "names":
                return {"names": list(self._store)}, []
            case "ready":
                self._was_ready = self._has_served = True
                self._core_serves()
                self._say(READY)
                return {"ready": True}, []
            case "end":
                self._is_ending = True
                return {"ending": True}, []
            case unknown:
                raise ValueError(f"unknown request {unknown!r}")

    def _accept(self, name: str, listener: int) -> tuple[Message, list[int]]:
        """Take a connection from the core's socket and store it before the core has it: when the core is killed, the
        next one finds it, here or still unaccepted."""
        with socket.socket(fileno=os.dup(listener)) as listening:
            try:
                client, _ = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return {"accepted": False}, []
        self._store[name] = [client.detach()]
        crash_point("keeper.names.accepted")
        return {"accepted": True}, self._store[name]

    def _fork_shim(self, message: Message, descriptors: list[int]) -> int:
        """The shim's first moments: a session of its own, and no descriptor but those it was sent."""
        crash_point("keeper.start.asked")
        pid = os.fork()
        if pid:
            crash_point("keeper.start.forked")
            return pid
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_NOFILE, self._limit)
            # 3 and up, in order, closed before anything else happens: lock, listener and store are not the shim's.
            moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3 + len(descriptors)) for fd in descriptors]
            for number, fd in enumerate(moved, 3):
                os.dup2(fd, number, inheritable=False)
            signal.set_wakeup_fd(-1)
            syscalls.close_range(3 + len(moved))
            connection = socket.socket(fileno=3)
            others = list(range(4, 3 + len(moved)))
            table = others.pop() if message.get("has_table") else -1
            shim.run(
                message["run_dir"],
                connection,
                message.get("attach"),
                others,
                self.snapshot,
                self.runner,
                table,
            )
        except BaseException as error:
            _complain(f"shim {message.get('run_dir')}: {type(error).__name__}: {error}")
        os._exit(1)

    # The core's end

    def _child_ended(self, pid: int, wait_status: int) -> None:
        if pid == self._core and self._core_pidfd < 0:
            self._core_gone(os.waitstatus_to_exitcode(wait_status) == 0)
            return
        crash_point("keeper.exit.reaped")
        if self._watchdog is not None:
            self._watchdog.expect()

    def _core_gone(self, on_purpose: bool) -> None:
        """Start it again, unless it ended on purpose; a core that keeps dying is given more and more time."""
        if self._core_pidfd >= 0:
            self._loop.forget(self._core_pidfd)
            os.close(self._core_pidfd)
            self._core_pidfd = -1
        self._core = -1
        self._core_serves()
        if self._connection is not None:
            # What it sent before it died still counts: above all that it ends on purpose.
            while self._hear(self._connection):
                pass
            if self._connection is not None:
                self._loop.forget(self._connection.fileno())
                self._connection.close()
                self._connection = None
        if on_purpose or self._is_ending:
            self._end()
            return
        if not self._was_ready:
            # Starting it again would not help; who waits is told, and the next command tries anew.
            _complain(f"the core died while it was starting{oom_kills.watch().reason()}")
            self._end()
            self._say(FAILED)
            return
        ran = time.monotonic() - self._core_started
        self._delay = next_delay(self._delay, ran, has_served=self._has_served)
        why = oom_kills.watch().reason()
        _complain(f"the core died{why}; starting it again in {self._delay:g} s")
        self._unserved = 0 if self._has_served else self._unserved + 1
        if self._unserved >= refusing.UNSERVED:
            what = f"the engine does not come up again: {self._unserved} times its core has died{why}"
            hint = (
                "Containers run on, and it is tried again and again. `composer engine logs` has what it says."
            )
            refusing.refuse_clients(self._listener, what, hint)
        time.sleep(self._delay)
        self._start_core()

    def _say(self, word: bytes) -> None:
        """Tell the command that started this keeper how it went."""
        if self._notify >= 0:
            with contextlib.suppress(OSError):
                os.write(self._notify, word)
            os.close(self._notify)
            self._notify = -1

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._run_dir, "engine.sock"))
        self._loop.stop()


def next_delay(last: float, ran: float, *, has_served: bool) -> float:
    """Seconds until a core is started in the place of one that died after ``ran`` seconds; ``last`` were those before
    it, 0 for the first."""
    if ran > LONG_ENOUGH or not last:
        return FIRST_DELAY
    return min(last * 2, LAST_DELAY_OF_SERVING if has_served else LAST_DELAY)


def _complain(text: str) -> None:
    """One line to the engine's log, which is where standard error goes."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} keeper: {text}\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode(errors="replace"))
