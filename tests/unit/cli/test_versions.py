"""A command that finds an engine of another version says so, and what to do."""

from __future__ import annotations

import pytest

from composer import __version__
from composer.api.client import EngineClient
from composer.cli.arguments import parse
from composer.cli.commands import GLOBAL_FLAGS
from composer.cli.session import Session


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
