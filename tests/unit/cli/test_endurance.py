"""Requests that outlive the engine that they began with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from composer.cli.endurance import lasting_request, lasting_stream
from runtime.errors import Conflict, ConnectionLost, NotFound
from runtime.kernel.oom_kills import OF_MEMORY


class _Session:
    """Each engine in turn: an error that it answers with, or None; dead ones raise ConnectionLost."""

    def __init__(self, *engines: Exception | None, is_wanted: bool = True) -> None:
        self.engines = list(engines)
        self.is_wanted = is_wanted
        self.said: list[int] = []
        self.log = "/nowhere"
        self.started = 0.0

    @property
    def client(self) -> _Session:
        return self

    def request(self, method: str, path: str, query: object, body: object = None) -> None:
        if error := self.engines.pop(0):
            raise error

    def stream(self, method: str, path: str, query: object, *, headers: object) -> Iterator[dict[str, Any]]:
        yield {"engine": len(self.engines)}
        self.request(method, path, query)

    def engine_log(self) -> str:
        return self.log

    def is_engine_wanted(self) -> bool:
        return self.is_wanted

    def trace(self, text: str) -> None:
        pass

    def forget_connection(self) -> None:
        pass


def test_the_next_engine_is_asked() -> None:
    session: Any = _Session(ConnectionLost("gone"), ConnectionLost("gone"), None)
    lasting_request(session, "POST", "/containers/a/stop")
    assert session.engines == []
    session = _Session(ConnectionLost("gone"), None)
    assert list(lasting_stream(session, "/images/create", {}, {})) == [{"engine": 2}, {"engine": 1}]


def test_what_the_dead_one_had_done_is_no_error() -> None:
    session: Any = _Session(ConnectionLost("gone"), NotFound("no such container"))
    lasting_request(session, "DELETE", "/containers/a", done=404)
    for engines in ((NotFound("no such container"),), (ConnectionLost("gone"), Conflict("it runs"))):
        session = _Session(*engines)
        with pytest.raises((NotFound, Conflict)):
            lasting_request(session, "DELETE", "/containers/a", done=404)


def test_who_was_ended_on_purpose_or_always_dies_is_left_alone() -> None:
    session: Any = _Session(ConnectionLost("gone"), None, is_wanted=False)
    with pytest.raises(ConnectionLost):
        lasting_request(session, "POST", "/containers/a/stop")
    session = _Session(*[ConnectionLost("gone")] * 10)
    with pytest.raises(ConnectionLost):
        list(lasting_stream(session, "/images/create", {}, {}))
    assert len(session.engines) == 5


def test_what_the_keeper_knows_of_the_end_is_told(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    reason = f"the core died: {OF_MEMORY}: memory.max of /a, 1 bytes, is reached"
    for time, is_told in (("2026-01-02T03:04:05Z", True), ("1999-01-02T03:04:05Z", False)):
        log.write_text(f"{time} keeper: {reason}; starting it again in 0.1 s\nsomething else\n")
        session: Any = _Session(ConnectionLost("gone", hint="again"), is_wanted=False)
        session.log, session.started = str(log), 1_700_000_000.0
        with pytest.raises(ConnectionLost) as raised:
            lasting_request(session, "POST", "/containers/a/stop")
        assert (reason in raised.value.hint) is is_told
