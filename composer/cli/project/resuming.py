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
    from time import CLOCK_BOOTTIME, clock_gettime_ns, time_ns

    from composer.cli.endurance import lasting_events

    epoch = time_ns() - clock_gettime_ns(CLOCK_BOOTTIME)

    def again() -> Asked | None:
        further = rest()
        back = epoch - (time_ns() - clock_gettime_ns(CLOCK_BOOTTIME))
        if further is not None and (since := shown.begin_again(max(0, back))) is not None:
            further[1]["logs_since" if further[0] == "up" else "since"] = since
        return further

    for event in lasting_events(session, verb, body, again, short=short):
        news = shown.news_of(event) if event["type"] == "log" else event
        if news is not None:
            yield news


class Shown:
    """What has been shown of a request for logs. Pure.

    ``since`` is the request's own (ns); ``began``, when it was made, counts for what has only been asked for from its
    end (``has_tail``)."""

    def __init__(self, since: int | None, began: int, *, has_tail: bool) -> None:
        self._floor = max(since or 0, began) if has_tail else since
        self._last: dict[str, tuple[int, int]] = {}
        """By container: the time of the last line, and how many lines of that time were shown."""
        self._is_again = False
        self._back = 0
        """Nanoseconds by which the clock has been set back since the request was made: what is new may be so much
        earlier than what was asked for."""
        self._repeated: dict[str, int] = {}
        """By container: how many lines of its last time are yet to come again."""
        self._went_back: set[str] = set()
        """Containers whose lines' times did: the clock was set back, and a later time does not make a later line."""

    def begin_again(self, back: int = 0) -> int | None:
        """From when on to ask this time (ns; None: from the beginning); ``back`` nanoseconds the clock has been set
        back since the first time."""
        self._is_again, self._back = True, back
        self._repeated = {container: count for container, (_, count) in self._last.items()}
        times = [time for time, _ in self._last.values()]
        if self._floor is None:
            return None
        return min([self._floor - back, *times])

    def news_of(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """A LogEvent with those of its lines that have not been shown, if there are any; they count as shown from then
        on."""
        times, container = event["times"], event["container"]
        is_new = [self._is_new(container, time) for time in times]
        if all(is_new):
            return event
        if not any(is_new):
            return None
        kept = {**event, "times": [time for time, new in zip(times, is_new, strict=True) if new]}
        if (encoded := event.get("text64")) is not None:
            from binascii import a2b_base64, b2a_base64

            binary = zip(a2b_base64(encoded).split(b"\n"), is_new, strict=True)
            kept["text64"] = b2a_base64(
                b"\n".join([line for line, new in binary if new]), newline=False
            ).decode()
        else:
            lines = zip(event.get("text", "").split("\n"), is_new, strict=True)
            kept["text"] = "\n".join([line for line, new in lines if new])
        return kept

    def _is_new(self, container: str, time: int) -> bool:
        if container in self._repeated:
            last, _ = self._last[container]
            if time == last and self._repeated[container]:
                self._repeated[container] -= 1
                return False
            if self._repeated[container] and (time < last or container in self._went_back):
                return False
            del self._repeated[container]
        elif self._is_again and container not in self._last and time < (self._floor or 0) - self._back:
            return False
        last, count = self._last.get(container, (time, 0))
        if time < last:
            self._went_back.add(container)
        self._last[container] = (time, count + 1 if time == last else 1)
        return True
