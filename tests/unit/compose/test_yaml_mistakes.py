"""What is said about text that is no YAML: the mistake and its place, rather than where the parser gave up."""

from __future__ import annotations

import pytest

from composer.compose.problem import Problem
from composer.compose.yaml_mistakes import Complaint, Mistake, diagnose
from composer.compose.yaml_text import parse_documents

WEB = "services:\n  web:\n"
MISTAKES = {
    "tab": (f"{WEB}\timage: x\n", 3, 1, "a tab in the indentation"),
    "tab behind spaces": (f"{WEB}  \timage: x\n", 3, 3, "a tab in the indentation"),
    "no-break space": (
        f"{WEB}  \u00a0 image: x\n    ports: []\n",
        3,
        3,
        "a character that only looks like a space (U+00A0) in the indentation",
    ),
    "nothing behind a bracket": (f"{WEB}    ports: [\n", 3, 12, "[ is not closed"),
    "nothing behind a bracket's items": (
        f"{WEB}    ports: [[1], '[',  # [\n\n",
        3,
        12,
        "[ is not closed",
    ),
    "nothing behind a brace": (f"{WEB}    build: {{args: {{", 3, 19, "{ is not closed"),
    "two commas": (f"{WEB}    ports: [1,, 2]\n", 3, 15, "nothing stands in front of the comma"),
    "no colon": (f"{WEB}    image x\n    ports: []\n", 3, 10, "a colon is missing behind image"),
    "no colon behind a name": ("services:\n  web\n    image: x\n", 2, 6, "a colon is missing behind web"),
    "no colon on the last line": (f"{WEB}    image: x\n    tty on\n", 4, 8, "a colon is missing behind tty"),
    "no space": (f"{WEB}    image:x\n    ports: []\n", 3, 10, "there is no space behind the colon"),
    "two colons": (
        f"{WEB}    image: a: b\n",
        3,
        13,
        "a second colon with a space behind it, in a value without quotation marks",
    ),
    "deeper": (f"{WEB}    image: x\n     tty: on\n", 4, 6, "indented deeper than line 3, which has a value already"),
    "less": (
        f"{WEB}    image: x\n  ports:\n      - a\n    tty: on\n",
        6,
        5,
        "indented by 4 spaces, where no line above begins: line 4 (ports:) is indented by 2 spaces",
    ),
    "an item": (f"{WEB}    image: x\n    - y\n", 4, 5, "a list item among keys"),
    "a key": ("services:\n  - web:\n      image: x\n  db:\n", 4, 3, "a key among list items"),
    "item behind a key": (f"{WEB}    ports: - 80\n", 3, 12, "a list item behind a key"),
    "at": (f"{WEB}    image: @x\n", 3, 12, "text cannot begin with @, which means something in YAML"),
    "star": (f"{WEB}    image: * x\n", 3, 12, "text cannot begin with *, which means something in YAML"),
    "backslash": (
        f'{WEB}    image: "C:\\Users"\n',
        3,
        15,
        'a backslash within "double quotes" begins an escape sequence',
    ),
    "open quote": (
        f'{WEB}    ports:\n      - "80:80\n    command: ["a"]\n',
        4,
        9,
        "a quotation mark is not closed",
    ),
    "open quote to the end": (f"{WEB}    image: 'x\n", 3, 12, "a quotation mark is not closed"),
    "apostrophe": (f"{WEB}    image: 'it's x'\n", 3, 16, "text stands behind a closing quotation mark"),
    "open bracket": (f"{WEB}    ports: [a\n    tty: on\n", 3, 12, "[ is not closed"),
    "wrong bracket": (f"{WEB}    ports: [a}}\n", 3, 14, "} does not close ["),
    "no comma": ('{"services": {"web": {"image": "x" "tty": 1}}}', 1, 36, "a comma is missing here"),
    "variable in braces": (f"{WEB}    labels: {{a: ${{X}}}}\n", 3, 17, "${…} in braces has to be quoted"),
    "tight colon": (f"{WEB}    labels: {{a:}}\n", 3, 15, "a colon that nothing follows"),
    "conflict": (
        f"{WEB}<<<<<<< HEAD\n    image: x\n=======\n    image: y\n>>>>>>> other\n",
        3,
        1,
        "a merge conflict is left in the file",
    ),
    "fence": ("```yaml\nservices: {}\n```\n", 1, 1, "``` is Markdown and not YAML"),
}  # fmt: skip


COMPLAINTS = (
    ("found character that cannot start any token", "while scanning for the next token"),
    ("did not find expected key", "while parsing a block mapping"),
    ("did not find expected ',' or ']'", "while parsing a flow sequence"),
    ("found unexpected end of stream", "while scanning a quoted scalar"),
    ("could not find expected ':'", "while scanning a simple key"),
    ("mapping values are not allowed in this context", ""),
)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str) -> None:
    text, line, column, message = MISTAKES[name]
    with pytest.raises(Problem) as caught:
        parse_documents(text.encode(), "f", traced=True)
    problem = caught.value
    assert problem.at is not None and problem.hint
    assert (problem.at.line, problem.at.column, problem.message) == (
        line,
        column,
        f"not valid YAML: {message}",
    )


def test_what_is_not_known_keeps_the_words_of_the_parser() -> None:
    assert diagnose("a: b", Complaint("something is odd", 1, 2, "while parsing")) == Mistake(
        "something is odd while parsing", 1, 2
    )


@pytest.mark.parametrize("line", [0, 1, 99])
@pytest.mark.parametrize("context", [complaint[1] for complaint in COMPLAINTS])
@pytest.mark.parametrize("problem", [complaint[0] for complaint in COMPLAINTS])
def test_a_place_outside_of_the_text_does_no_harm(line: int, problem: str, context: str) -> None:
    for text in ("", "\n", "a", "a: b\n- c"):
        assert diagnose(text, Complaint(problem, line, line, context, line, line)).message


def test_an_alias_without_its_anchor() -> None:
    with pytest.raises(Problem) as caught:
        parse_documents(b"x-a: &base {a: b}\nb: *bsae\n", "f", traced=True)
    assert (caught.value.message, caught.value.hint) == (
        "unknown anchor 'bsae' referenced",
        "did you mean *base?",
    )


def test_utf_16() -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        mark = "" if encoding == "utf-16" else "\ufeff"
        assert parse_documents(f"{mark}a: é".encode(encoding), "f", traced=False)[0].tree == {"a": "é"}


def test_tags_and_scalars() -> None:
    found = parse_documents(b"{a: !override 1, b: ! 1, c: !x 1, d: ! '1', e: !!str 1}", "f", traced=False)
    assert found[0].tree == {"a": "1", "b": 1, "c": "1", "d": "1", "e": "1"}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"{WEB}    image: x\n    tty: on\n    image: y\n", '"image" is already defined on line 3'),
        ("x: {a: 1, a: 2}\n", '"a" is already defined in column 5'),
        ("a: &a {}\nb:\n  <<: *a\n  <<: *a\n", '"<<" is already defined on line 3'),
    ],
)
def test_what_is_defined_twice_names_the_first_place(text: str, where: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_documents(text.encode(), "f", traced=True)
    assert caught.value.message == f"mapping key {where}"
