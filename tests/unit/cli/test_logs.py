"""Flags of ``logs``."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from composer.cli.arguments import UsageError, parse_command
from composer.cli.project.logs import COMMANDS, parse_tail, run_logs


@pytest.mark.parametrize(("text", "lines"), [("all", None), ("-1", None), ("0", 0), ("25", 25)])
def test_tail(text: str, lines: int | None) -> None:
    assert parse_tail(text) == lines


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--tail many", 'invalid value for --tail: "many"'),
        ("--since foo", 'invalid value for "since": failed to parse value as time or duration: "foo"'),
        ("--index 2", "--index requires one service to be selected"),
        ("--index 2 web db", "--index requires one service to be selected"),
    ],
)
def test_refusals(line: str, expected: str) -> None:
    session = SimpleNamespace(started=1.0)
    with pytest.raises(UsageError) as caught:
        run_logs(session, parse_command(COMMANDS["logs"], line.split()))  # type: ignore[arg-type]
    assert caught.value.message == expected
