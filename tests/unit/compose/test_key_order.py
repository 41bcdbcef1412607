"""The order of printed keys."""

from __future__ import annotations

import itertools
from functools import cmp_to_key

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.compose.key_order import compare, in_order


@pytest.mark.parametrize(
    "keys",
    [
        ["s", "s1", "s2", "s10"],
        ["DB_HOST", "DBX"],
        ["a1b", "a1_b"],
        ["a.b", "ab"],
        ["A", "a"],
        ["v1.9", "v1.10"],
        ["a1", "a01"],
        ["x100", "x101"],
        [""],
        [],
    ],
)
def test_order(keys: list[str]) -> None:
    for shuffled in itertools.permutations(keys):
        assert in_order(shuffled) == keys


@given(st.lists(st.text(alphabet="aB0129._-é", max_size=4), unique=True))
def test_it_is_an_order(keys: list[str]) -> None:
    for a, b in itertools.combinations(keys, 2):
        assert compare(a, b) == 0 or (compare(a, b) < 0) != (compare(b, a) < 0)


@given(st.lists(st.text(alphabet="abz._-/", max_size=5), unique=True))
def test_simple_keys_need_no_comparing(keys: list[str]) -> None:
    assert in_order(keys) == sorted(keys, key=cmp_to_key(compare))
