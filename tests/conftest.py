"""For all tests: a skip has to be one that is known, so that nothing goes untested without anybody noticing."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None, derandomize="COMPOSER_EXPLORE" not in os.environ)
settings.load_profile("any machine")
"""How long one example takes says more about what else the machine does than about the code. The examples of
property tests are the same ones each time, so a change is judged by what it changes; COMPOSER_EXPLORE=1 has others."""

EXPECTED_SKIPS = (
    r"needs root",
    r"\.\./shared/.* is not here",
    r"COMPOSER_CONFORMANCE does not name",
    r"needs cgroup v[12]",
    r"needs the docker command",
    r"needs a kernel with ",
    r"needs a machine of its own",
    r"needs an arm64 machine",
    r"needs an x86-64 machine",
)
"""Reasons (regular expressions, at the beginning) for which a test may be skipped on a complete machine."""


UNEXPECTED = "unexpected skips"


class SkipWatch:
    """Fails the run, with ``--strict-skips``, when a test was skipped for any other reason."""

    def __init__(self) -> None:
        self.unexpected: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._judge(report.nodeid, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._judge(report.nodeid, report.longrepr)

    def _judge(self, name: str, told: Any) -> None:
        reason = told[2] if isinstance(told, tuple) else str(told)
        reason = reason.removeprefix("Skipped: ")
        if not any(re.match(pattern, reason) for pattern in EXPECTED_SKIPS):
            self.unexpected[name] = reason

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """What a worker of pytest-xdist has skipped when it collected: it tells of tests only."""
        self.unexpected.update(getattr(node, "workeroutput", {}).get(UNEXPECTED, {}))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output[UNEXPECTED] = self.unexpected
        elif self.unexpected and session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for name, reason in self.unexpected.items():
            terminalreporter.write_line(f"UNEXPECTED SKIP {name}: {reason}", red=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strict-skips", action="store_true", help="fail when a test is skipped for a reason not expected"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--strict-skips"):
        config.pluginmanager.register(SkipWatch(), "skip-watch")
