"""Hundreds of containers at once: what happens at rest, how long commands take, how soon a restart follows an exit.

    python -m bench.many [--containers N] [--composer PATH]

Needs root. Works on a state root of its own, and removes it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import Tool, context_switches, processes, proportional_bytes, wake_ups

COMMAND_BUDGET = 0.150
REACTION_BUDGET = 0.010
REST = 10.0
"""Seconds of watching."""


def write_project(directory: Path, containers: int) -> Path:
    directory.mkdir()
    (directory / "compose.yaml").write_text(
        "services:\n"
        "  many:\n"
        "    image: composer.local/host\n"
        "    command: [sleep, infinity]\n"
        "    stop_grace_period: 0s\n"
        f"    scale: {containers}\n"
        "  again:\n"
        "    image: composer.local/host\n"
        "    command: [sleep, infinity]\n"
        "    deploy: {restart_policy: {condition: any, delay: 50ms}}\n"
        "    stop_grace_period: 0s\n",
        encoding="ascii",
    )
    return directory


def told(seconds: list[float], budget: float) -> str:
    """The median, and the shortest: on a machine that others use the one that tells."""
    median, best = statistics.median(seconds), min(seconds)
    verdict = "kept" if median <= budget else "kept by the best" if best <= budget else "MISSED"
    return f"{median * 1e3:.1f} ms, best {best * 1e3:.1f} ms (budget {budget * 1e3:.0f} ms, {verdict})"


def reactions(tool: Tool, directory: Path, runs: int) -> list[float]:
    """Seconds from the death of a container's first process to ``die`` in the engine's events: the engine has seen it,
    and its policy has been asked."""
    found = []
    environment = {**os.environ, **tool.environment}
    events = [tool.container[0], "system", "events", "--format", "{{json .}}", "--filter", "event=die"]
    with subprocess.Popen(
        events, env=environment, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as listener:
        assert listener.stdout is not None
        time.sleep(1.0)
        for _ in range(runs):
            pid = int(inspect(tool, directory, "{{.State.Pid}}"))
            begun = time.time_ns()
            os.kill(pid, signal.SIGKILL)
            told = json.loads(listener.stdout.readline())
            found.append((told["timeNano"] - begun) / 1e9)
            while inspect(tool, directory, "{{.State.Pid}}") in ("0", str(pid)):
                time.sleep(0.05)
        listener.kill()
    return found


def inspect(tool: Tool, directory: Path, template: str) -> str:
    done = subprocess.run(
        [*tool.container, "inspect", "-f", template, f"{directory.name}-again-1"],
        env={**os.environ, **tool.environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--containers", type=int, default=300)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--composer", default=f"{Path(sys.executable).parent}/composer")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="composer-many-") as name:
        root = Path(name) / "engine"
        variables = {"COMPOSER_ROOT": str(root)}
        prefix = (given.composer, "--progress", "quiet")
        tool = Tool("composer", prefix, (given.composer, "container"), variables)
        directory = write_project(Path(name) / "many", given.containers)
        rows: list[tuple[str, str]] = []
        try:
            taken = tool.call(tool.compose, "up", "-d", cwd=directory)
            rows.append((f"`up -d` of {given.containers}", f"{taken:.2f} s"))
            variable = f"COMPOSER_ROOT={root}"
            engine = processes(lambda line: line.startswith(("composer-core", "composer-keeper")), variable)
            shims = processes(lambda line: line.startswith("composer-shim"), variable)
            time.sleep(2.0)
            before = context_switches(engine), context_switches(shims)
            time.sleep(REST)
            woken = [wake_ups(b, context_switches(p)) for b, p in zip(before, (engine, shims), strict=True)]
            rows.append((f"wake-ups in {REST:.0f} s at rest, core and keeper", str(woken[0])))
            rows.append((f"wake-ups in {REST:.0f} s at rest, {len(shims)} shims", str(woken[1])))
            rows.append(("memory of core and keeper", f"{sum(map(proportional_bytes, engine)) / 1e6:.0f} MB"))
            for words in (("ps",), ("up", "-d"), ("exec", "-T", "--index", "7", "many", "true")):
                seen = [tool.call(tool.compose, *words, cwd=directory) for _ in range(given.runs)]
                rows.append((f"`{' '.join(words)}`", told(seen, COMMAND_BUDGET)))
            exits = reactions(tool, directory, given.runs)
            rows.append(("from an exit to its restart policy", told(exits, REACTION_BUDGET)))
            taken = tool.call(tool.compose, "down", "-t", "0", cwd=directory)
            rows.append((f"`down -t 0` of {given.containers}", f"{taken:.2f} s"))
        finally:
            subprocess.run(
                [given.composer, "engine", "stop", "--all"],
                env={**os.environ, **variables},
                stderr=subprocess.DEVNULL,
                check=False,
            )
    print("| what | |\n|---|---|")
    for what, figure in rows:
        print(f"| {what} | {figure} |")
    return int(any("MISSED" in figure for _, figure in rows))


if __name__ == "__main__":
    sys.exit(main())
