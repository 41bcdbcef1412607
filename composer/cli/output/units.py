"""Sizes, durations and times as people read and write them, in Docker's words."""

from __future__ import annotations

from composer.api.moments import SECOND, parse_time

_BINARY = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


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
