"""Many cycles of ``up`` and ``down``, and what they leave: counts before and after, the core's memory, the pace.

    python -m bench.soak [--cycles N] [--every N] [--composer PATH]

Needs root. Works on a state root of its own, and removes it. Ends with status 1 when something has grown.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.census import Census, take
from bench.measure import Tool

STACK = """
services:
  store:
    image: composer.local/host
    command: sleep infinity
    stop_grace_period: 0s
    volumes: ["data:/data", "/anonymous"]
    healthcheck: {test: [CMD, "true"], interval: 1s}
  web:
    image: composer.local/host
    command: sleep infinity
    stop_grace_period: 0s
    init: true
    ports: ["127.0.0.1::80"]
    networks: [default, back]
    depends_on: {store: {condition: service_healthy}}
  worker:
    image: composer.local/host
    command: sleep infinity
    stop_grace_period: 0s
    networks: [back]
    configs: [{source: settings, target: /settings}]
  once:
    image: composer.local/host
    command: echo done
  again:
    image: composer.local/host
    command: sh -c 'sleep 0.05; exit 1'
    restart: on-failure
networks: {back: {}}
volumes: {data: {}}
configs: {settings: {content: "a: 1"}}
"""
WARM_UP = 10
"""Cycles before the first count: caches fill, modules are imported."""
DESCRIPTORS = 10
MEMORY = 1.3
PACE = 1.5
"""How much more than before is allowed: descriptors in number, memory and the time of a cycle as ratios."""


@dataclass(frozen=True)
class Soak:
    """What was seen: counts after the warm-up, at times and at the end, and seconds of each cycle."""

    counts: Sequence[Census]
    seconds: Sequence[float]

    @property
    def before(self) -> Census:
        """After the warm-up."""
        return self.counts[0]

    @property
    def after(self) -> Census:
        """At the end."""
        return self.counts[-1]

    @property
    def paces(self) -> tuple[float, float]:
        """Medians of the first and the last tenth of the cycles."""
        part = max(3, len(self.seconds) // 10)
        return statistics.median(self.seconds[:part]), statistics.median(self.seconds[-part:])

    def grown(self) -> list[str]:
        """What there is more of than allowed."""
        found = more_than(self.before, self.after)
        first_pace, last_pace = self.paces
        if last_pace > first_pace * PACE:
            found.append(f"seconds of a cycle: {first_pace:.3f} before, {last_pace:.3f} after")
        return found


def soak(composer: str, room: Path, cycles: int, *, warm_up: int = WARM_UP, every: int | None = None) -> Soak:
    """Run the cycles on an engine in ``room`` that is ended afterwards; count (and show it) after ``every`` so many."""
    root = room / "engine"
    tool = Tool("composer", (composer, "--progress", "quiet"), (composer,), {"COMPOSER_ROOT": str(root)})
    directory = room / "five"
    directory.mkdir()
    (directory / "compose.yaml").write_text(STACK, encoding="ascii")

    def cycle() -> float:
        took = tool.call(tool.compose, "up", "-d", cwd=directory)
        return took + tool.call(tool.compose, "down", "-v", "-t", "0", cwd=directory)

    try:
        for _ in range(warm_up):
            cycle()
        counts = [settled(root)]
        seconds: list[float] = []
        while len(seconds) < cycles:
            part = [cycle() for _ in range(min(every or cycles, cycles - len(seconds)))]
            seconds += part
            counts.append(settled(root, counts[0]))
            if every:
                print(
                    f"{len(seconds)} | {statistics.median(part):.3f} s | {' | '.join(map(str, counts[-1]))}",
                    flush=True,
                )
        return Soak(counts, seconds)
    finally:
        subprocess.run(
            [composer, "engine", "stop", "--all"], env={"COMPOSER_ROOT": str(root), "PATH": "/usr/bin:/bin"}
        )


def settled(root: Path, before: Census | None = None) -> Census:
    """Counts when they have stopped falling: the kernel takes namespaces apart later. As long as there is more than
    ``before``, it is given more time for it."""
    seen = take(root)
    for _ in range(120):
        time.sleep(0.25)
        now = take(root)
        is_more = before is not None and bool(more_than(before, now))
        if now[:-1] == seen[:-1] and not is_more:
            break
        seen = now
    return now


def more_than(before: Census, after: Census) -> list[str]:
    """What there is more of than allowed."""
    found = []
    for name, first, last in zip(Census._fields, before, after, strict=True):
        allowed = {"descriptors": first + DESCRIPTORS, "memory": int(first * MEMORY)}.get(name, first)
        if last > allowed:
            found.append(f"{name}: {first} before, {last} after")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--every", type=int, help="show the counts each time after so many")
    parser.add_argument("--composer", default=f"{Path(sys.executable).parent}/composer")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="composer-soak-") as name:
        seen = soak(given.composer, Path(name), given.cycles, every=given.every)
    print("| what | before | after |\n|---|---|---|")
    for name, first, last in zip(Census._fields, seen.before, seen.after, strict=True):
        print(f"| {name} | {first} | {last} |")
    first_pace, last_pace = seen.paces
    print(f"| seconds of a cycle, medians of tenths | {first_pace:.3f} | {last_pace:.3f} |")
    grown = seen.grown()
    for line in grown:
        print(f"grown: {line}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
