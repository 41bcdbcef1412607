"""Environment files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.compose.dotenv import parse_dotenv, parse_raw
from composer.compose.problem import Problem

SHELL = {"HOME": "/home/me", "INHERITED": "yes", "A": "shell"}


def parsed(text: str, earlier: dict[str, str] | None = None) -> dict[str, str]:
    return parse_dotenv(text.encode(), "/x/.env", SHELL.get, earlier)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# only\n\n   # comments\n", {}),
        ("B=1\nC=2", {"B": "1", "C": "2"}),
        ("B=1\r\nC=2\r\n", {"B": "1", "C": "2"}),
        ("\ufeffB=1", {"B": "1"}),
        ("B=", {"B": ""}),
        ("  B  =  x y  ", {"B": "x y"}),
        ("B: yaml", {"B": "yaml"}),
        ("export B=1", {"B": "1"}),
        ("export\tB=1", {"B": "1"}),
        ("INHERITED\nMISSING\n", {"INHERITED": "yes"}),
        ("B=1 # comment", {"B": "1"}),
        ("B=1#no comment", {"B": "1#no comment"}),
        ("B='a b' # comment", {"B": "a b"}),
        ("B='$HOME \\n'", {"B": "$HOME \\n"}),
        ('B="a\\nb\\t\\"c\\""', {"B": 'a\nb\t"c"'}),
        ("B='line 1\nline 2'\nC=3", {"B": "line 1\nline 2", "C": "3"}),
        ('B="line 1\nline 2"\nC=3', {"B": "line 1\nline 2", "C": "3"}),
        ("B=$HOME/x", {"B": "/home/me/x"}),
        ('B="${HOME}/x"', {"B": "/home/me/x"}),
        ('B="\\$HOME"', {"B": "$HOME"}),
        ("B=1\nC=${B}2\nD=$C", {"B": "1", "C": "12", "D": "12"}),
        ("A=file\nC=$A", {"A": "file", "C": "shell"}),
        ("C=${D:-d}", {"C": "d"}),
        ("C=$LATER\nLATER=1", {"C": "", "LATER": "1"}),
        ("B=1\nB=2", {"B": "2"}),
        ("a.b-c=1", {"a.b-c": "1"}),
    ],
)
def test_grammar(text: str, expected: dict[str, str]) -> None:
    assert parsed(text) == expected


def test_files_before_this_one_are_seen() -> None:
    assert parsed("C=$B", {"B": "before"}) == {"C": "before"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A B=1", 1),
        ("B=1\nC='open", 2),
        ('B=1\n\nC="open', 3),
        ("B=1\nC!=2", 2),
        ("B=${", 1),
        ("B=${X:?gone}", 1),
    ],
)
def test_mistakes_have_their_line(text: str, line: int) -> None:
    with pytest.raises(Problem) as caught:
        parsed(text)
    assert caught.value.at is not None
    assert (caught.value.at.file, caught.value.at.line) == ("/x/.env", line)


def test_not_utf8() -> None:
    with pytest.raises(Problem, match="not UTF-8"):
        parse_dotenv(b"A=1\nB=\xff", "/x/.env", SHELL.get)


def test_raw_takes_lines_as_they_are() -> None:
    text = "# comment\nA='x y' # z\nB=$HOME\nINHERITED\n\nC=a=b\n"
    assert parse_raw(text.encode(), "/x/.env", SHELL.get) == {
        "A": "'x y' # z",
        "B": "$HOME",
        "INHERITED": "yes",
        "C": "a=b",
    }


names = st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,10}\Z")
values = st.text(alphabet=st.characters(blacklist_categories=["Cs"], blacklist_characters="\r"))


@given(st.dictionaries(names, values))
def test_double_quoted_values_come_back(wanted: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        return '"' + "".join("\\" + c if c in '\\"$' else c for c in value) + '"'

    text = "".join(f"{name}={quoted(value)}\n" for name, value in wanted.items())
    assert parse_dotenv(text.encode(), "f", {}.get) == wanted


@given(st.dictionaries(names, values.filter(lambda v: "'" not in v and "\\" not in v)))
def test_single_quoted_values_come_back(wanted: dict[str, str]) -> None:
    text = "".join(f"{name}='{value}'\n" for name, value in wanted.items())
    assert parse_dotenv(text.encode(), "f", {}.get) == wanted


@given(st.text(alphabet="AB=: \t\n'\"\\$#{}:-?", max_size=60))
def test_any_text_is_values_or_an_error(text: str) -> None:
    try:
        found = parse_dotenv(text.encode(), "f", {}.get)
    except Problem as problem:
        assert problem.at is not None
    else:
        assert all(isinstance(value, str) for value in found.values())
