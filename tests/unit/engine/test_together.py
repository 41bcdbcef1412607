"""Errors of several replicas that are told as one."""

from __future__ import annotations

from composer.engine.projects.waits import together
from runtime.errors import ComposerError, Conflict


def _failed(message: str, about: str = "") -> ComposerError:
    return Conflict(message, exit_status=1).pointing_at(about) if about else Conflict(message, exit_status=1)


def test_one_is_itself() -> None:
    alone = _failed("port", "services.a.ports[0]")
    assert together([alone]) is alone
    assert together([alone, _failed("port of the second replica", "services.a.ports[0]")]) is alone


def test_several_are_told_in_order_each_with_its_place() -> None:
    errors = [_failed("one", "services.a.ports[0]"), _failed("two", "services.b"), _failed("three")]
    told = together([*errors, _failed("two again", "services.b")])
    assert told.errors == tuple(errors) and told.message == "one\ntwo\nthree"
    assert (told.status, told.exit_status) == (409, 1)
