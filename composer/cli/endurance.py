"""Commands that outlive the engine that they began with: what a dead one did not finish, the next one is asked for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from composer.cli.session import Session

    Asked = tuple[str, dict[str, Any]]

REPEATABLE = frozenset(
    ("build", "create", "down", "pull", "push", "restart", "rm", "scale", "start", "stop", "up")
)
"""Verbs that say what is to be: asking again does the rest."""
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
        except ConnectionLost:
            further = again()
            if further is None or not endurance.goes_on():
                raise
        on_next()
        verb, body = further


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
