"""A command that finds an engine of another version says so, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from composer import __version__
from composer.api.client import EngineClient
from composer.cli.arguments import parse
from composer.cli.commands import GLOBAL_FLAGS
from composer.cli.session import Session
from composer.program import core_argv, is_older


@pytest.mark.parametrize(
    ("server", "is_told"),
    [
        (f"composer/{__version__} (linux)", False),
        ("composer/0.0.1 (linux)", True),
        ("Docker/28.0.0 (linux)", False),
        ("", False),
    ],
)
def test_an_engine_of_another_version(server: str, is_told: bool, capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(parse([], GLOBAL_FLAGS, is_interspersed=False), {}, 0.0)
    session._client = EngineClient("/nowhere")
    session._client.server = server
    session.compare_versions()
    assert ("composer engine stop" in capsys.readouterr().err) == is_told


def test_a_command_that_asks_no_engine(capsys: pytest.CaptureFixture[str]) -> None:
    Session(parse([], GLOBAL_FLAGS, is_interspersed=False), {}, 0.0).compare_versions()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("version", "other"),
    [
        ("0.1.0", "0.2.0"),
        ("0.9", "0.10"),
        ("1.0rc1", "1.0"),
        ("1.0.dev3", "1.0rc1"),
        ("1.0", "1.0.post1"),
        ("0.1.9+local", "0.2"),
        ("", "0.1"),
    ],
)
def test_order_of_versions(version: str, other: str) -> None:
    assert is_older(version, other)
    assert not is_older(other, version)


def test_versions_that_are_the_same() -> None:
    assert not is_older("1.0", "1.0.0")
    assert not is_older("1.0.0", "1.0")


def test_a_core_says_what_it_is() -> None:
    assert core_argv()[-2:] == ["composer.core", __version__]


def test_one_interpreter_has_one_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it was called; but not another one."""
    program = tmp_path / "bin/python"
    program.parent.mkdir()
    program.touch()
    monkeypatch.setattr("sys.executable", f"{tmp_path}/./bin/../bin/python")
    assert core_argv()[0] == str(program)
    elsewhere = tmp_path / "elsewhere/deep"
    elsewhere.mkdir(parents=True)
    (tmp_path / "link").symlink_to(elsewhere)
    (tmp_path / "elsewhere/python").touch()
    monkeypatch.setattr("sys.executable", f"{tmp_path}/link/../python")
    assert core_argv()[0] == f"{tmp_path}/link/../python"
