"""The ``composer`` command on an engine of a test's own, and what a test can see of that engine's processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from runtime.storage.paths import Paths
from tests import leaks

T = TypeVar("T")
PATIENCE = 60.0 * float(os.environ.get("COMPOSER_TEST_PATIENCE", "1"))
"""Seconds until something that has to happen counts as not happening."""


class Failed(AssertionError):
    """A command ended otherwise than expected. Shows what it printed."""


@dataclass
class Composer:
    """One state root, one engine. ``run`` is the command line; the rest looks from outside."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    namespace: str = ""
    """Of mounts, by its file: where commands are executed, and so the engine that they start."""

    @property
    def paths(self) -> Paths:
        return Paths(self.root / "lib", self.root / "run")

    @property
    def scope(self) -> leaks.Scope:
        return leaks.scope_of(self.root)

    @property
    def env(self) -> dict[str, str]:
        """For commands: nothing of the tests' own surroundings but what programs need."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
        return {**kept, "COMPOSER_ROOT": str(self.root), **self.environment}

    def start(self, *words: str, cwd: Path | None = None, **options: Any) -> subprocess.Popen[str]:
        """Begin a command; its output is piped, its standard input empty, unless ``options`` say otherwise."""
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "env": self.env,
            "text": True,
            **options,
        }
        where = cwd or self.root
        enter = ("nsenter", f"--mount={self.namespace}", f"--wdns={where}") if self.namespace else ()
        return subprocess.Popen([*enter, *COMMAND, *words], cwd=where, **options)

    def run(
        self,
        *words: str,
        cwd: Path | None = None,
        status: int | None = 0,
        timeout: float = 300.0,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Raises Failed when its exit status is not ``status`` (None: any)."""
        options: dict[str, Any] = {"env": {**self.env, **(env or {})}}
        if stdin is not None:
            options["stdin"] = subprocess.PIPE
        process = self.start(*words, cwd=cwd, **options)
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise Failed(f"composer {' '.join(words)}: no end after {timeout} s\n{out}\n{err}") from None
        if status is not None and process.returncode != status:
            raise Failed(f"composer {' '.join(words)}: status {process.returncode}\n{out}\n{err}")
        return subprocess.CompletedProcess([*words], process.returncode, out, err)

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Ask the engine directly; its JSON answer. Raises OSError when no engine runs."""
        connection = http.client.HTTPConnection("engine", timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE)
        try:
            connection.sock.connect(str(self.paths.socket))
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status < 400, f"{method} {path}: {answer.status} {content.decode()}"
        return json.loads(content) if content.strip() else None

    def containers(self, *, everything: bool = True) -> list[dict[str, Any]]:
        """Docker's list of containers."""
        found: list[dict[str, Any]] = self.api("GET", f"/containers/json?all={int(everything)}")
        return found

    def inspect(self, name: str) -> dict[str, Any]:
        """Docker's document of one container."""
        found: dict[str, Any] = self.api("GET", f"/containers/{name}/json")
        return found

    # Processes

    def processes(self, comm: str) -> list[int]:
        """Ids of this engine's processes with a name: composer-core, composer-keeper, composer-shim; with "" of all,
        also of those that have been executed and have no name yet.

        What one of them has just forked is called as it is, until it has a name of its own: that is not one of them.
        """
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{entry}/comm").read_text().strip()
                if comm and name != comm:
                    continue
                environ = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                if name not in PROCESSES and b"composer.core" not in words and b"-S" not in words:
                    continue
                if (
                    os.fsencode(f"COMPOSER_ROOT={self.root}") in environ
                    or os.fsencode(self.paths.run) in words
                ):
                    found[int(entry)] = parent_of(int(entry))
        return sorted(pid for pid, parent in found.items() if not comm or parent not in found)

    def kill(self, comm: str, number: int = signal.SIGKILL) -> list[int]:
        """Signal them, and wait until they are gone."""
        killed = self.processes(comm)
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        for pid in killed:
            wait_for(partial(is_gone, pid), f"process {pid} ({comm}) to end")
        return killed

    def kill_engine(self) -> None:
        """Core and keeper at once: none of them may begin the other anew."""
        pids = [*self.processes("composer-core"), *self.processes("composer-keeper")]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                os.kill(pid, number)
        for pid in pids:
            wait_for(partial(is_gone, pid), f"process {pid} to end")

    def reboot(self) -> None:
        """What a power cut and a start do to an engine: all processes gone at once, the runtime directory empty."""
        members = [pid for container in self._running() if (pid := container["State"]["Pid"])]
        stopped: set[int] = set()
        while new := set(self.processes("")) - stopped:
            for pid in new:  # nobody may notice that another one dies
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= new
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in (*stopped, *members):
            wait_for(partial(is_gone, pid), f"process {pid} to end")
        shutil.rmtree(self.paths.run, ignore_errors=True)

    def _running(self) -> list[dict[str, Any]]:
        running = []
        try:
            for found in self.containers(everything=False):
                with contextlib.suppress(AssertionError):  # it may just have gone
                    running.append(self.inspect(found["Id"]))
        except OSError:
            pass  # no engine runs
        return running

    # The end

    def remove_everything(self) -> None:
        """Kill and remove all containers and networks, and end the engine."""
        try:
            for found in self.containers():
                self._remove(f"/containers/{found['Id']}?force=1&v=1")
            for network in self.api("GET", "/networks"):
                if network["Name"] not in ("bridge", "host", "none"):
                    self._remove(f"/networks/{network['Id']}")
        except OSError as error:  # no engine runs, mostly
            print(f"while everything was removed: {error!r}")
        try:
            self.api("POST", "/composer/v1/engine/stop")
        except OSError as error:
            print(f"while the engine was stopped: {error!r}")
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.processes("composer-keeper"), "the engine to end")

    def _remove(self, path: str) -> None:
        """Unless it has gone by itself meanwhile."""
        try:
            self.api("DELETE", path)
        except AssertionError as error:
            if f"{path}: 404 " not in str(error):
                raise

    def end_by_force(self) -> None:
        """For a test that has failed already: nothing of its engine may disturb the others."""
        for pid in self.processes(""):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def report(self) -> str:
        """For a failed test: what the engine knows and what it said."""
        parts = []
        with contextlib.suppress(OSError, AssertionError, ValueError):
            parts.append(
                "--- dump\n" + json.dumps(self.api("GET", "/composer/v1/engine/dump"), indent=1)[-20000:]
            )
        with contextlib.suppress(OSError):
            parts.append("--- engine log\n" + self.paths.engine_log.read_text(errors="replace")[-8000:])
        return "\n".join(parts)


PROCESSES = ("composer-keeper", "composer-core", "composer-shim")
COMMAND = (sys.executable, "-m", "composer")


def wait_for(look: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
    """Until ``look`` returns something true: that. For what no event tells from outside."""
    begun = time.monotonic()
    while True:
        if found := look():
            return found
        waited = time.monotonic() - begun
        assert waited < timeout, f"waited {timeout:g} s for {what}"
        time.sleep(min(0.01 + waited / 10, 0.1))  # what looks takes time from what is looked at


def is_gone(pid: int) -> bool:
    """Whether a process has ended (also when nobody has collected it yet), with all of its threads: its descriptors are
    open for as long as one of them is there."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state in "ZX" and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except OSError:
        return True


def parent_of(pid: int) -> int:
    """Raises OSError when there is no such process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def free_port() -> int:
    """A TCP port that nobody listens on, on any address, and that nobody is given who asks for any: the kernel and
    engines choose theirs from the ephemeral ones (net.ipv4.ip_local_port_range)."""
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    end = first_ephemeral if first_ephemeral > 12_000 else 32_768
    for port in random.sample(range(10_000, end), 1000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port
    raise AssertionError("no port is free")


def write_project(directory: Path, compose: str, **files: str) -> Path:
    """A project directory with its compose.yaml and other files (``_`` in names stands for a dot)."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "compose.yaml").write_text(compose)
    for name, content in files.items():
        (directory / name.replace("_", ".")).write_text(content)
    return directory


@contextlib.contextmanager
def running(root: Path, environment: dict[str, str], is_failed: Callable[[], bool]) -> Iterator[Composer]:
    """An engine for one test; raises when the test passed and left something."""
    root.mkdir(parents=True)
    composer = Composer(root, environment)
    try:
        yield composer
    finally:
        if is_failed():
            print(composer.report())
        try:
            composer.remove_everything()
            left = leaks.left_behind([composer.scope])
        finally:
            composer.end_by_force()
    assert not left or is_failed(), f"left behind: {left}\n{composer.report()}"
