"""``kill -9`` of every process at every crash point of create, start, exec, stop, remove and of the engine's own life:
the next command works, what should run does, exit statuses and logs are whole, and nothing is left."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from runtime.crash_points import POINTS
from tests.chaos.walking import PROCESSES, Combination, Walk
from tests.e2e import engine

ENGINES = 3
"""Walked at the same time."""
OPERATIONS = {
    "network": "make-anew",
    "volume": "make",
    "create": "make",
    "exit": "stop",
    "restart": "die",
    "volume-rm": "remove",
    "network-rm": "purge",
    "engine": "arrive",
}
"""Where a point's second word is not the operation that leads to it."""
ELSEWHERE = ("connect", "connect-first", "disconnect", "names")
"""Walked in test_network_crashes.py."""
EXCEPTIONS = {
    "core.network.bridged": "start",
    "core.network.ruled": "start",
    "init.start.doubled": "start-doubled",
    "core.stop.killed": "kill",
    "core.engine.ending": "leave",
}


def combinations() -> list[Combination]:
    """Each point with the process that is there; and each other process at the points of :data:`CROSSINGS`, with
    WALK=all at every point."""
    wanted = os.environ.get("WALK", "")
    found = []
    for point in POINTS:
        role, about, _ = point.split(".")
        if about in ELSEWHERE:
            continue
        operation = EXCEPTIONS.get(point) or OPERATIONS.get(about, about)
        others = victims(role, about, point, operation) if wanted or point in CROSSINGS else []
        found += [Combination(point, victim, operation) for victim in PROCESSES if victim in (role, *others)]
    # The engine's own life comes last: all others can share one.
    found.sort(key=lambda one: one.operation in ("arrive", "leave"))
    return [one for one in found if wanted in ("", "all") or wanted in str(one)]


def victims(role: str, about: str, point: str, operation: str) -> list[str]:
    """Whose end may matter when somebody is at a point."""
    if about == "engine":
        return ["cli", "keeper"]
    if operation in ("make", "make-anew", "remove", "purge", "fail"):
        return ["cli", "core", "keeper"]
    if operation.startswith("start"):
        is_before = role in ("core", "keeper") and point not in AT_WORK
        return ["cli", "core", "keeper"] if is_before else ["cli", "core", "keeper", "shim"]
    if about in ("exit", "restart"):
        return ["core", "keeper"]
    return ["cli", "core", "keeper", "shim", "init", "exec"]


AT_WORK = ("core.start.launched", "core.start.recorded")
CROSSINGS = (
    *("core.create.recorded", "core.start.asked", "core.start.launched", "keeper.start.forked"),
    *("init.start.networked", "init.start.mounting", "init.start.confined"),
    *("core.exec.asked", "shim.exec.forked", "exec.exec.joined", "exec.exec.confined", "core.exec.started"),
    *(
        "core.stop.recorded",
        "core.stop.signalled",
        "shim.exit.seen",
        "shim.exit.written",
        "core.exit.recorded",
    ),
    *("core.remove.recorded", "core.remove.cleaned", "core.engine.adopted"),
)
"""Between two processes: where one has handed something to another."""


def test_every_process_killed_at_every_point(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    waiting = combinations()
    failures: list[str] = []

    def walk(number: int) -> None:
        try:
            with engine.running(tmp_path / f"r{number}", {}, lambda: False) as composer:
                place = Walk(composer)
                while waiting:
                    combination = waiting.pop(0)
                    started = time.monotonic()
                    try:
                        place.suffer(combination)
                    except Exception as error:
                        said = composer.paths.engine_log.read_text(errors="replace")[-1500:]
                        failures.append(f"{combination}: {type(error).__name__}: {error}\n{said}")
                        composer.run("container", "rm", "-f", "-v", "witness", "subject", status=None)
                        composer.remove_everything()
                        place = Walk(composer)
                    print(f"{time.monotonic() - started:.2f} s: {combination}", flush=True)
                place.finish()
        except BaseException as error:
            failures.append(f"engine {number}: {error!r}")

    walkers = [threading.Thread(target=walk, args=(number,)) for number in range(ENGINES)]
    for walker in walkers:
        walker.start()
    for walker in walkers:
        walker.join()
    assert not failures, "\n\n".join(failures)
