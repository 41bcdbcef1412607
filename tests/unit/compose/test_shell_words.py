"""Command strings."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.compose.shell_words import shell_words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  ", []),
        ("run --fast", ["run", "--fast"]),
        ("echo 'a b' \"c d\"", ["echo", "a b", "c d"]),
        (r"a\ b c\nd", ["a b", "cnd"]),
        (r'"a\tb" \"', ["atb", '"']),
        ("a )b c) d", ["a", ")b c)", "d"]),
        (r"`a\`b` c", ["`a`b`", "c"]),
        ('`a "b c"` d', ["`a b c`", "d"]),
        ("$(a 'b) c", ["$(a 'b)", "c"]),
        ('a "" b', ["a", "", "b"]),
        ("one && two", ["one"]),
        ("one; two", ["one"]),
        ("a 2>file", ["a"]),
        ("a b>file", ["a", "b"]),
        ("a 'b;c' \"d|e\"", ["a", "b;c", "d|e"]),
        ("echo `date now` x", ["echo", "`date now`", "x"]),
        ("echo $(date now) x", ["echo", "$(date now)", "x"]),
        (r"'a\b'", [r"a\b"]),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    assert shell_words(line) == words


@pytest.mark.parametrize(
    "line", ['a "b', "a 'b", "a (b)", "a )", "a `b", "a $(b", "a\\", '`a "` b', "$(a (b))"]
)
def test_open_ends(line: str) -> None:
    with pytest.raises(ValueError, match=r"quote|parenthesis|backslash"):
        shell_words(line)


@given(st.lists(st.text(alphabet="abc '\"$/.-", max_size=6), max_size=5))
def test_what_is_quoted_comes_back(words: list[str]) -> None:
    assert shell_words(" ".join(shlex.quote(word) for word in words)) == words
