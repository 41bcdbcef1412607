"""``until`` of prune: durations, seconds, dates."""

from __future__ import annotations

import math

import pytest

from composer.api.moments import SECOND
from composer.api.routes_containers import until_bound
from runtime.errors import InvalidArgument

NOW = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("24h", 1_700_000_000 - 86_400),
        ("1h30m", 1_700_000_000 - 5_400),
        ("1600000000", 1_600_000_000),
        ("2020-09-13T12:26:40Z", 1_600_000_000),
        ("2020-09-13T14:26:40.5+02:00", 1_600_000_000.5),
    ],
)
def test_until(text: str, seconds: float) -> None:
    assert until_bound([text], NOW) == seconds * SECOND


def test_dates_are_local_and_nothing_is_for_ever() -> None:
    assert abs(until_bound(["2020-09-13"], NOW) - 1_600_000_000 * SECOND) < 2 * 86_400 * SECOND
    assert until_bound([], NOW) == math.inf


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(InvalidArgument, match='failed to parse value as time or duration: "soon"'):
        until_bound(["soon"], NOW)
    with pytest.raises(InvalidArgument, match="more than one until"):
        until_bound(["1h", "2h"], NOW)
