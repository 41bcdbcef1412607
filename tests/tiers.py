"""Runs the tests tier by tier, says how long each took, and makes sure that nothing is left on the machine.

``python tests/tiers.py [TIER...] [PYTEST-ARGUMENT...]``; without a tier, all of ``TIERS``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import leaks  # noqa: E402
from tests.registry import IMAGES, SHOP  # noqa: E402

TIERS = ("lint", "unit", "conformance", "integration", "e2e", "chaos", "machine")
SHARED = ("unit", "integration")
"""The tiers of whose tests two run at a time: each waits as long as it works, and none minds what others make."""
WORKERS = ("-n2", "--dist=worksteal")
SMOKE = "smoke"
"""The end-to-end tests that show whether a machine of another kind (cgroup v2, say) can run a stack at all."""
TOLD = 1500
"""Characters of what is told of a failed test again at the end, where nobody has to look for it."""
LINT = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
)


class Outcome(NamedTuple):
    """Of one tier."""

    tier: str
    seconds: float
    is_passed: bool
    left: list[str]
    failures: list[str]
    """Each failed test with what it said."""


def main(words: list[str]) -> int:
    """Run what ``words`` ask for; the exit status."""
    tiers = [word for word in words if word in (*TIERS, SMOKE)]
    rest = [word for word in words if word not in tiers]
    if any(not word.startswith("-") and os.path.exists(word.split("::")[0]) for word in rest):
        return subprocess.call(_pytest(*rest), cwd=ROOT)  # a developer's own choice of tests
    work = Path(tempfile.mkdtemp(prefix="composer-tests-"))
    with _made_meanwhile(work / "images.log", "e2e" in (tiers or TIERS)) as wait:
        outcomes = []
        for tier in tiers or TIERS:
            if tier == "e2e":
                wait()
            outcomes.append(_run(tier, rest, work))
    is_passed = _report(outcomes)
    if is_passed:
        shutil.rmtree(work)
    else:
        print(f"The files of the tests are in {work}")
    return 0 if is_passed else 1


@contextlib.contextmanager
def _made_meanwhile(log: Path, is_wanted: bool) -> Iterator[Callable[[], object]]:
    """Make the images of the end-to-end tests beside the tiers before them: yields what waits for it. What fails
    here is tried, and told, by the tests again."""
    if not is_wanted or os.geteuid() != 0:
        yield lambda: None
        return
    command = ["nice", sys.executable, str(SHOP / "images.py"), str(IMAGES)]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process.wait
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _run(tier: str, arguments: list[str], work: Path) -> Outcome:
    print(f"\n=== {tier}", flush=True)
    started = time.monotonic()
    report = work / f"{tier}.xml"
    if tier == "lint":
        statuses = [subprocess.call([sys.executable, "-m", *command], cwd=ROOT) for command in LINT]
    else:
        place = "tests/e2e" if tier == SMOKE else f"tests/{tier}"
        chosen = ["-m", "smoke"] if tier == SMOKE else [*WORKERS] if tier in SHARED else []
        strict = [] if tier == SMOKE else ["--strict-skips"]
        base = f"--basetemp={work / tier}"
        words = [place, *chosen, base, *strict, "--durations=5", f"--junitxml={report}", *arguments]
        statuses = [subprocess.call(_pytest(*words), cwd=ROOT)]
    seconds = time.monotonic() - started
    left = leaks.left_behind(leaks.scopes_below(work / tier))
    return Outcome(tier, seconds, not any(statuses), left, _failures(report))


def _failures(report: Path) -> list[str]:
    """Of a tier, from what pytest wrote for machines: names and the ends of what is told of them."""
    if not report.exists():
        return []
    return [
        f"{case.get('classname')}::{case.get('name')}: {(told.text or told.get('message') or '')[-TOLD:]}"
        for case in ElementTree.parse(report).iter("testcase")
        for told in (*case.iter("failure"), *case.iter("error"))
    ]


def _pytest(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *arguments]


def _report(outcomes: list[Outcome]) -> bool:
    for outcome in outcomes:
        for failure in outcome.failures:
            print(f"\n=== failed in {outcome.tier}: {failure}")
    print("\n=== summary")
    for outcome in outcomes:
        print(f"{outcome.tier:<12} {outcome.seconds:7.1f} s  {'passed' if outcome.is_passed else 'FAILED'}")
    left = [(outcome.tier, what) for outcome in outcomes for what in outcome.left]
    for tier, what in left:
        print(f"left behind by {tier}: {what}")
    if not left:
        print("Nothing was left behind: no process, mount, link, namespace, cgroup or nftables table.")
    is_passed = not left and all(outcome.is_passed for outcome in outcomes)
    print("All tests passed." if is_passed else "FAILED")
    sys.stdout.flush()
    return is_passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
