"""Validation, and the schema itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.compose.problem import Problem
from composer.compose.schema import load_schema, validate
from composer.compose.yaml_text import parse_documents
from tests.conformance.corpus import find_cases


def problems(tree: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Path, message and hint of everything that is wrong."""
    try:
        validate(tree)
    except Problem as e:
        return [(".".join(map(str, p.path)), p.message, p.hint) for p in (e, *e.more)]
    return []


def of_service(**attributes: Any) -> list[tuple[str, str, str]]:
    return [(p.removeprefix("services.a."), m, h) for p, m, h in problems({"services": {"a": attributes}})]


def test_everything_at_once() -> None:
    found = problems(
        {
            "services": {"a": {"imgae": "x", "ports": 80, "cgroup": "hots"}, "b c": {}},
            "netwroks": {},
            "x-a": 1,
        }
    )
    assert found == [
        ("services.a.imgae", "unknown attribute 'imgae'", "did you mean image?"),
        ("services.a.ports", "must be a list, not 80", ""),
        ("services.a.cgroup", "'hots' is not one of host, private", "did you mean host?"),
        ("services.b c", "invalid service name 'b c'", "letters, digits, dots, dashes and underscores"),
        ("netwroks", "unknown attribute 'netwroks'", "did you mean networks?"),
    ]


@pytest.mark.parametrize(
    ("attributes", "path", "message"),
    [
        ({"image": None}, "image", "must be a string, not nothing"),
        ({"user": 1000}, "user", "must be a string, not 1000"),
        ({"build": []}, "build", "must be a string or a mapping, not a list"),
        ({"cap_add": ["A", "A"]}, "cap_add.1", "'A' is there twice"),
        ({"depends_on": {"b": {}}}, "depends_on.b", "condition is missing"),
        ({"build": {"contxt": "."}}, "build.contxt", "unknown attribute 'contxt'"),
        ({"oom_score_adj": 2000}, "oom_score_adj", "must be at most 1000, not 2000"),
        ({"container_name": "a"}, "container_name", "'a' does not have the right form"),
        ({"networks": {"n": 1}}, "networks.n", "must be a mapping or nothing, not 1"),
        ({"environment": ["A", 1]}, "environment.1", "must be a string, not 1"),
    ],
)
def test_messages(attributes: dict[str, Any], path: str, message: str) -> None:
    assert [(p, m) for p, m, _ in of_service(**attributes)] == [(path, message)]


def test_a_number_that_should_be_quoted() -> None:
    assert of_service(user=1000)[0][2] == 'quote it to make it a string: "1000"'


def test_partial_trees_may_lack_what_is_required() -> None:
    tree = {"services": {"a": {"depends_on": {"b": {}}}}}
    validate(tree, partial=True)
    with pytest.raises(Problem):
        validate(tree)


def test_every_attribute_is_described() -> None:
    def undescribed(node: Any, path: str) -> list[str]:
        found = []
        if isinstance(node, dict):
            for key, inner in (node.get("properties") or {}).items():
                target = load_schema()["definitions"].get(inner.get("$ref", "").rpartition("/")[2], {})
                if not (inner.get("description") or target.get("description")):
                    found.append(f"{path}.{key}")
            for key, inner in node.items():
                found += undescribed(inner, f"{path}.{key}")
        elif isinstance(node, list):
            for inner in node:
                found += undescribed(inner, path)
        return found

    assert undescribed(load_schema(), "") == []


SCALARS = st.none() | st.booleans() | st.integers(-2, 200) | st.sampled_from(["", "x", "host", "5", "all"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "context", "condition", "source", "target", "type", "limits", "x-y"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_agrees_with_a_validator_of_json_schema(data: Any) -> None:
    attribute = data.draw(st.sampled_from(sorted(load_schema()["definitions"]["service"]["properties"])))
    tree = {"services": {"a": {attribute: data.draw(VALUES)}}}
    assert (problems(tree) == []) == VALIDATOR.is_valid(tree), problems(tree)


VALIDATOR = jsonschema_rs.validator_for(load_schema())


@pytest.mark.parametrize(
    ("attributes", "hint"),
    [
        ({"ports": "80:80"}, "as a list: ['80:80']"),
        ({"cap_add": "NET_ADMIN"}, "as a list: [NET_ADMIN]"),
        ({"environment": "-A=1"}, "an item has a space behind its dash: - A=1"),
        ({"environment": [{"A": 1}]}, "- A=1 in a list, or A: 1 without the dash in all lines"),
        ({"expose": [{"A": 1}]}, ""),
        ({"command": ["a", {"b": 1}]}, "quote the item when the colon is part of the text"),
        (
            {"depends_on": [{"db": {"condition": "service_healthy"}}]},
            "take the dash away: db: with its attributes indented below it, and so for all of the list",
        ),
        (
            {"networks": [{"front": None, "aliases": ["a"]}]},
            "take the dash away: front: with its attributes indented below it, and so for all of the list",
        ),
        ({"build": ["./a"]}, "one value: ./a"),
        ({"logging": [{"driver": "a"}]}, "keys stand here without dashes in front"),
    ],
)
def test_what_would_be_right(attributes: dict[str, Any], hint: str) -> None:
    assert [found[2] for found in of_service(**attributes)] == [hint]


def test_services_beside_services() -> None:
    assert problems({"web": {"image": "a"}})[0][2] == "services stand indented below services:"


REPOSITORY = Path(__file__).parents[3]
STRICTER = {"include-null"}
"""Cases in which an editor points at what Docker Compose passes over."""


def test_an_editor_takes_what_the_loader_takes() -> None:
    roots = [case.source for case in find_cases(REPOSITORY / "tests/conformance/cases") if case.expected]
    roots = [root for root in roots if root.name not in STRICTER] + [REPOSITORY / "examples"]
    files = [file for root in roots for file in root.rglob("*.y*ml")]
    assert len(files) > 30
    for file in files:
        for document in parse_documents(file.read_bytes(), str(file), traced=False):
            faults = [error.message for error in VALIDATOR.iter_errors(document.tree)]
            assert not faults, (file, faults)


def test_an_editor_takes_variables_where_words_are_listed() -> None:
    service = {"image": "i", "cgroup": "${CGROUP:-host}", "pull_policy": "$PULL"}
    assert VALIDATOR.is_valid({"services": {"a": service}})
    assert [p for p, _, _ in of_service(**service)] == ["cgroup", "pull_policy"]


def test_a_duration_without_a_unit_is_told_what_would_be_one() -> None:
    with pytest.raises(Problem) as caught:
        validate({"services": {"a": {"image": "i", "stop_grace_period": 10}}})
    assert caught.value.hint == "with a unit: 10s"
