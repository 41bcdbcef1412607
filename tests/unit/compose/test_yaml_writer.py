"""YAML that is written reads back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from composer.compose.yaml_text import parse_documents
from composer.compose.yaml_writer import to_yaml

TEXTS = st.text(max_size=12) | st.text(
    alphabet="ab :#-'\"\\\n\t[]{}|>&*!%@`?,=~0123456789.eEx_+", max_size=10
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
@example({"a": "\n"})
@example({"a": "\n\nb\n\n"})
@example({"a": " b\n c"})
@example({"a": [["x", {"y": []}], {}]})
def test_what_is_written_reads_back(value: dict[str, Any]) -> None:
    text = to_yaml(value)
    [document] = parse_documents(text.encode("utf-8", "surrogatepass"), "f", traced=False)
    assert document.tree == value, text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("yes", '"yes"'),
        ("n", '"n"'),
        ("1.5", '"1.5"'),
        ("0755", '"0755"'),
        ("12:30", '"12:30"'),
        ("2020-01-01", '"2020-01-01"'),
        ("a: b", "'a: b'"),
        ("- a", "'- a'"),
        ("#x", "'#x'"),
        (" x", "' x'"),
        ("it's", "it's"),
        ("'x", "'''x'"),
        ("a\tb", '"a\\tb"'),
        ("02:42:ac:11:00:02", "02:42:ac:11:00:02"),
        ("/bin/sh", "/bin/sh"),
        ("a\nb", "|-\n  a\n  b"),
        ("a\nb\n", "|\n  a\n  b"),
        (None, "null"),
        (True, "true"),
        ([], "[]"),
        ({}, "{}"),
        (0.25, "0.25"),
    ],
)
def test_forms(value: Any, text: str) -> None:
    assert to_yaml({"k": value}) == f"k: {text}\n"


def test_nesting() -> None:
    assert to_yaml({"a": {"b": [{"c": 1, "d": [2, [3]]}, "e"]}}) == (
        "a:\n  b:\n    - c: 1\n      d:\n        - 2\n        - - 3\n    - e\n"
    )
