"""What ``run`` refuses, and the variables of ``--env-from-file``."""

from __future__ import annotations

from pathlib import Path

import pytest

from composer.cli.arguments import UsageError, parse_command
from composer.cli.project.exec import running_container, start_failure
from composer.cli.project.run import COMMANDS, read_env_files, run_run
from runtime.errors import ComposerError


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--pull sometimes web", 'invalid --pull option "sometimes"'),
        ("-d -i web", "--detach and --interactive are incompatible"),
        ("-l name web", "label must be set as KEY=VALUE"),
        ("-P -p 80:80 web", "--service-ports and --publish are incompatible"),
    ],
)
def test_refusals(line: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        run_run(None, parse_command(COMMANDS["run"], line.split()))  # type: ignore[arg-type]
    assert caught.value.message == expected


@pytest.mark.parametrize(
    ("status", "detach", "expected"),
    [(125, False, 126), (126, False, 126), (127, False, 127), (127, True, 1)],
)
def test_what_exec_returns_when_nothing_was_started(status: int, detach: bool, expected: int) -> None:
    assert start_failure(status, detach=detach) == expected


def test_options_end_with_the_service() -> None:
    assert parse_command(COMMANDS["run"], ["--rm", "web", "ls", "-l"]).words == ["web", "ls", "-l"]


def test_env_files(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("A=1\nB='x y'\nFROM_SHELL\n# nothing\n")
    second.write_text("A=2\nC=$B/z\n")
    found = read_env_files([str(first), str(second)], {"FROM_SHELL": "here"})
    assert found == ["A=2", "B=x y", "FROM_SHELL=here", "C=x y/z"]


def test_a_broken_env_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_text("A=1\nB='open\n")
    with pytest.raises(ComposerError, match=f"{path}:2: "):
        read_env_files([str(path)], {})


def test_a_missing_env_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_env_files([str(tmp_path / "none")], {})


class _Resolved:
    """A session that knows of a project without containers."""

    def resolve(self) -> dict[str, object]:
        return {"Services": [{"Name": "web"}], "Containers": [], "Profiles": {"tool": ["debug"]}}


def test_a_service_of_a_profile_that_is_not_active_is_told_with_it() -> None:
    with pytest.raises(ComposerError) as caught:
        running_container(_Resolved(), "tool", 0)  # type: ignore[arg-type]
    assert caught.value.message == 'service "tool" is not running'
    assert caught.value.hint.startswith("tool belongs to the profile debug: ")
