"""Words, quotes and variables of instructions."""

from __future__ import annotations

import pytest

from runtime.build.frontend.expand import expand, expand_text, json_words, split_words

_VARIABLES = {"a": "one", "empty": "", "path": "/x/y/z.tar.gz"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$a-${a}", "one-one"),
        ("\\$a '$a' \"$a\"", "$a $a one"),
        ("${b:-two} ${b-two} ${empty:-two}|${empty-two}", "two two two|"),
        ("${a:+set}|${empty:+set}|${empty+set}|${b+set}", "set||set|"),
        ("${b:-${a}}", "one"),
        ("${path##*/} ${path#*/}", "z.tar.gz x/y/z.tar.gz"),
        ("${path%.*} ${path%%.*}", "/x/y/z.tar /x/y/z"),
        ("${path/x/q} ${path//\\//-}", "/q/y/z.tar.gz -x-y-z.tar.gz"),
        ('"a\\"b\\n"', 'a"b\\n'),
    ],
)
def test_expansion(text: str, result: str) -> None:
    assert expand(text, _VARIABLES) == result


@pytest.mark.parametrize("text", ["${b:?gone}", "${a", "'open", '"open', "${a^}"])
def test_what_cannot_be_expanded(text: str) -> None:
    with pytest.raises(ValueError):
        expand(text, _VARIABLES)


def test_words_and_their_json_form() -> None:
    assert split_words("a 'b c' d\\ e") == ("a", "'b c'", "d\\ e")
    assert json_words('["a", "b c"]') == ("a", "b c")
    assert json_words("[ -f x ]") is None


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${path/\\/x/q}", "q/y/z.tar.gz"),
        ("${path//y*./-}", "/x/-gz"),
        ("${path#*\\/}", "x/y/z.tar.gz"),
        ("${path%?gz}", "/x/y/z.tar"),
        ("${a:-${b:-'x y'}}|${b:-'x y'}", "one|x y"),
        ("$", "$"),
        ("a$1b", "ab"),
    ],
)
def test_patterns_and_what_is_nested(text: str, result: str) -> None:
    assert expand(text, _VARIABLES) == result


def test_quotes_of_heredocs_are_text() -> None:
    assert expand_text("\"$a\" '$a' \\$a \\\\", _VARIABLES) == "\"one\" 'one' $a \\"


def test_variables_without_a_value_are_told() -> None:
    unset: set[str] = set()
    expand("$a $b ${c} ${d:-x} ${e%y} '$f'", _VARIABLES, unset=unset)
    assert unset == {"b", "c", "e"}


def test_arrays_of_other_things_than_words() -> None:
    with pytest.raises(ValueError, match="strings only"):
        json_words('["a", 1]')
