"""``composer config`` prints what Docker Compose prints."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from composer.cli.main import main
from tests.conformance.corpus import Case, find_cases, portable

OURS = find_cases(Path(__file__).parent / "cases")
CORPUS = os.environ.get("COMPOSER_CONFORMANCE", "")
THEIRS = find_cases(Path(CORPUS)) if CORPUS else []


@pytest.mark.parametrize("case", OURS, ids=lambda c: c.name)
def test_case(case: Case, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    run(case, tmp_path, monkeypatch, capfd)


@pytest.mark.skipif(not CORPUS, reason="COMPOSER_CONFORMANCE does not name a directory of further cases")
@pytest.mark.parametrize("case", THEIRS, ids=lambda c: c.name)
def test_corpus(case: Case, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    run(case, tmp_path, monkeypatch, capfd)


def run(case: Case, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    copy, home = case.place(tmp_path)
    for name in list(os.environ):
        if not name.startswith("PYTEST"):
            monkeypatch.delenv(name)
    for name, value in case.environment(copy, home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(copy / (case.arguments.get("cwd") or ""))
    status = main(case.command_line(copy, home))
    printed = capfd.readouterr()
    shown = portable(printed.err, copy, home)
    if case.expected is None:
        assert status != 0, "it has to fail"
        assert shown.strip()
        assert "Traceback" not in shown
    else:
        assert status == 0, shown
        assert json.loads(portable(printed.out, copy, home)) == case.expected
