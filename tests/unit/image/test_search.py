"""What is searched for where, and which results are wanted."""

from __future__ import annotations

import pytest

from runtime.errors import InvalidArgument
from runtime.image.registry.search import Condition, Found, parse_condition, place_of


@pytest.mark.parametrize(
    ("term", "place"),
    [
        ("redis", ("docker.io", "redis")),
        ("library/redis", ("docker.io", "redis")),
        ("bitnami/redis", ("docker.io", "bitnami/redis")),
        ("index.docker.io/redis", ("docker.io", "redis")),
        ("registry.example.com/a/b", ("registry.example.com", "a/b")),
        ("localhost:5000/b", ("localhost:5000", "b")),
        ("[::1]:5000/b", ("[::1]:5000", "b")),
    ],
)
def test_place(term: str, place: tuple[str, str]) -> None:
    assert place_of(term) == place


@pytest.mark.parametrize("term", ["https://example.com/x", "EX_AMPLE.com/x"])
def test_no_place(term: str) -> None:
    with pytest.raises(InvalidArgument):
        place_of(term)


def test_conditions() -> None:
    official = Found("a", "", 10, True, False)
    assert parse_condition({}) == Condition()
    assert parse_condition({"stars": ["3", "12"]}).stars == 12
    assert not parse_condition({"stars": ["11"]}).admits(official)
    assert parse_condition({"is-official": ["true"], "stars": ["10"]}).admits(official)
    assert not parse_condition({"is-official": ["false"]}).admits(official)
    assert not parse_condition({"is-automated": ["1"]}).admits(official)


@pytest.mark.parametrize(
    "filters", [{"stars": ["x"]}, {"stars": ["-1"]}, {"is-official": ["maybe"]}, {"colour": ["red"]}]
)
def test_conditions_that_are_none(filters: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidArgument, match="invalid filter"):
        parse_condition(filters)
