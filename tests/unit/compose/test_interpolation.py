"""Variables in values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.compose.interpolation import Malformed, Required, Variables, interpolate, substitute
from composer.compose.problem import Problem

VALUES = {"SET": "value", "EMPTY": "", "JSON": '{"a":1}', "_x1": "under"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$SET", "value"),
        ("${SET}", "value"),
        ("a${SET}b$SET-c", "avaluebvalue-c"),
        ("$_x1 ${_x1}", "under under"),
        ("$UNSET|${UNSET}", "|"),
        ("$$SET $${SET} $$$SET", "$SET ${SET} $value"),
        ("$1 $ $.x", "$1 $ $.x"),
        ("cost: 5$", "cost: 5$"),
        ("${UNSET:-d} ${EMPTY:-d} ${SET:-d}", "d d value"),
        ("${UNSET-d} ${EMPTY-d} ${SET-d}", "d  value"),
        ("${UNSET:+r} ${EMPTY:+r} ${SET:+r}", "  r"),
        ("${UNSET+r} ${EMPTY+r} ${SET+r}", " r r"),
        ("${SET:?no} ${SET?no} [${EMPTY?no}]", "value value []"),
        ("${UNSET:-${SET}}", "value"),
        ("${UNSET:-${EMPTY:-${SET:+deep}}}", "deep"),
        ("${UNSET:-a$SET}", "avalue"),
        ("${UNSET-:-x}", ":-x"),
        ("${UNSET:--}", "-"),
        ("${UNSET:-}", ""),
        ("${UNSET:-$$x}", "$x"),
        ('${UNSET:-{"json":1}}', '{"json":1}'),
        ('${JSON:-{"json":1}}', '{"a":1}'),
        ('${JSON:-{"json":{"x":1}}} ${SET}', '{"a":1} value'),
        ("${UNSET:-{}}", "{}"),
        ("${UNSET:-a} and }", "a and }"),
        ("${UNSET:-two words} ${SET}", "two words value"),
    ],
)
def test_substitution(text: str, expected: str) -> None:
    assert substitute(text, Variables(VALUES)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "${",
        "${SET",
        "${}",
        "${ SET}",
        "${SET }",
        "${1}",
        "${SET!x}",
        "${SET:x}",
        "${SET:=x}",
        "${UNSET:-a\nb}",
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        substitute(text, Variables(VALUES))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${UNSET:?give it}", "UNSET is missing a value: give it"),
        ("${EMPTY:?give it}", "EMPTY is missing a value: give it"),
        ("${UNSET?}", "UNSET is missing a value"),
        ("${UNSET?see $SET}", "UNSET is missing a value: see value"),
        ("${SET:-${UNSET:?inner}}", "UNSET is missing a value: inner"),
    ],
)
def test_required(text: str, message: str) -> None:
    """Also in a default that is not needed, as in Docker Compose."""
    with pytest.raises(Required, match=f"^{message}$"):
        substitute(text, Variables(VALUES))


def test_unset_names_are_told_once_each() -> None:
    variables = Variables({})
    interpolate({"a": "$X $X", "b": ["${Y}", "${Z:-d}", "$X"]}, variables)
    assert variables.warnings() == [
        'The "X" variable is not set. Defaulting to a blank string.',
        'The "Y" variable is not set. Defaulting to a blank string.',
    ]
    assert set(variables.used) == {"X", "Y", "Z"}


def test_values_at_all_depths_and_no_keys() -> None:
    tree = {"$SET": {"list": ["$SET", {"deep": "${SET}"}, 5, None, True]}}
    interpolate(tree, Variables(VALUES))
    assert tree == {"$SET": {"list": ["value", {"deep": "value"}, 5, None, True]}}


def test_problems_have_the_path() -> None:
    with pytest.raises(Problem) as caught:
        interpolate({"services": {"a": {"ports": ["80", "${"]}}}, Variables({}))
    assert caught.value.path == ("services", "a", "ports", 1)
    assert 'invalid interpolation format: "${"' in caught.value.message


def test_nesting_is_bounded() -> None:
    with pytest.raises(Malformed):
        substitute("${A:-" * 1000 + "}" * 1000, Variables({}))


@given(st.text(alphabet=st.characters(exclude_characters="$")))
def test_text_without_dollars_is_left_alone(text: str) -> None:
    assert substitute(text, Variables(VALUES)) == text


@given(st.text())
def test_escaped_text_comes_back(text: str) -> None:
    assert substitute(text.replace("$", "$$"), Variables(VALUES)) == text


@given(st.text(alphabet="${}:-+?ab _\n", max_size=40))
def test_any_text_is_a_value_or_an_error(text: str) -> None:
    try:
        assert isinstance(substitute(text, Variables({"a": "1", "b": ""})), str)
    except (Malformed, Required):
        pass


@given(st.dictionaries(st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,8}\Z"), st.text(), max_size=4), st.data())
def test_values_are_not_looked_at_again(values: dict[str, str], data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(values)), max_size=4)) if values else []
    template = "|".join(f"${{{name}}}" for name in names)
    assert substitute(template, Variables(values)) == "|".join(values[name] for name in names)
