"""Building images beside BuildKit (in dockerd, through Docker Compose), in one run, on this machine, both by turns.

    python -m bench.build --docker-compose PATH [--docker-host URL] [--composer PATH] [--runs N]

Steps have no network, so that it is building that is compared. Needs what ``bench.compare`` needs; everything that
it makes is removed again, but for what dockerd keeps in its build cache.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.compare import Row, arguments, both_tools
from bench.measure import Tool
from bench.stacks import IMAGE

MANY = 10_000
LARGE = 50_000
STEPS = 10
_NAME = "composer-bench-built"


class BuildComparison:
    """All measurements, in the order of the table."""

    def __init__(self, tools: Sequence[Tool], room: Path, runs: int) -> None:
        self.tools = tools
        self.room = room
        self.runs = runs
        print("| what | unit | BuildKit | composer | ratio | budget | |\n|---|---|---|---|---|---|---|")

    def run(self) -> None:
        """Each case is a directory; what is changed before a build is the same for both."""
        lines = "\n".join(f"RUN echo {number} > /{number}" for number in range(STEPS))
        cached = self._project("cached", f"FROM {IMAGE}\nCOPY . /src\n{lines}\n", files=100)
        self._compare("rebuild, all cached", cached, lambda: None, 1 / 3)
        change = self._project("change", f"FROM {IMAGE}\n{lines}\nCOPY . /src\nRUN true\n", files=100)
        self._compare("rebuild, one file of 100 changed", change, lambda: _write(change / "src/0"), 1)
        stages = self._project(
            "stages",
            f"FROM {IMAGE} AS base\nCOPY . /src\nFROM base AS one\nRUN cp -r /src /one\n"
            f"FROM base AS two\nRUN cp -r /src /two\nFROM {IMAGE}\n"
            "COPY --from=one /one /one\nCOPY --from=two /two /two\nRUN ls /one /two\n",
            files=200,
        )
        self._compare("cold, four stages", stages, lambda: _write(stages / "src/0"), 1)
        many = self._project("many", f"FROM {IMAGE}\nCOPY . /src\n", files=MANY)
        self._compare(f"COPY of {MANY} files, one changed", many, lambda: _write(many / "src/0"), 1)
        touched = sorted((many / "src").rglob("*"))
        self._compare(f"{MANY} files touched, none changed", many, lambda: [p.touch() for p in touched], 1)
        large = self._project("large", f"FROM {IMAGE}\nCOPY . /src\n", files=LARGE)
        self._compare(f"{LARGE} files, nothing changed", large, lambda: None, 1)
        steps = "\n".join(["RUN true"] * STEPS)
        runs = self._project("runs", f"FROM {IMAGE}\nCOPY . /src\n{steps}\n", files=1)
        self._compare(f"{STEPS} times RUN true", runs, lambda: _write(runs / "src/0"), 1)

    def _project(self, name: str, dockerfile: str, *, files: int) -> Path:
        directory = self.room / name
        for number in range(files):
            path = directory / "src" / (f"{number // 100}" if files > 200 else "") / str(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number}\n" * 50)
        (directory / "src/0").unlink() if (directory / "src/0").is_file() else None
        if not (directory / "src/0").is_dir():
            _write(directory / "src/0")
        (directory / "Dockerfile").write_text(dockerfile)
        project = {
            "services": {"it": {"image": f"{_NAME}-{name}", "build": {"context": ".", "network": "none"}}}
        }
        (directory / "compose.yaml").write_text(json.dumps(project))
        return directory

    def _compare(self, what: str, directory: Path, change: Callable[[], object], budget: float) -> None:
        found: dict[str, list[float]] = {tool.name: [] for tool in self.tools}
        for tool in self.tools:
            tool.call(tool.compose, "build", "-q", cwd=directory)
        for _ in range(self.runs):
            change()
            for tool in self.tools:
                found[tool.name].append(tool.call(tool.compose, "build", "-q", cwd=directory))
        theirs, ours = (statistics.median(found[tool.name]) * 1000 for tool in self.tools)
        row = Row(what, "ms", theirs, ours, budget)
        numbers = f"{row.docker:.0f} | {row.composer:.0f} | {row.ratio:.2f} | {budget:.2f}"
        print(f"| {row.what} | ms | {numbers} | {row.verdict} |", flush=True)


def _write(path: Path) -> None:
    target = path / "0" if path.is_dir() else path
    target.write_text(uuid.uuid4().hex)


def main() -> int:
    given = arguments((__doc__ or "").split("\n")[0])
    busybox = shutil.which("busybox")
    if busybox is None:
        print("bench needs busybox: apt-get install busybox-static", file=sys.stderr)
        return 2
    with both_tools(given, busybox) as (docker, composer, room):
        docker = replace(docker, environment={**docker.environment, "COMPOSE_BAKE": "false"})
        try:
            BuildComparison((docker, composer), room, given.runs).run()
        finally:
            names = [f"{_NAME}-{name}" for name in ("cached", "change", "stages", "many", "large", "runs")]
            docker.call(("docker", "rmi", "-f"), *names)
    return 0


if __name__ == "__main__":
    sys.exit(main())
