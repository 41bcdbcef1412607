"""One engine on which crash points are walked: an operation, a point on its way, a process to be killed there.

Beside the container that suffers (the subject) runs one that must not notice anything (the witness).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench.census import Census, take
from runtime.crash_points import ENVIRONMENT, Switchboard
from tests import leaks
from tests.e2e.engine import Composer, is_gone, parent_of, wait_for

IMAGE = "composer.local/host"
SUBJECT = ["sh", "-c", "trap 'echo end; exit 7' TERM; echo begin; sleep infinity & wait"]
WITNESS = ["sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.2; done"]
BOUND = 60.0
"""Seconds in which everything has to happen that has to happen."""
MEMBERS = 5
"""Core, keeper, the witness's shim, and at most two processes in it."""
STEADY = 8
"""So many counts in succession have to be the same to be what there is at rest."""
PROCESSES = ("cli", "core", "keeper", "shim", "init", "exec")


class Combination(NamedTuple):
    """``victim`` is killed while somebody is at ``point``, to which ``operation`` leads."""

    point: str
    victim: str
    operation: str

    def __str__(self) -> str:
        return f"{self.victim} killed at {self.point}"


class Walk:
    """The engine with its witness."""

    def __init__(self, composer: Composer) -> None:
        self.composer = composer
        page = composer.root / "crash-points"
        self.switchboard = Switchboard(str(page))
        composer.environment[ENVIRONMENT] = str(page)
        composer.run("container", "run", "-d", "--name", "witness", IMAGE, *WITNESS)
        # Whatever is made once and stays has been made before anything is counted.
        for operation in ("make", "run", "exec", "stop", "remove", "purge"):
            self.do(operation)
        self.witness = composer.inspect("witness")["State"]["Pid"]
        self.witness_shim = parent_of(self.witness)
        self.before: Census | None = None
        # The kernel takes namespaces apart, and the engine deletes files, when who asked has had the answer.
        lately: deque[Census] = deque(maxlen=STEADY)

        def is_steady(now: Census) -> bool:
            lately.append(_comparable(now))
            return now.processes <= MEMBERS and lately.count(lately[0]) == STEADY

        self.before = self._settled(is_steady)

    # One combination

    def suffer(self, combination: Combination) -> None:
        """Raises AssertionError with what is not as it should be."""
        operation = combination.operation
        for step in BEFORE[operation]:
            self.do(step)
        pids = self._living()
        self.switchboard.arm(combination.point)
        asked = self._begin(operation, by_command=combination.victim == "cli")
        try:
            wait_for(lambda: self.switchboard.reached, f"{combination.point} to be reached", BOUND)
            victim = self._find(combination, pids, asked)
            with contextlib.suppress(ProcessLookupError):  # a container that is ending takes it along
                os.kill(victim, signal.SIGKILL)
            if combination.victim not in (
                "init",
                "exec",
            ):  # these end when they are waited for by who is held
                wait_for(partial(is_gone, victim), f"{combination.victim} ({victim}) to end", BOUND)
        finally:
            self.switchboard.release()
        wait_for(asked.is_over, f"the request to end: {operation}", BOUND)
        wait_for(partial(is_gone, victim), f"{combination.victim} ({victim}) to end", BOUND)
        # The next command works, without being told what has happened.
        self._check(combination, pids.get("init", 0))
        assert self.composer.inspect("witness")["State"]["Pid"] == self.witness, "the witness was restarted"
        self.undo()

    def undo(self) -> None:
        """Remove the subject. Raises AssertionError when that leaves anything."""
        for step in ("stop", "remove", "purge"):
            self.do(step)
        self._settled(self._is_as_before)

    def _is_as_before(self, now: Census) -> bool:
        then = self.before
        assert then is not None
        return (
            _comparable(now) == _comparable(then)
            and now.processes <= MEMBERS
            and now.descriptors <= then.descriptors + 4
        )

    def _settled(self, is_good: Callable[[Census], bool]) -> Census:
        seen: list[Census] = []

        def look() -> bool:
            seen.append(take(self.composer.root))
            return is_good(seen[-1])

        try:
            wait_for(look, "nothing to be left", BOUND)
        except AssertionError as error:
            names = sorted(leaks.observe([self.composer.scope]))
            raise AssertionError(f"left: {seen[-1]}, before: {self.before}: {names}") from error
        return seen[-1]

    def finish(self) -> None:
        """The witness has not missed a line."""
        log = self.composer.run("container", "logs", "witness").stdout.split()
        assert log == [str(number) for number in range(len(log))], f"a gap in the witness's log: {log}"

    def _check(self, combination: Combination, pid: int) -> None:
        """The operation, asked for once more, is done; and the subject is what it should be."""
        operation, victim = combination.operation, combination.victim
        takes_it_along = victim in ("shim", "init")
        match operation:
            case "make" | "make-anew" | "purge":
                self.do("make")
                self.do("run")
            case "start" | "start-doubled":
                self.do("run")
                self.do("exec")
            case "exec":
                if takes_it_along:
                    self.do("run")
                self.do("exec")
                assert takes_it_along or self._state()["Pid"] == pid, "the subject was restarted"
            case "stop" | "kill":
                self.do(operation)
                self._ended_well(7 if operation == "stop" else 137, takes_it_along=takes_it_along)
            case "die":
                wait_for(
                    lambda: self._runs() and self._state()["Pid"] != pid, "its policy to start it", BOUND
                )
            case "fail":
                self.do("fail")
                assert self._state()["Status"] == "created", self._state()
                assert "no-such-program" in self._state()["Error"], self._state()
            case "remove":
                self.do("remove")
                assert self.request("GET", "/containers/subject/json", None)[0] == 404
            case "arrive" | "leave":
                self.composer.run("container", "ls", "-q")

    def _ended_well(self, code: int, *, takes_it_along: bool) -> None:
        state, log = self._state(), self.request("GET", "/containers/subject/logs?stdout=1", None)[1]
        # Without any grace it gets its own signal all the same, and may be quicker than the other one.
        allowed = (code, 137) if takes_it_along else (code,) if code == 7 else (code, 7)
        assert state["Status"] == "exited", state
        assert state["ExitCode"] in allowed, state
        assert b"begin" in log, log
        assert state["ExitCode"] != 7 or b"end" in log, (state, log)

    def _state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.composer.inspect("subject")["State"]
        return found

    def _runs(self) -> bool:
        state = self._state()
        return bool(state["Running"]) and not is_gone(state["Pid"])

    # Asking

    def do(self, step: str) -> None:
        """Have it done, and see that it was. Raises AssertionError."""
        match step:
            case "run":
                wait_for(self._is_started, "the subject to run", BOUND)
            case "rest":
                # Something that runs beside its first process.
                self._exec(["sleep", "infinity"])
            case "exec":
                exec_id = self._exec(["true"])
                path = f"/exec/{exec_id}/json"
                wait_for(lambda: not self.composer.api("GET", path)["Running"], "an exec to end", BOUND)
                assert self.composer.api("GET", path)["ExitCode"] == 0
            case "part":
                self._ask_for("leave")
                for name in ("composer-core", "composer-keeper"):
                    wait_for(lambda: not self.composer.processes(name), f"{name} to end", BOUND)  # noqa: B023
            case _:
                self._ask_for(step)

    def _is_started(self) -> bool:
        """Where its first process has just been killed, the engine may not know yet."""
        self._ask_for("start")
        return self._runs() and b"begin" in self.request("GET", "/containers/subject/logs?stdout=1", None)[1]

    def _exec(self, words: list[str]) -> str:
        made = self.composer.api("POST", "/containers/subject/exec", {"Cmd": words})
        self.composer.api("POST", f"/exec/{made['Id']}/start", {"Detach": True})
        exec_id: str = made["Id"]
        return exec_id

    def _begin(self, operation: str, *, by_command: bool) -> _Asked:
        if operation == "die":
            os.kill(self._state()["Pid"], signal.SIGKILL)
            return _Request(lambda: None)
        if by_command or operation == "arrive":
            return _Command(self.composer.start(*COMMANDS[operation], stdout=subprocess.DEVNULL))
        return _Request(partial(self._try, operation))

    def _try(self, operation: str) -> None:
        with contextlib.suppress(AssertionError, OSError, http.client.HTTPException):
            self.do(operation)

    def _ask_for(self, operation: str) -> None:
        for method, path, body, fine in STEPS[operation]:
            status, answer = self.request(method, path, body)
            assert status in fine, f"{method} {path}: {status} {answer!r}"

    def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("engine", timeout=BOUND)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(BOUND)
        try:
            connection.sock.connect(str(self.composer.paths.socket))
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            return 0, repr(error).encode()
        finally:
            connection.close()

    # Looking

    def _living(self) -> dict[str, int]:
        """The processes there are before the operation, by what they are."""
        found = {}
        for name in ("core", "keeper"):
            for pid in self.composer.processes(f"composer-{name}"):
                found[name] = pid
        with contextlib.suppress(AssertionError, OSError):
            state = self.composer.inspect("subject")["State"]
            if state["Running"]:
                found["init"] = state["Pid"]
                found["shim"] = parent_of(state["Pid"])
                ids = self.composer.inspect("subject")["ExecIDs"] or []
                for exec_id in ids:
                    found["exec"] = self.composer.api("GET", f"/exec/{exec_id}/json")["Pid"]
        return found

    def _find(self, combination: Combination, pids: dict[str, int], asked: _Asked) -> int:
        role = combination.point.split(".")[0]
        victim = combination.victim
        if victim == "cli":
            assert isinstance(asked, _Command)
            return asked.process.pid
        if victim == role and role not in ("init", "exec"):
            return self.switchboard.reached
        if victim in pids:
            return pids[victim]
        if victim in ("core", "keeper"):
            (pid,) = wait_for(lambda: self.composer.processes(f"composer-{victim}"), f"a {victim}", BOUND)
            return pid
        shim = pids.get("shim") or self._new_shim(role)
        if victim == "shim":
            return shim
        return self._inside(shim, self.switchboard.reached, is_own=victim == role)

    def _new_shim(self, role: str) -> int:
        """The shim of the container that is just being started."""
        if role == "shim":
            return self.switchboard.reached
        found = set(self.composer.processes("composer-shim")) - {self.witness_shim}
        if not found:  # it has no name yet
            found = set(_children(self.composer.processes("composer-keeper")[0])) - {
                *self.composer.processes("composer-core"),
                self.witness_shim,
            }
        # What the shim forks is called as it is, until it executes something else.
        found = {pid for pid in found if parent_of(pid) not in found}
        assert len(found) == 1, f"which of {found} is the subject's shim?"
        return found.pop()

    def _inside(self, shim: int, number: int, *, is_own: bool) -> int:
        """A process below the shim: that which calls itself ``number``, or any."""
        known = wait_for(lambda: _descendants(shim), f"processes of {shim}", BOUND)
        fitting = [pid for pid in known if not is_own or _own_number(pid) == number]
        assert fitting, f"none of {known} calls itself {number}"
        return fitting[-1]


def _comparable(census: Census) -> Census:
    """What has to be the same again."""
    return census._replace(memory=0, descriptors=0, mounts=0, processes=0)


class _Request:
    def __init__(self, ask: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=ask, daemon=True)
        self._thread.start()

    def is_over(self) -> bool:
        return not self._thread.is_alive()


class _Command:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def is_over(self) -> bool:
        if self.process.poll() is None:
            return False
        if self.process.stderr is not None:
            self.process.stderr.close()
        return True


_Asked = _Request | _Command


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _descendants(pid: int) -> list[int]:
    found = []
    for child in _children(pid):
        found += [child, *_descendants(child)]
    return found


def _own_number(pid: int) -> int:
    """A process's id in its innermost pid namespace."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    except OSError:
        pass
    return 0


# What is done, and how to see that it was

_HOST = {
    "NetworkMode": "walked",
    "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
}
_CREATE = {"Image": IMAGE, "Cmd": SUBJECT, "Volumes": {"/anonymous": {}}, "HostConfig": _HOST}
_FAILING = {**_CREATE, "Cmd": ["no-such-program"]}
_DOUBLED = {**_CREATE, "HostConfig": {**_HOST, "Init": True}}
_AGAIN = {**_CREATE, "HostConfig": {**_HOST, "RestartPolicy": {"Name": "always"}}}
_NETWORK = ("POST", "/networks/create", {"Name": "walked"}, (201, 409))
_Step = tuple[str, str, Any, tuple[int, ...]]
STEPS: dict[str, list[_Step]] = {
    "make": [_NETWORK, ("POST", "/containers/create?name=subject", _CREATE, (201, 409))],
    "make-anew": [_NETWORK, ("POST", "/containers/create?name=subject", _CREATE, (201, 409))],
    "make-failing": [_NETWORK, ("POST", "/containers/create?name=subject", _FAILING, (201, 409))],
    "network": [_NETWORK],
    "make-doubled": [_NETWORK, ("POST", "/containers/create?name=subject", _DOUBLED, (201, 409))],
    "make-again": [_NETWORK, ("POST", "/containers/create?name=subject", _AGAIN, (201, 409))],
    "start": [("POST", "/containers/subject/start", None, (204, 304))],
    "start-doubled": [("POST", "/containers/subject/start", None, (204, 304))],
    "fail": [("POST", "/containers/subject/start", None, (404, 400))],
    "stop": [("POST", "/containers/subject/stop?t=10", None, (204, 304, 404))],
    "kill": [("POST", "/containers/subject/stop?t=0", None, (204, 304, 404))],
    "remove": [("DELETE", "/containers/subject?v=1", None, (204, 404))],
    "purge": [("DELETE", "/networks/walked", None, (204, 404))],
    "leave": [("POST", "/composer/v1/engine/stop", None, (200, 204))],
}
"""Requests with the statuses that are as good as success: what is asked for may have been done before the kill."""
_RUN = ("--network", "walked", "-p", "127.0.0.1::80", "-v", "/anonymous")
COMMANDS: dict[str, tuple[str, ...]] = {
    "make": ("container", "create", "--name", "subject", *_RUN, IMAGE, *SUBJECT),
    "make-anew": ("network", "create", "walked"),
    "start": ("container", "start", "subject"),
    "start-doubled": ("container", "start", "subject"),
    "fail": ("container", "start", "subject"),
    "exec": ("container", "exec", "subject", "true"),
    "stop": ("container", "stop", "-t", "10", "subject"),
    "kill": ("container", "stop", "-t", "0", "subject"),
    "remove": ("container", "rm", "-v", "subject"),
    "purge": ("network", "rm", "walked"),
    "arrive": ("engine", "start"),
    "leave": ("engine", "stop"),
}
BEFORE: dict[str, tuple[str, ...]] = {
    "make": ("network",),
    "make-anew": (),
    "start": ("make",),
    "start-doubled": ("make-doubled",),
    "fail": ("make-failing",),
    "exec": ("make", "run", "rest"),
    "stop": ("make", "run", "rest"),
    "kill": ("make", "run", "rest"),
    "die": ("make-again", "run", "rest"),
    "remove": ("make", "run", "stop"),
    "purge": ("make", "run", "stop", "remove"),
    "arrive": ("part",),
    "leave": (),
}
"""What has to have been done."""
