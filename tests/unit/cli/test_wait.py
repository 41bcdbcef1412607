"""``wait`` is about all containers, and returns what the last one returned."""

from __future__ import annotations

from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from composer.cli.arguments import parse_command
from composer.cli.project.wait import COMMANDS, run_wait
from runtime.errors import ComposerError

ENDS = {"first": 3, "last": 4}


class _Session:
    """An engine in which ``first`` ends before ``last``."""

    def __init__(self, *services: str) -> None:
        self.services = services
        self.written: list[str] = []
        self.has_first_ended = Event()
        self.down = 0

    def resolve(self, services: object = ()) -> dict[str, Any]:
        found = [{"Id": name, "Service": name, "State": "running"} for name in self.services]
        return {"Name": "p", "Containers": found}

    def connect(self) -> _Session:
        return self

    def request(self, method: str, path: str, query: object) -> Any:
        name = path.split("/")[-2]
        if name == "last":
            assert self.has_first_ended.wait(10)
        return SimpleNamespace(json=lambda: {"StatusCode": ENDS[name]})

    def write(self, text: str) -> None:
        self.written.append(text)
        self.has_first_ended.set()

    def perform(self, verb: str, body: object) -> int:
        assert len(self.written) == 2
        self.down += 1
        return 0


def wait(session: _Session, *words: str) -> int:
    return run_wait(session, parse_command(COMMANDS["wait"], words))  # type: ignore[arg-type]


def test_all() -> None:
    session = _Session("last", "first")
    assert wait(session, "last", "first", "--down-project") == 4
    assert session.written == [
        'container "first" exited with status code 3\n',
        'container "last" exited with status code 4\n',
    ]
    assert session.down == 1


def test_one_that_has_ended_is_not_waited_for() -> None:
    """As with Docker Compose, which does not say why."""
    session = _Session("first")
    ended = {"Id": "first", "Name": "p-first-1", "Service": "first", "State": "exited", "ExitCode": 4}
    session.resolve = lambda services=(): {"Name": "p", "Containers": [ended]}  # type: ignore[method-assign]
    with pytest.raises(ComposerError) as raised:
        wait(session, "first")
    assert raised.value.message == 'no containers for project "p"'
    assert raised.value.hint == "p-first-1 has ended already, with status 4"


def test_none_runs() -> None:
    with pytest.raises(ComposerError, match='no containers for project "p"'):
        wait(_Session(), "first")
