"""What of a build cache goes."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.build.solver.pruning import CacheEntry, Limits, parse_conditions, to_remove
from runtime.errors import InvalidArgument

_HOUR = 3600 * 10**9


def _entry(name: str, **fields: Any) -> CacheEntry:
    wanted = {"type": "regular", "description": f"RUN {name}", "size": 10, "created": 0, "used": 0} | fields
    return CacheEntry(id=name, **wanted)


def test_what_builds_use_and_images_have_stays() -> None:
    entries = [_entry("a"), _entry("b", is_shared=True), _entry("c", is_in_use=True)]
    assert [entry.id for entry in to_remove(entries)] == ["a"]
    assert [entry.id for entry in to_remove(entries, everything=True)] == ["a", "b"]


def test_the_longest_unused_goes_first_and_children_before_parents() -> None:
    entries = [_entry("new", used=9), _entry("old", used=1, depth=1), _entry("child", used=1, depth=2)]
    assert [entry.id for entry in to_remove(entries)] == ["child", "old", "new"]
    assert [entry.id for entry in to_remove(entries, keep=20)] == ["child"]
    assert to_remove(entries, keep=30) == []


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (Limits(), None),
        (Limits(reserved=30), 30),
        (Limits(most=50), 50),
        (Limits(reserved=60, most=50), 60),
        (Limits(free=10), 100),  # there is so much
        (Limits(free=60), 60),
        (Limits(free=500), 0),
        (Limits(free=60, most=50), 50),
        (Limits(free=60, most=80, reserved=70), 70),
    ],
)
def test_how_much_stays(limits: Limits, kept: int | None) -> None:
    assert limits.keep(100, 20) == kept


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, "a b c"),
        ({"until": ["1h"]}, "a b"),
        ({"unused-for": ["1h30m"]}, "a"),
        ({"type": ["exec.cachemount"]}, "c"),
        ({"type!": ["exec.cachemount"]}, "a b"),
        ({"id": ["a", "b"]}, "a b"),
        ({"description~": ["RUN [ab]"]}, "a b"),
        ({"shared": ["true"]}, "b"),
        ({"private": [""]}, "a c"),
        ({"inuse": ["false"], "id": ["c"]}, "c"),
    ],
)
def test_filters(filters: dict[str, list[str]], wanted: str) -> None:
    entries = [
        _entry("a", used=8 * _HOUR),
        _entry("b", used=int(8.8 * _HOUR), is_shared=True),
        _entry("c", used=10 * _HOUR, type="exec.cachemount"),
    ]
    condition = parse_conditions(filters, 10 * _HOUR)
    assert " ".join(entry.id for entry in entries if condition(entry)) == wanted


@pytest.mark.parametrize("filters", [{"colour": ["red"]}, {"until": ["soon"]}, {"description~": ["("]}])
def test_filters_that_are_wrong(filters: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidArgument, match="invalid"):
        parse_conditions(filters, 0)
