"""Durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.compose.durations import HOUR, MINUTE, SECOND, format_duration, parse_duration
from composer.compose.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "nanoseconds", "shown"),
    [
        ("1m30s", 90 * SECOND, "1m30s"),
        ("90s", 90 * SECOND, "1m30s"),
        ("1.5h", 90 * MINUTE, "1h30m0s"),
        ("1d", 24 * HOUR, "24h0m0s"),
        ("1w", 168 * HOUR, "168h0m0s"),
        ("1500ms", 1500 * 10**6, "1.5s"),
        ("100us", 100_000, "100µs"),
        ("100µs", 100_000, "100µs"),
        ("7ns", 7, "7ns"),
        ("0", 0, "0s"),
        ("-1s", -SECOND, "-1s"),
        (".5s", SECOND // 2, "500ms"),
    ],
)
def test_durations(text: str, nanoseconds: int, shown: str) -> None:
    assert parse_duration(text) == nanoseconds
    assert format_duration(nanoseconds) == shown


@pytest.mark.parametrize("text", ["", "1", "s", "1y", "1 s", "1s ", "--1s", "1.5", ".s", "300000000h", "٣s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(min_value=-(2**62), max_value=2**62))
def test_durations_read_back(value: int) -> None:
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("1b", 1),
        ("1k", 1024),
        ("1KB", 1024),
        ("1KiB", 1024),
        ("1.5g", 3 * 2**29),
        (".5m", 2**19),
        ("64 MB", 2**26),
        ("2t", 2**41),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1x", "1ib", "1 kb ", "0x10", "9223372036854775808", "1e400"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=2**30), st.sampled_from(["b", "k", "KiB", "m", "MB", "g"]))
def test_sizes_are_multiples_of_their_unit(number: int, unit: str) -> None:
    power = "bkmg".index(unit[0].lower())
    assert parse_size(f"{number}{unit}") == number * 1024**power
