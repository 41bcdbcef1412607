"""Commands that outlive the engine that they began with: what a dead one did not finish, the next one is asked for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.session import Session

REPEATABLE = frozenset(
    ("build", "create", "down", "pull", "push", "restart", "rm", "scale", "start", "stop", "up")
)
"""Verbs that say what is to be: asking again does the rest."""
ATTEMPTS = 5
"""Short-lived engines in a row after which it is given up: what is asked may be what kills them."""


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
