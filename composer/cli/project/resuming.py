"""Following logs beyond the life of one engine: what is asked for again when it is gone, and what is shown already."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from composer.cli.endurance import Asked
    from composer.cli.session import Session


def resumed(
    session: Session,
    verb: str,
    body: dict[str, Any],
    shown: Shown,
    rest: Callable[[], Asked | None],
    *,
    short: float = 1.0,
) -> Iterator[dict[str, Any]]:
    """As :func:`lasting_events`, with each line of logs once. What ``rest`` names gets the time here from which on logs
    are wanted."""
    from composer.cli.endurance import lasting_events

    def again() -> Asked | None:
        further = rest()
        if further is not None and (since := shown.begin_again()) is not None:
            further[1]["logs_since" if further[0] == "up" else "since"] = since
        return further

    for event in lasting_events(session, verb, body, again, short=short):
        if event["type"] != "log" or shown.is_new(event):
            yield event


class Shown:
    """What has been shown of a request for logs. Pure.

    ``since`` is the request's own (ns); ``began``, when it was made, counts for what has only been asked for from its
    end (``has_tail``)."""

    def __init__(self, since: int | None, began: int, *, has_tail: bool) -> None:
        self._floor = max(since or 0, began) if has_tail else since
        self._last: dict[str, tuple[int, int]] = {}
        """By container: the time of the last line, and how many lines of that time were shown."""
        self._is_again = False
        self._repeated: dict[str, int] = {}
        """By container: how many lines of its last time are yet to come again."""
        self._went_back: set[str] = set()
        """Containers whose lines' times did: the clock was set back, and a later time does not make a later line."""

    def begin_again(self) -> int | None:
        """From when on to ask this time (ns; None: from the beginning)."""
        self._is_again = True
        self._repeated = {container: count for container, (_, count) in self._last.items()}
        times = [time for time, _ in self._last.values()]
        if self._floor is None:
            return None
        return min([self._floor, *times])

    def is_new(self, event: dict[str, Any]) -> bool:
        """Whether a LogEvent is to be shown; it counts as shown from then on."""
        container, time = event["container"], event["time"]
        if container in self._repeated:
            last, _ = self._last[container]
            if time == last and self._repeated[container]:
                self._repeated[container] -= 1
                return False
            if self._repeated[container] and (time < last or container in self._went_back):
                return False
            del self._repeated[container]
        elif self._is_again and container not in self._last and time < (self._floor or 0):
            return False
        last, count = self._last.get(container, (time, 0))
        if time < last:
            self._went_back.add(container)
        self._last[container] = (time, count + 1 if time == last else 1)
        return True
