"""Durations as Compose writes them: Go's units, days and weeks, whole numbers of nanoseconds."""

from __future__ import annotations

import re

from composer.compose.quantities import Duration

NANOSECOND = 1
MICROSECOND = 1000
MILLISECOND = 1000 * MICROSECOND
SECOND = 1000 * MILLISECOND
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
_UNITS = {
    "ns": NANOSECOND, "us": MICROSECOND, "µs": MICROSECOND, "μs": MICROSECOND, "ms": MILLISECOND,
    "s": SECOND, "m": MINUTE, "h": HOUR, "d": 24 * HOUR, "w": 7 * 24 * HOUR,
}  # fmt: skip
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([a-zµμ]+)")
_LONGEST = 2**63 - 1


def parse_duration(text: str) -> Duration:
    """Nanoseconds of ``1m30s``, ``1.5h``, ``2d``, ``0``. Raises ValueError."""
    sign, rest = 1, text
    if rest[:1] in ("-", "+"):
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
    if rest == "0":
        return Duration(0)
    if not rest:
        raise ValueError(f"invalid duration {text!r}")
    total, position = 0, 0
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None or not (part[1] or part[2]):
            missing = rest[position:].replace(".", "", 1).isdigit()
            what = "missing unit in" if missing else "invalid"
            raise ValueError(f"{what} duration {text!r}, {text + 's' if missing else '1m30s'} would be one")
        unit = _UNITS.get(part[3])
        if unit is None:
            raise ValueError(f"unknown unit {part[3]!r} in duration {text!r}, 1m30s would be one")
        digits = part[2] or ""
        total += int(part[1] or 0) * unit + (int(digits) * unit // 10 ** len(digits) if digits else 0)
        position = part.end()
    if total > _LONGEST:
        raise ValueError(f"duration {text!r} is longer than 292 years")
    return Duration(sign * total)


def format_duration(value: int) -> str:
    """As Go prints it: ``1m30s``, ``24h0m0s``, ``1.5ms``, ``0s``."""
    if value < 0:
        return "-" + format_duration(-value)
    if value == 0:
        return "0s"
    for unit, name in ((MICROSECOND, "ns"), (MILLISECOND, "µs"), (SECOND, "ms")):
        if value < unit:
            return _decimal(value, unit // 1000 if unit > MICROSECOND else 1) + name
    hours, rest = divmod(value, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    text = _decimal(rest, SECOND) + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    if not part:
        return str(whole)
    return f"{whole}.{part:0{len(str(unit)) - 1}d}".rstrip("0")
