"""Commands that outlive the engine that they began with: what a dead one did not finish, the next one is asked for."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from composer.cli.session import Session
    from runtime.errors import ConnectionLost

    Asked = tuple[str, dict[str, Any]]

REPEATABLE = frozenset(
    ("build", "create", "down", "pull", "push", "restart", "rm", "scale", "start", "stop", "up")
)
"""Verbs that say what is to be: asking again does the rest."""
LONG = 60.0
"""Seconds after which an engine was no short-lived one, for requests that take long."""
ATTEMPTS = 5
"""Short-lived engines in a row after which it is given up: what is asked may be what kills them."""


def lasting_events(
    session: Session,
    verb: str,
    body: dict[str, Any],
    again: Callable[[], Asked | None],
    *,
    short: float,
    on_next: Callable[[], None] = lambda: None,
) -> Iterator[dict[str, Any]]:
    """What the engine says to a request. When it has died the next one is asked for what ``again`` names (verb and
    body; None when that would not do), after ``on_next``. Raises ConnectionLost otherwise."""
    from runtime.errors import ConnectionLost

    endurance = Endurance(session, short)
    while True:
        try:
            yield from session.events(verb, body)
            return
        except ConnectionLost as error:
            further = again()
            if further is None or not endurance.goes_on():
                raise endurance.explained(error) from None
        on_next()
        verb, body = further


def lasting_request(
    session: Session,
    method: str,
    path: str,
    query: dict[str, Any] | None = None,
    body: Any = None,
    *,
    done: int | None = None,
) -> Any:
    """A request that says what is to be, and its answer. When the engine dies under it the next one is asked; ``done``
    is the status by which that one says that the dead one had done it (then there is no answer)."""
    from runtime.errors import ComposerError, ConnectionLost

    endurance, is_again = Endurance(session, LONG), False
    while True:
        try:
            return session.client.request(method, path, query, body)
        except ConnectionLost as error:
            if not endurance.goes_on():
                raise endurance.explained(error) from None
            is_again = True
        except ComposerError as error:
            if not is_again or error.status != done:
                raise
            return None


def lasting_stream(
    session: Session, path: str, query: dict[str, Any], headers: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """What the engine says while it does what is to be; when it dies, what the next one says."""
    from runtime.errors import ConnectionLost

    endurance = Endurance(session, LONG)
    while True:
        try:
            yield from session.client.stream("POST", path, query, headers=headers)
            return
        except ConnectionLost as error:
            if not endurance.goes_on():
                raise endurance.explained(error) from None


class Endurance:
    """Of one request. Engines that live less than ``short`` seconds of it are short-lived."""

    def __init__(self, session: Session, short: float) -> None:
        from time import monotonic

        self._session = session
        self._clock = monotonic
        self._short = short
        self._asked = monotonic()
        self._short_lived = 0

    def goes_on(self) -> bool:
        """The connection is lost: whether the next engine is to be asked. Not one that was ended on purpose."""
        now = self._clock()
        self._short_lived = self._short_lived + 1 if now - self._asked < self._short else 0
        if self._short_lived == ATTEMPTS or not self._session.is_engine_wanted():
            return False
        self._session.trace("the engine is gone; asking the next one")
        self._session.forget_connection()
        self._asked = now
        return True

    def explained(self, error: ConnectionLost) -> ConnectionLost:
        """With what the keeper has said in the engine's log since the command was given, when it knows why the engine
        has died (for want of memory)."""
        from time import gmtime, strftime

        from runtime.kernel.oom_kills import OF_MEMORY

        path = self._session.engine_log()
        given = strftime("%Y-%m-%dT%H:%M:%S", gmtime(self._session.started))
        try:
            with open(path, "rb") as file:
                file.seek(max(0, os.stat(path).st_size - 65536))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return error
        for line in reversed(lines):
            time, _, said = line.partition(" keeper: ")
            if OF_MEMORY in said and time >= given:
                error.hint = f"{said.rpartition('; ')[0]}. Give it more, then run the command again."
                return error
        return error
