"""Composer beside Docker Compose on dockerd, in one run, on this machine: a table of ratios with their budgets.

    python -m bench.compare --docker-compose PATH [--docker-host URL] [--composer PATH] [--runs N]

Needs root, a running dockerd, the ``docker`` command, and Debian's ``busybox-static``, from which the one image that
both run is made. Everything that it makes is removed again.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import composer as composer_package
import runtime as runtime_package
from bench.measure import Tool, context_switches, median_of, processes, proportional_bytes, wake_ups
from bench.stacks import IMAGE, write_chatter, write_stack

LOG_LINES = 500_000


@dataclass(frozen=True)
class Row:
    """One line of the table. ``budget`` is the largest (for rates: the smallest) allowed ratio, None for none."""

    what: str
    unit: str
    docker: float
    composer: float
    budget: float | None
    more_is_better: bool = False

    @property
    def ratio(self) -> float:
        return self.composer / self.docker if self.docker else float("inf")

    def __str__(self) -> str:
        budget = "" if self.budget is None else f"{self.budget:.3g}"
        return (
            f"| {self.what} | {self.docker:.4g} {self.unit} | {self.composer:.4g} {self.unit} "
            f"| {self.ratio:.3f} | {budget} | {self.verdict} |"
        )

    @property
    def verdict(self) -> str:
        if self.budget is None:
            return ""
        kept = self.ratio >= self.budget if self.more_is_better else self.ratio <= self.budget
        return "kept" if kept else "MISSED"


class Comparison:
    """All measurements, in the order of the table."""

    def __init__(self, docker: Tool, composer: Tool, room: Path, runs: int) -> None:
        self.docker = docker
        self.composer = composer
        self.room = room
        self.runs = runs
        self.rows: list[Row] = []

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(row, flush=True)

    def both(self, measure: str, *args: object) -> tuple[float, float]:
        """The same measurement of both, Docker first."""
        method = getattr(self, measure)
        return method(self.docker, *args), method(self.composer, *args)

    def run(self) -> None:
        print("| what | Docker | composer | ratio | budget | |\n|---|---|---|---|---|---|")
        self._stacks()
        self._single()
        self._logs()
        self._memory()

    def _stacks(self) -> None:
        for services, up_budget, down_budget in ((1, None, None), (20, None, None), (50, 1 / 15, 1 / 20)):
            directory = write_stack(self.room / f"stack{services}", services)
            found = {
                tool.name: self._cycle(tool, directory, services) for tool in (self.docker, self.composer)
            }
            ours, theirs = found[self.composer.name], found[self.docker.name]
            names = {
                "up": up_budget,
                "again": None,
                "ps": 1.2 if services == 20 else None,
                "down": down_budget,
            }
            for name, budget in names.items():
                what = {"up": "`up -d`", "again": "second `up -d`", "ps": "`ps`", "down": "`down -t 0`"}[name]
                plural = "service" if services == 1 else "services"
                self.add(Row(f"{what}, {services} {plural}", "s", theirs[name], ours[name], budget))

    def _cycle(self, tool: Tool, directory: Path, services: int) -> dict[str, float]:
        taken: dict[str, list[float]] = {"up": [], "again": [], "ps": [], "down": []}
        for _ in range(self.runs if services < 50 else max(3, self.runs // 2)):
            taken["up"].append(tool.call(tool.compose, "up", "-d", cwd=directory))
            taken["again"].append(tool.call(tool.compose, "up", "-d", cwd=directory))
            taken["ps"].append(median_of(3, lambda: tool.call(tool.compose, "ps", cwd=directory)))
            taken["down"].append(tool.call(tool.compose, "down", "-t", "0", cwd=directory))
        return {name: statistics.median(values) for name, values in taken.items()}

    def _single(self) -> None:
        docker, ours = self.both("_run_once")
        self.add(Row("`container run --rm`, to its exit", "s", docker, ours, 1 / 6))
        docker, ours = self.both("_exec")
        self.add(Row("`exec` of true", "s", docker, ours, 1 / 3))

    def _run_once(self, tool: Tool) -> float:
        words = ("run", "--rm", IMAGE, "true")
        tool.call(tool.container, *words)
        return median_of(self.runs * 3, lambda: tool.call(tool.container, *words))

    def _exec(self, tool: Tool) -> float:
        tool.call(tool.container, "run", "-d", "--name", "bench-exec", IMAGE, "sleep", "infinity")
        try:
            return median_of(self.runs * 3, lambda: tool.call(tool.container, "exec", "bench-exec", "true"))
        finally:
            tool.call(tool.container, "rm", "-f", "bench-exec")

    def _logs(self) -> None:
        docker, ours = self.both("_log_rate")
        self.add(Row("log capture, lines of 80 bytes", "MB/s", docker, ours, 2.0, more_is_better=True))

    def _log_rate(self, tool: Tool) -> float:
        directory = write_chatter(self.room / f"chatter-{tool.name}", LOG_LINES)
        begun = time.perf_counter()
        tool.call(tool.compose, "up", "-d", cwd=directory)
        tool.call(tool.compose, "wait", "chatter", cwd=directory)
        took = time.perf_counter() - begun
        tool.call(tool.compose, "down", "-t", "0", cwd=directory)
        return LOG_LINES * 80 / took / 1e6

    def _memory(self) -> None:
        services = 20
        directory = write_stack(self.room / "memory", services)
        shims = {
            self.docker.name: lambda line: "containerd-shim" in line,
            self.composer.name: lambda line: line.startswith("composer-shim"),
        }
        engines = {
            self.docker.name: lambda line: line.startswith(("dockerd", "containerd ")),
            self.composer.name: lambda line: line.startswith(("composer-core", "composer-keeper")),
        }
        found: dict[str, tuple[float, float, float]] = {}
        for tool in (self.docker, self.composer):
            tool.call(tool.compose, "up", "-d", cwd=directory)
            root = tool.environment.get("COMPOSER_ROOT", "")
            variable = f"COMPOSER_ROOT={root}" if root else ""
            engine = processes(engines[tool.name], variable)
            time.sleep(3)  # what was begun by the start is over
            before = context_switches(engine)
            time.sleep(5)
            woken = wake_ups(before, context_switches(engine)) / 5
            each = sum(map(proportional_bytes, processes(shims[tool.name], variable))) / services / 1e6
            rest = sum(map(proportional_bytes, engine)) / 1e6
            tool.call(tool.compose, "down", "-t", "0", cwd=directory)
            found[tool.name] = each, rest, woken
        theirs, ours = found[self.docker.name], found[self.composer.name]
        self.add(Row("memory per running container", "MB", theirs[0], ours[0], 2 / 12))
        self.add(Row("memory of the engine, 20 containers running", "MB", theirs[1], ours[1], 70 / 150))
        self.add(Row("wake-ups of the engine at rest", "per s", theirs[2], ours[2], None))


def make_image(busybox: str) -> bytes:
    """The tar of a root file system with busybox and its links."""
    names = subprocess.run([busybox, "--list"], capture_output=True, check=True, text=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for directory in ("bin", "etc", "tmp", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(busybox, "bin/busybox")
        for name in names:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            if name != "busybox":
                tar.addfile(entry)
    return buffer.getvalue()


def arguments(description: str) -> argparse.Namespace:
    """The command line of a comparison."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--docker-compose", required=True, help="the docker-compose program to compare with")
    parser.add_argument("--docker-host", default=os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    parser.add_argument(
        "--composer", default=shutil.which("composer") or f"{Path(sys.executable).parent}/composer"
    )
    parser.add_argument("--runs", type=int, default=5)
    return parser.parse_args()


@contextlib.contextmanager
def both_tools(given: argparse.Namespace, busybox: str) -> Iterator[tuple[Tool, Tool, Path]]:
    """Docker and composer with the image in both, and a directory; all is taken away at the end."""
    with tempfile.TemporaryDirectory(prefix="composer-bench-") as name:
        room = Path(name)
        docker_environment = {"DOCKER_HOST": given.docker_host}
        docker = Tool("docker", (given.docker_compose,), ("docker",), docker_environment)
        composer = Tool(
            "composer",
            (given.composer, "--progress", "plain"),
            (given.composer, "container"),
            {"COMPOSER_ROOT": str(room / "engine")},
        )
        # /run is in memory on any machine; COMPOSER_ROOT alone would put the engine's part of it on the disk.
        run_directory = room / "engine" / "run"
        run_directory.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(run_directory)], check=True)
        # As an installation is; what was edited since would be compiled by each command.
        for package in (composer_package, runtime_package):
            compileall.compile_dir(str(Path(package.__path__[0])), quiet=1)
        image = room / "busybox.tar"
        image.write_bytes(make_image(busybox))
        docker.call(("docker", "import"), str(image), IMAGE)
        composer.call((given.composer, "image", "import"), str(image), IMAGE)
        cpus, memory = os.cpu_count(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        print(f"{cpus} CPUs, {memory:.0f} GiB, Linux {os.uname().release}, Python {sys.version.split()[0]}\n")
        try:
            yield docker, composer, room
        finally:
            docker.call(("docker", "rmi"), IMAGE)
            composer.call((given.composer, "engine", "stop"))
            subprocess.run(["umount", "-l", str(run_directory)], check=True)


def main() -> int:
    given = arguments((__doc__ or "").split("\n")[0])
    busybox = shutil.which("busybox")
    if busybox is None:
        print("bench needs busybox: apt-get install busybox-static", file=sys.stderr)
        return 2
    with both_tools(given, busybox) as (docker, composer, room):
        Comparison(docker, composer, room, given.runs).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
