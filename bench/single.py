"""What one container costs apart from commands: beside runc, beside the bare system calls, and while it runs.

    python -m bench.single --docker-compose PATH [--docker-host URL] [--composer PATH] [--runs N]

Needs what ``bench.compare`` needs, and ``runc``. Everything that it makes is removed again.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.compare import Row, arguments, both_tools
from bench.measure import Tool, cpu_seconds, processes
from bench.stacks import IMAGE, write_chatter
from composer.api.client import EngineClient
from runtime.kernel import syscalls

LOG_LINES = 500_000
PROBED = f"""\
services:
  probed:
    image: {IMAGE}
    command: [sleep, infinity]
    init: false
    stop_grace_period: 0s
    healthcheck: {{test: [CMD, "false"], interval: 50ms, timeout: 10s, retries: 100000}}
"""


class SingleContainer:
    """All measurements, in the order of the table."""

    def __init__(self, docker: Tool, composer: Tool, room: Path, runs: int) -> None:
        self.docker = docker
        self.composer = composer
        self.room = room
        self.runs = runs
        self.root = Path(composer.environment["COMPOSER_ROOT"])
        print("| what | beside | composer | ratio | budget | |\n|---|---|---|---|---|---|")

    def run(self) -> None:
        files = self.room / "files"
        files.mkdir()
        subprocess.run(["tar", "-xf", self.room / "busybox.tar", "-C", files], check=True)
        self.composer.call(self.composer.container, "ls")  # the engine is there
        runc = self._bundle(files)
        own: list[float] = []
        others: list[float] = []
        bare: list[float] = []
        for _ in range(self.runs):  # by turns: a machine is not the same from one second to the next
            bare += [self._bare(files) for _ in range(5)]
            others += [self._runc(runc) for _ in range(5)]
            own += [self._own() for _ in range(5)]
        ours = statistics.median(own)
        self._tell(
            Row(
                "one container without network, to its exit: `runc run`",
                "s",
                statistics.median(others),
                ours,
                1 / 3,
            )
        )
        self._tell(Row("the same: the bare system calls", "s", statistics.median(bare), ours, 2))
        self._probes()
        self._logs()

    def _tell(self, row: Row) -> None:
        print(row, flush=True)

    # One container

    def _bundle(self, files: Path) -> Path:
        bundle = self.room / "bundle"
        bundle.mkdir()
        subprocess.run(["runc", "spec"], cwd=bundle, check=True)
        spec = json.loads((bundle / "config.json").read_text())
        spec["process"] |= {"args": ["true"], "terminal": False}
        spec["root"] = {"path": str(files), "readonly": True}
        (bundle / "config.json").write_text(json.dumps(spec))
        return bundle

    def _runc(self, bundle: Path) -> float:
        begun = time.perf_counter()
        subprocess.run(["runc", "run", "composer-bench"], cwd=bundle, stdin=subprocess.DEVNULL, check=True)
        return time.perf_counter() - begun

    def _own(self) -> float:
        """Made, started, waited for and removed, over the engine's socket."""
        with EngineClient(str(self.root / "run/engine.sock")) as client:
            begun = time.perf_counter()
            body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
            container = client.request("POST", "/containers/create", body=body).json()["Id"]
            client.request("POST", f"/containers/{container}/start")
            ended = client.request("POST", f"/containers/{container}/wait").json()
            client.request("DELETE", f"/containers/{container}")
            took = time.perf_counter() - begun
        if ended["StatusCode"]:
            raise RuntimeError(f"the container ended with {ended['StatusCode']}")
        return took

    def _bare(self, files: Path) -> float:
        """Two forks, namespaces, an overlay with its directories, procfs, the root and the program: nothing is
        checked, kept, limited or confined."""
        own = self.room / "bare"
        begun = time.perf_counter()
        for name in ("upper", "work", "root"):
            (own / name).mkdir(parents=True)
        pid = os.fork()
        if not pid:
            _become(files, own)
        _, status = os.waitpid(pid, 0)
        shutil.rmtree(own)
        took = time.perf_counter() - begun
        if status:
            raise RuntimeError(f"the bare system calls ended with {status}")
        return took

    # While it runs

    def _probes(self) -> None:
        """CPU of a probe: of the engine's processes and of what they start in the container. Each fails, which is how
        they can be counted."""
        directory = self.room / "probed"
        directory.mkdir()
        (directory / "compose.yaml").write_text(PROBED)
        self.composer.call(self.composer.compose, "up", "-d", cwd=directory)
        pids = self._engine("composer-core", "composer-keeper", "composer-shim")
        with EngineClient(str(self.root / "run/engine.sock")) as client:
            container = client.request("GET", "/containers/json").json()[0]["Id"]

            def count() -> int:
                state = client.request("GET", f"/containers/{container}/json").json()["State"]
                return int(state["Health"]["FailingStreak"])

            time.sleep(2)
            first, before = count(), cpu_seconds(pids)
            time.sleep(10)
            cost = (cpu_seconds(pids) - before) / (count() - first)
        self.composer.call(self.composer.compose, "down", "-t", "0", cwd=directory)
        self._tell(Row("CPU of a probe; beside: the budget", "s", 0.005, cost, 1))

    def _logs(self) -> None:
        theirs, ours = self._log_cost(self.docker), self._log_cost(self.composer)
        self._tell(Row("CPU of log capture, lines of 80 bytes", "s/GB", theirs, ours, 1))

    def _log_cost(self, tool: Tool) -> float:
        """CPU of all that capture a log, for each GB; of shims that end, what they had used at the end of the lines."""
        directory = write_chatter(self.room / f"chatter-{tool.name}", LOG_LINES)
        compose = (directory / "compose.yaml").read_text()
        # It stays until its processes have been asked what they used.
        compose = compose.replace(f"-n {LOG_LINES}", f"-n {LOG_LINES}; touch /here/done; sleep 1000")
        (directory / "compose.yaml").write_text(compose + "    volumes: [.:/here]\n")
        names = ("dockerd", "containerd") if tool is self.docker else ("composer-core", "composer-keeper")
        before = self._cpu(tool, names)
        tool.call(tool.compose, "up", "-d", cwd=directory)
        while not (directory / "done").exists():
            time.sleep(0.1)
        time.sleep(1)  # what is in the pipe is written
        shim = "containerd-shim" if tool is self.docker else "composer-shim"
        used = self._cpu(tool, (*names, shim)) - before
        tool.call(tool.compose, "down", "-t", "0", cwd=directory)
        return used / (LOG_LINES * 80 / 1e9)

    def _cpu(self, tool: Tool, names: tuple[str, ...]) -> float:
        variable = f"COMPOSER_ROOT={self.root}" if tool is self.composer else ""
        return cpu_seconds(processes(lambda line: line.startswith(names), variable))

    def _engine(self, *names: str) -> list[int]:
        return processes(lambda line: line.startswith(names), f"COMPOSER_ROOT={self.root}")


def _become(files: Path, own: Path) -> None:
    """In a child: the namespaces, and in one more child the root and the program. Does not return."""
    flags = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWUTS
    syscalls.unshare(flags | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWNET)
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        os._exit(os.waitstatus_to_exitcode(status))
    layers = f"lowerdir={files},upperdir={own / 'upper'},workdir={own / 'work'}"
    root = os.fsencode(own / "root")
    syscalls.mount(b"none", b"/", b"", syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount(b"overlay", root, b"overlay", 0, layers.encode())
    os.chdir(root)
    syscalls.pivot_root(b".", b".")
    syscalls.umount2(b".", syscalls.MNT_DETACH)
    syscalls.mount(b"proc", b"/proc", b"proc", 0)
    os.execv("/bin/true", ["true"])


def main() -> int:
    given = arguments((__doc__ or "").split("\n")[0])
    busybox = shutil.which("busybox")
    if busybox is None or shutil.which("runc") is None:
        print("bench.single needs busybox and runc: apt-get install busybox-static runc", file=sys.stderr)
        return 2
    with both_tools(given, busybox) as (docker, composer, room):
        SingleContainer(docker, composer, room, given.runs).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
