"""What a name may have been meant to be."""

from __future__ import annotations

import pytest

from runtime.nearest import distance_if_near, edit_distance, nearest


@pytest.mark.parametrize(
    ("name", "other", "is_near"),
    [
        ("dv", "db", True),
        ("b", "a", False),
        ("front", "fornt", True),
        ("pyhton", "python", True),
        ("python", "python3", True),
        ("bild", "build", True),
        ("xbuild", "build", True),
        ("env", "environment", True),
        ("sr", "srv-of-all", False),
        ("hello", "shell", False),
        ("nosuch", "touch", False),
        ("redis", "ls", False),
        ("additonal_contxts", "additional_contexts", True),
        ("", "x", False),
    ],
)
def test_what_is_near(name: str, other: str, is_near: bool) -> None:
    assert (distance_if_near(name, other) is not None) == is_near
    assert nearest(name, [other]) == (other if is_near else "")


def test_a_slip_is_nearer_than_a_beginning_and_the_first_of_equals_is_meant() -> None:
    assert nearest("port", ["portal", "ports", "sport"]) == "ports"
    assert nearest("image", []) == ""


def test_distances() -> None:
    assert [edit_distance(a, b, 9) for a, b in (("ab", "ba"), ("", "abc"), ("kitten", "sitting"))] == [
        1,
        3,
        3,
    ]
    assert edit_distance("abcdefgh", "ijklmnop", 3) == 3
