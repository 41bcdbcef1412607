"""A skip that nobody expected fails a run, also where two workers share the tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.conftest import SkipWatch


def finished(watch: SkipWatch, **config: Any) -> int:
    """The exit status of a session in which all went well."""
    session = SimpleNamespace(exitstatus=pytest.ExitCode.OK, config=SimpleNamespace(**config))
    watch.pytest_sessionfinish(cast("pytest.Session", session))
    return int(session.exitstatus)


def skipped(reason: str) -> SkipWatch:
    """A module was, when it was collected."""
    watch = SkipWatch()
    report = SimpleNamespace(
        skipped=True, nodeid="tests/unit/test_a.py", longrepr=("a", 1, f"Skipped: {reason}")
    )
    watch.pytest_collectreport(cast("pytest.CollectReport", report))
    return watch


@pytest.mark.parametrize(("reason", "status"), [("needs root", 0), ("no time", 1)])
def test_what_a_worker_has_skipped_counts(reason: str, status: int) -> None:
    assert finished(skipped(reason)) == status
    output: dict[str, Any] = {}
    finished(skipped(reason), workeroutput=output)
    controller = SkipWatch()
    controller.pytest_testnodedown(SimpleNamespace(workeroutput=output), None)
    assert finished(controller) == status


def test_a_worker_that_crashed_has_told_nothing() -> None:
    controller = SkipWatch()
    controller.pytest_testnodedown(SimpleNamespace(), "crashed")
    assert finished(controller) == 0
