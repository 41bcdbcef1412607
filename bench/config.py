"""The Compose file: ``config`` as a whole process beside Docker Compose, and loading inside the engine.

    python -m bench.config --docker-compose PATH [--composer PATH] [--runs N]

Needs neither root nor an engine.
"""

from __future__ import annotations

import argparse
import compileall
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import composer as package
from bench.measure import Tool, median_of
from bench.stacks import write_long_file
from composer.compose.loader import load_project
from composer.compose.request import LoadRequest
from composer.disk import Disk

CONFIG_BUDGET = 1.5
"""Times what Docker Compose takes for ``config`` of 50 services."""
LOAD_BUDGET = 0.050
"""Seconds for a project of 100 services and 2,000 lines inside the engine."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--docker-compose", required=True, help="the docker-compose program to compare with")
    parser.add_argument(
        "--composer", default=shutil.which("composer") or f"{Path(sys.executable).parent}/composer"
    )
    parser.add_argument("--runs", type=int, default=20)
    given = parser.parse_args()
    compileall.compile_dir(str(Path(package.__path__[0])), quiet=1)
    tools = [
        Tool("docker", (given.docker_compose,), (), {}),
        Tool("composer", (given.composer,), (), {}),
    ]
    with tempfile.TemporaryDirectory(prefix="composer-bench-") as name:
        directory = write_long_file(Path(name) / "fifty", 50)
        found = []
        for tool in tools:

            def config(tool: Tool = tool) -> float:
                return tool.call(tool.compose, "config", cwd=directory)

            config()
            found.append(median_of(given.runs, config))
        theirs, ours = found
        print(f"`config`, 50 services: {theirs * 1e3:.1f} ms and {ours * 1e3:.1f} ms, ", end="")
        print(f"{ours / theirs:.2f} times (budget {CONFIG_BUDGET})")
        directory = write_long_file(Path(name) / "hundred", 100)
        lines = len((directory / "compose.yaml").read_text().splitlines())
        taken = []
        for _ in range(given.runs):
            begun = time.perf_counter()
            load_project(LoadRequest(cwd=str(directory)), Disk())
            taken.append(time.perf_counter() - begun)
        print(f"loading inside the engine, 100 services, {lines} lines: ", end="")
        print(f"{statistics.median(taken) * 1e3:.1f} ms (budget {LOAD_BUDGET * 1e3:.0f} ms)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
