"""Moments as people write them: durations back from now, seconds since the epoch, dates. Imports nothing: engine and
commands both read them."""

from __future__ import annotations

_DURATIONS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}

SECOND = 1_000_000_000
"""In nanoseconds."""


def parse_duration(text: str) -> int:
    """Nanoseconds of Go's durations (``1h30m``, ``1.5s``, ``300ms``). Raises ValueError."""
    rest = text.strip()
    sign = 1
    if rest[:1] in ("-", "+"):
        sign = -1 if rest[0] == "-" else 1
        rest = rest[1:]
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(text)
    total = 0.0
    while rest:
        digits = 0
        while digits < len(rest) and (rest[digits].isdigit() or rest[digits] == "."):
            digits += 1
        letters = digits
        while letters < len(rest) and not (rest[letters].isdigit() or rest[letters] == "."):
            letters += 1
        unit = rest[digits:letters]
        if not digits or unit not in _DURATIONS:
            raise ValueError(text)
        total += float(rest[:digits]) * _DURATIONS[unit]
        rest = rest[letters:]
    return sign * int(total)


def parse_time(text: str, now: int) -> int:
    """Nanoseconds since the epoch of what ``--since`` and ``--until`` take: a duration before ``now``,
    seconds since the epoch (``1700000000.5``), or a date (RFC 3339, or a part of it in local time). Raises
    ValueError."""
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    whole, _, fraction = text.partition(".")
    if whole.isdigit() and (not fraction or fraction.isdigit()):
        return int(whole) * SECOND + int(fraction[:9].ljust(9, "0") or "0")
    from datetime import datetime

    body, nanoseconds = _split_fraction(text)
    moment = datetime.fromisoformat(body.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return int(moment.timestamp()) * SECOND + nanoseconds


def _split_fraction(text: str) -> tuple[str, int]:
    """Cut the fraction of a second out of a date (Python reads microseconds only)."""
    head, dot, tail = text.partition(".")
    if not dot:
        return text, 0
    digits = 0
    while digits < len(tail) and tail[digits].isdigit():
        digits += 1
    if not digits:
        raise ValueError(text)
    return head + tail[digits:], int(tail[:digits][:9].ljust(9, "0"))
