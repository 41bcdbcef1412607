"""Taken addresses: none twice, whatever is taken and given back in whichever order."""

from __future__ import annotations

import ipaddress
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from runtime.network.leases import Leases

FIRST = int(ipaddress.IPv4Address("10.1.0.0"))
LAST = FIRST + 15


def address(number: int) -> str:
    return str(ipaddress.IPv4Address(number))


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("take"), st.integers(FIRST, LAST), st.sampled_from("ab")),
            st.tuples(st.just("back"), st.integers(0, 30), st.just("")),
            st.tuples(st.just("next"), st.integers(0, 8), st.sampled_from("ab")),
        ),
        max_size=60,
    )
)
def test_the_lowest_that_nobody_has(steps: list[tuple[str, int, str]]) -> None:
    leases, held = Leases(), Counter[tuple[int, str]]()
    for what, number, holder in steps:
        if what == "take":
            leases.take(address(number), holder)
            held[number, holder] += 1
        elif what == "back" and held:
            one = sorted(held)[number % len(held)]
            leases.give_back(address(one[0]), one[1])
            held -= Counter([one])
        elif what == "next":
            # What is reserved differs from time to time, as that of one range does when a network is made anew.
            reserved = {FIRST + number}
            taken = {of for of, _ in held} | reserved
            free = [of for of in range(FIRST, LAST + 1) if of not in taken]
            found = leases.first_free(4, FIRST, LAST, reserved)
            assert (found is None) == (not free)
            assert found is None or found in free
            if found is not None:
                leases.take(address(found), holder)
                held[found, holder] += 1
        assert bool(leases) == bool(held)
    for number in range(FIRST, LAST + 1):
        others = {holder for of, holder in held if of == number} - {"a"}
        assert leases.holder_of(address(number), besides="a") == ("b" if others else "")


def test_a_place_that_is_given_back_is_the_next() -> None:
    leases = Leases()
    for number in range(FIRST, FIRST + 5):
        assert leases.first_free(4, FIRST, LAST, ()) == number
        leases.take(address(number), "web")
    leases.give_back(address(FIRST + 2), "web")
    assert leases.first_free(4, FIRST, LAST, ()) == FIRST + 2
    leases.take("fd00::1", "web")
    assert leases.holder_of("fd00::1") == "web"
    assert leases.first_free(6, 1, 4, {1}) == 2
