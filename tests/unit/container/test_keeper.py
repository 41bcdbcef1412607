"""How soon the keeper starts another core."""

from __future__ import annotations

from runtime.container.keeper import FIRST_DELAY, LAST_DELAY, LAST_DELAY_OF_SERVING, LONG_ENOUGH, next_delay


def test_one_that_dies_again_and_again_is_given_more_time() -> None:
    delay, seen = 0.0, []
    for _ in range(12):
        delay = next_delay(delay, 0.1, has_served=False)
        seen.append(delay)
    assert seen[:3] == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY]
    assert seen[-1] == LAST_DELAY


def test_one_that_has_served_is_back_soon() -> None:
    delay = 0.0
    for _ in range(12):
        delay = next_delay(delay, 0.5, has_served=True)
    assert delay == LAST_DELAY_OF_SERVING


def test_after_a_good_run_it_begins_anew() -> None:
    assert next_delay(LAST_DELAY, LONG_ENOUGH + 1, has_served=True) == FIRST_DELAY
