"""Decoders: from one canonical value to what it means, and how decoders of parts make one of the whole.

A decoder takes a value and gives a plain one, or raises :class:`ValueError` with the reason; :class:`Wrong` collects
the reasons of several parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from composer.compose.quantities import Size
from composer.compose.shell_words import shell_words
from composer.compose.sizes import parse_size
from composer.compose.trace import Path

Decoder = Callable[[Any], Any]


class Wrong(ValueError):
    """What is wrong with parts of a value: paths within it, and messages."""

    def __init__(self, faults: list[tuple[Path, str]]) -> None:
        super().__init__(faults[0][1])
        self.faults = faults


# How values are built up


def struct(fields: dict[str, Decoder]) -> Decoder:
    """A mapping with known keys; one that is not in ``fields`` keeps its value."""

    def decoder(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("must be a mapping")
        made: dict[str, Any] = {}
        faults: list[tuple[Path, str]] = []
        for key, inner in value.items():
            field = fields.get(key)
            if field is None:
                made[key] = inner
            elif inner is None:
                made[key] = None
            else:
                try:
                    made[key] = field(inner)
                except ValueError as e:
                    _add(faults, key, e)
        if faults:
            raise Wrong(faults)
        return made

    return decoder


def table(each: Decoder) -> Decoder:
    """A mapping with any keys; null values stay."""

    def decoder(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("must be a mapping")
        made: dict[str, Any] = {}
        faults: list[tuple[Path, str]] = []
        for key, inner in value.items():
            try:
                made[key] = None if inner is None else each(inner)
            except ValueError as e:
                _add(faults, key, e)
        if faults:
            raise Wrong(faults)
        return made

    return decoder


def several(each: Decoder) -> Decoder:
    """A list."""

    def decoder(value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("must be a list")
        made: list[Any] = []
        faults: list[tuple[Path, str]] = []
        for i, inner in enumerate(value):
            try:
                made.append(each(inner))
            except ValueError as e:
                _add(faults, i, e)
        if faults:
            raise Wrong(faults)
        return made

    return decoder


def _add(faults: list[tuple[Path, str]], step: str | int, error: ValueError) -> None:
    step = step if isinstance(step, int) else str(step)
    if isinstance(error, Wrong):
        faults.extend(((step, *path), message) for path, message in error.faults)
    else:
        faults.append(((step,), str(error)))


# Single values


def text(value: Any) -> str:
    """A string; what is not one as Go's fmt prints it."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    return str(value)


def float_text(value: float) -> str:
    """Go's ``%v``: the shortest that reads back, with an exponent from 1e6 on and below 1e-4."""
    from decimal import Decimal

    if value != value or value in (float("inf"), float("-inf")):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    assert isinstance(exponent, int)
    first = len(digits) + exponent - 1
    shown = "".join(map(str, digits))
    minus = "-" if sign else ""
    if value and not -4 <= first < 6:
        return f"{minus}{shown[0]}{'.' + shown[1:] if len(shown) > 1 else ''}e{first:+03d}"
    if exponent >= 0:
        return minus + shown + "0" * exponent
    whole = shown.rjust(1 - exponent, "0")
    return f"{minus}{whole[:exponent]}.{whole[exponent:]}"


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    shown = str(value).lower()
    if shown in ("true", "yes", "y", "on"):
        return True
    if shown in ("false", "no", "n", "off"):
        return False
    raise ValueError(f"true or false expected, not {value!r}")


def integer(value: Any) -> int:
    """A whole number; what has a fraction is cut, as in Docker Compose."""
    if isinstance(value, bool):
        raise ValueError("a whole number expected")
    if isinstance(value, int):
        number = int(value)
    elif isinstance(value, float):
        if value != value or abs(value) > 2**63:
            raise ValueError(f"a whole number expected, not {float_text(value)}")
        number = int(value)
    else:
        digits = str(value)
        if not digits.lstrip("+-").isdigit() or not digits.isascii() or len(digits) > 20:
            raise ValueError(f"a whole number expected, not {digits!r}")
        number = int(digits)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"the number {number} is too large")
    return number


def natural(value: Any) -> int:
    number = integer(value)
    if number < 0:
        raise ValueError(f"must not be negative, but is {number}")
    return number


def strict_integer(value: Any) -> int:
    """As :func:`integer`, of a whole number only: Docker Compose takes no string and no fraction here."""
    if isinstance(value, str | float):
        raise ValueError(f"a whole number expected, not {value!r}")
    return integer(value)


def strict_natural(value: Any) -> int:
    """As :func:`natural`, of a number only: Docker Compose takes no string here."""
    if isinstance(value, str):
        raise ValueError(f"a number expected, not the string {str(value)!r}")
    return natural(value)


def number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        if not str(value).isascii() or "_" in str(value) or str(value) != str(value).strip():
            raise ValueError
        return float(value)
    except ValueError:
        raise ValueError(f"a number expected, not {value!r}") from None


def single(value: Any) -> float:
    """A number in single precision, as CPUs are counted."""
    from struct import pack, unpack

    exact = number(value)
    if exact != exact or abs(exact) == float("inf"):
        raise ValueError(f"a number expected, not {float_text(exact)}")
    if exact == int(exact) if abs(exact) < 2**24 else False:
        return exact
    try:
        packed = pack("f", exact)
    except OverflowError:
        raise ValueError(f"the number {value} is too large") from None
    for precision in range(6, 10):
        shown = float(f"{exact:.{precision}g}")
        if pack("f", shown) == packed:
            return shown
    rounded: float = unpack("f", packed)[0]
    return rounded


def size(value: Any) -> Size:
    """Bytes. A number with a decimal point is none, and counts as not given, as in Docker Compose."""
    if isinstance(value, str):
        return parse_size(value)
    if isinstance(value, float):
        return Size(0)
    return Size(integer(value))


def file_mode(value: Any) -> int:
    """Permission bits; a string is octal."""
    if isinstance(value, float):
        raise ValueError(f"an octal number expected, not {float_text(value)}")
    if not isinstance(value, str):
        return integer(value)
    try:
        return int(value, 8)
    except ValueError:
        raise ValueError(f"an octal number expected, not {value!r}") from None


def command(value: Any) -> list[str]:
    if isinstance(value, str):
        return shell_words(value)
    return [text(item) for item in value]


def listed(value: Any) -> list[str]:
    """A list of strings, or one string."""
    found: list[str] = _words(value) if isinstance(value, list) else [word(value)]
    return found


def word(value: Any) -> str:
    """A string, or a whole number as one."""
    if (
        isinstance(value, str | int)
        and not isinstance(value, bool)
        and (isinstance(value, str) or value < 2**63)
    ):
        return str(value)
    raise ValueError(f"a string expected, not {text(value)}")


_words = several(word)


def words(value: Any) -> dict[str, str]:
    """A mapping of strings."""
    return {str(key): "" if inner is None else word(inner) for key, inner in value.items()}


def healthcheck_test(value: Any) -> list[str]:
    return ["CMD-SHELL", str(value)] if isinstance(value, str) else listed(value)


def options(value: Any) -> dict[str, str]:
    """A mapping of strings, null being ""."""
    return {str(key): text(inner) for key, inner in value.items()}


def mapping(value: Any) -> dict[str, str]:
    """``K=V`` in a list, or a mapping; without a value: ""."""
    if isinstance(value, dict):
        return {str(key): text(inner) for key, inner in value.items()}
    return {key: inner for key, _, inner in (text(item).partition("=") for item in value)}


def variables(value: Any) -> dict[str, str | None]:
    """As :func:`mapping`; without a value: None."""
    if isinstance(value, dict):
        return {str(key): None if inner is None else text(inner) for key, inner in value.items()}
    made: dict[str, str | None] = {}
    for item in value:
        key, equals, inner = text(item).partition("=")
        if key != key.rstrip():
            raise ValueError(f"environment variable {key} is declared with a trailing space")
        made[key] = inner if equals else None
    return made


def extra_hosts(value: Any) -> list[str]:
    """Sorted ``host=address``; brackets around an address go. An item of a list may have several, with commas."""
    pairs: list[tuple[str, str]] = []
    if isinstance(value, dict):
        for host, addresses in value.items():
            pairs.extend(
                (str(host), text(a)) for a in (addresses if isinstance(addresses, list) else [addresses])
            )
    else:
        for item in value:
            host, equals, address = text(item).partition("=")
            if not equals:
                host, equals, address = text(item).partition(":")
            if not equals:
                raise ValueError(f"bad host name {item!r}: host=address expected")
            pairs.extend((host, one) for one in address.split(","))
    made = []
    for host, address in pairs:
        if not host or ":" in host or "=" in host:
            raise ValueError(f"bad host name {host!r}")
        if address.startswith("[") and address.endswith("]"):
            address = address[1:-1]
        made.append(f"{host}={address}")
    return sorted(made)


def ssh_keys(value: Any) -> list[str]:
    return sorted(str(key) if inner is None else f"{key}={text(inner)}" for key, inner in value.items())


def device_count(value: Any) -> int:
    if isinstance(value, float):
        raise ValueError(f'a whole number or "all" expected, not {float_text(value)}')
    return -1 if value == "all" else integer(value)


def provider_options(value: Any) -> dict[str, list[str]]:
    """Each a list; one without values is none."""
    lists = {str(key): inner if isinstance(inner, list) else [inner] for key, inner in value.items()}
    return {key: [text(item) for item in inner] for key, inner in lists.items() if inner not in ([], [None])}
