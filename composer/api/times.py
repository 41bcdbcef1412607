"""Times and durations in the forms that Docker's API and its users know."""

from __future__ import annotations

import calendar
import time

SECOND = 1_000_000_000
ZERO_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time: never."""


def rfc3339(time_ns: int) -> str:
    """RFC 3339 in UTC with as many decimals as needed (Go's RFC3339Nano); 0 is Go's zero time."""
    if not time_ns:
        return ZERO_TIME
    seconds, fraction = divmod(time_ns, SECOND)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    decimals = f"{fraction:09d}".rstrip("0")
    return f"{text}.{decimals}Z" if decimals else f"{text}Z"


def log_timestamp(time_ns: int) -> str:
    """RFC 3339 with all nine decimals, as in front of log lines."""
    seconds, fraction = divmod(time_ns, SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch; raises ValueError. Only UTC (``Z``) and numeric offsets."""
    base, offset = text, 0
    if text.endswith(("Z", "z")):
        base = text[:-1]
    elif len(text) > 6 and text[-6] in "+-" and text[-3] == ":":
        base = text[:-6]
        offset = (int(text[-5:-3]) * 60 + int(text[-2:])) * 60 * (-1 if text[-6] == "-" else 1)
    whole, _, fraction = base.partition(".")
    seconds = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) - offset
    return seconds * SECOND + int(fraction[:9].ljust(9, "0") or "0")
