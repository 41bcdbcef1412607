"""Sizes, durations and times as people read and write them, in Docker's words."""

from __future__ import annotations

_BINARY = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DURATIONS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}

SECOND = 1_000_000_000
"""In nanoseconds."""


def parse_size(text: str) -> int:
    """Bytes of ``512``, ``64k``, ``1.5g``, ``2GiB`` (units are powers of 1024, as Docker reads them). Raises
    ValueError."""
    if text == "-1":
        return -1
    lowered = text.strip().lower()
    number = lowered.rstrip("bkmgtpi")
    unit = lowered[len(number) :].replace("ib", "").replace("i", "")
    unit = unit.rstrip("b") if len(unit) > 1 else unit
    if unit not in _BINARY or not number:
        raise ValueError(text)
    value = float(number)
    if value < 0:
        raise ValueError(text)
    return int(value * _BINARY[unit])


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


def time_of(text: str, now: int, field: str) -> int:
    """:func:`parse_time`; raises UsageError that names ``field``."""
    from composer.cli.arguments import UsageError

    try:
        return parse_time(text, now)
    except ValueError:
        raise UsageError(
            f'invalid value for "{field}": failed to parse value as time or duration: "{text}"',
            hint="for instance 10m, 2026-01-31T12:00:00Z or 1767225600",
        ) from None


def moment_of(text: str, now: int, field: str) -> str:
    """:func:`time_of` for the API: seconds with nine decimals."""
    seconds, fraction = divmod(time_of(text, now, field), SECOND)
    return f"{seconds}.{fraction:09d}"


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


def human_size(size: float, precision: int = 3) -> str:
    """Docker's decimal sizes with three digits: ``1.99MB``, ``166MB``, ``0B``."""
    return _scaled(size, 1000.0, ("B", "kB", "MB", "GB", "TB", "PB", "EB"), precision)


def binary_size(size: float, precision: int = 4) -> str:
    """Powers of 1024, as ``stats`` shows memory: ``852KiB``, ``23.54GiB``."""
    return _scaled(size, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"), precision)


def _scaled(size: float, base: float, units: tuple[str, ...], precision: int) -> str:
    index = 0
    while size >= base and index < len(units) - 1:
        size /= base
        index += 1
    if float(f"{size:.{precision}g}") >= base and index < len(units) - 1:  # 999.9kB is 1MB, not 1e+03kB
        size /= base
        index += 1
    number = f"{size:.{precision}g}"
    return f"{number if 'e' not in number else int(size)}{units[index]}"


def rfc3339(nanoseconds: int, digits: int = 9) -> str:
    """UTC with ``digits`` of a second's fraction: ``2026-01-02T03:04:05.123456789Z``."""
    from time import gmtime, strftime

    text = strftime("%Y-%m-%dT%H:%M:%S", gmtime(nanoseconds // SECOND))
    fraction = f".{nanoseconds % SECOND:09d}"[: digits + 1] if digits else ""
    return f"{text}{fraction}Z"


def local_time(seconds: int) -> str:
    """A moment as Go's ``Time.String`` has it, in local time: ``2026-01-02 03:04:05 +0000 UTC``."""
    from time import localtime, strftime

    return strftime("%Y-%m-%d %H:%M:%S %z %Z", localtime(seconds))


def from_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch of a date that the engine sent; 0 for Docker's "never" and for ""."""
    if not text or text.startswith("0001-"):
        return 0
    return parse_time(text, 0)
