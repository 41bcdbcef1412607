"""What has to fit together."""

from __future__ import annotations

from typing import Any

import pytest

from composer.compose.canonical import canonical
from composer.compose.consistency import check, check_rules
from composer.compose.normalise import normalise
from composer.compose.problem import Problem


def problems(tree: dict[str, Any], profiles: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    canonical(tree)
    normalise(tree, "p", {})
    found: list[tuple[str, str, str]] = []
    for stage in (lambda: check_rules(tree), lambda: check(tree, profiles)):
        try:
            stage()
        except Problem as e:
            found += [(".".join(map(str, p.path)), p.message, p.hint) for p in (e, *e.more)]
            break
    return found


def of(**attributes: Any) -> list[str]:
    """Messages about service a, which has an image and a neighbour b."""
    return [m for _, m, _ in problems({"services": {"a": {"image": "i", **attributes}, "b": {"image": "i"}}})]


def test_a_project_that_fits() -> None:
    tree = {
        "services": {
            "a": {
                "image": "i",
                "depends_on": ["b"],
                "volumes": ["v:/v"],
                "secrets": ["s"],
                "networks": ["n"],
            },
            "b": {"build": "."},
        },
        "networks": {"n": None},
        "volumes": {"v": None},
        "secrets": {"s": {"file": "f"}},
    }
    assert problems(tree) == []


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"image": ""}, "neither an image nor a build"),
        ({"network_mode": "host", "networks": ["n"]}, "mutually exclusive"),
        ({"networks": ["n"]}, "undefined network n"),
        ({"volumes": ["vv:/v"]}, "undefined volume vv"),
        ({"secrets": ["s"]}, "undefined secret s"),
        ({"configs": ["c"]}, "undefined config c"),
        ({"models": ["m"]}, "undefined model m"),
        ({"build": {"context": ".", "secrets": ["s"]}}, "undefined build secret s"),
        ({"depends_on": ["c"]}, 'undefined service "c"'),
        ({"network_mode": "service:c"}, 'undefined service "c"'),
        ({"depends_on": ["a"]}, "cycle detected: a -> a"),
        ({"healthcheck": {"test": ["true"]}}, "healthcheck.test must start"),
        ({"scale": -1}, "greater than or equal to 0"),
        ({"scale": 2, "container_name": "one"}, "must be unique"),
        ({"scale": 2, "deploy": {"replicas": 3}}, "distinct values"),
        ({"mem_limit": "1g", "deploy": {"resources": {"limits": {"memory": "2g"}}}}, "distinct values"),
        ({"gpus": [{"count": 1, "device_ids": ["a"]}]}, "exclusive"),
        ({"build": {"context": ".", "dockerfile": "D", "dockerfile_inline": "F"}}, "mutually exclusive"),
        ({"build": {"context": ".", "platforms": ["x"]}, "platform": "y"}, "must include platform"),
        ({"build": {"context": ".", "additional_contexts": {"k": "service:b"}}}, "is not built"),
        ({"tmpfs": ["/a:size=1"], "volumes": ["/a/"]}, "already mounted"),
        ({"develop": {"watch": [{"path": "x", "action": "sync"}]}}, "target is required"),
        ({"ports": [{"target": 1, "host_ip": "localhost"}]}, "invalid ip address"),
    ],
)
def test_what_does_not_fit(attributes: dict[str, Any], message: str) -> None:
    assert message in of(**attributes)[0]


def test_all_are_told_with_the_nearest_name() -> None:
    tree = {
        "services": {
            "web": {"image": "i", "networks": ["fornt"], "depends_on": ["dv"]},
            "db": {"image": "i"},
        },
        "networks": {"front": None},
    }
    found = problems(tree)
    assert [(path, hint) for path, _, hint in found] == [
        ("services.web.networks.fornt", "did you mean front?"),
        ("services.web.depends_on.dv", "did you mean db?"),
    ]


@pytest.mark.parametrize(
    ("others", "hint"),
    [((), "other services: none"), (("longer",), "other services: longer"), (("wec",), "did you mean wec?")],
)
def test_a_service_is_never_what_it_may_have_meant_itself(others: tuple[str, ...], hint: str) -> None:
    services: dict[str, Any] = {"web": {"image": "i", "depends_on": ["weg"]}}
    tree = {"services": {**services, **{name: {"image": "i"} for name in others}}}
    assert problems(tree) == [
        ("services.web.depends_on.weg", 'service "web" depends on undefined service "weg"', hint)
    ]
    context = {"web": {"build": {"context": ".", "additional_contexts": {"x": "service:weg"}}}}
    assert problems({"services": {**tree["services"], **context}})[0][2] == hint


def test_services_that_no_profile_enables_are_left_alone() -> None:
    def tree() -> dict[str, Any]:
        return {"services": {"a": {"profiles": ["p"], "networks": ["n"]}, "b": {"image": "i"}}}

    assert problems(tree()) == []
    assert len(problems(tree(), ("p",))) == 2
    needs = {"services": {"a": {"image": "i", "profiles": ["p"]}, "b": {"image": "i", "depends_on": ["a"]}}}
    [(_, message, hint)] = problems(needs)
    assert 'depends on undefined service "a"' in message
    assert hint == "a needs the profile p"


def test_the_place_is_that_of_what_made_the_dependency() -> None:
    [(path, _, _)] = problems({"services": {"a": {"image": "i", "links": ["x:y"]}}})
    assert path == "services.a.links.0"


def test_a_cycle_is_its_path() -> None:
    services = {
        "a": {"image": "i", "depends_on": ["b"]},
        "b": {"image": "i", "links": ["c"]},
        "c": {"image": "i", "ipc": "service:a"},
    }
    [(path, message, _)] = problems({"services": services})
    assert message == "dependency cycle detected: a -> b -> c -> a"
    assert path == "services.c.ipc"


@pytest.mark.parametrize(
    ("kind", "resource", "message"),
    [
        ("volumes", {"external": True, "driver": "d"}, "conflicting"),
        ("secrets", {}, "must be set"),
        ("secrets", {"file": "a", "environment": "b"}, "only one of"),
        ("secrets", {"content": "x", "file": "y"}, "not allowed for secrets"),
        ("configs", {"file": "a", "content": "b"}, "only one of"),
        ("secrets", {"driver": "d"}, "must declare"),
    ],
)
def test_resources(kind: str, resource: dict[str, Any], message: str) -> None:
    [(_, found, _)] = problems({"services": {}, kind: {"r": resource}})
    assert message in found


def test_the_same_container_name_twice() -> None:
    services = {"a": {"image": "i", "container_name": "nn"}, "b": {"image": "i", "container_name": "nn"}}
    assert [m for _, m, _ in problems({"services": services})] == [
        'container name "nn" is already in use by service a'
    ]


def test_a_path_without_its_dot_is_no_volume_to_declare() -> None:
    tree = {"services": {"a": {"image": "i", "volumes": ["relative/path:/q"]}}}
    assert [hint for _, _, hint in problems(tree)] == [
        "a directory of the host begins with a dot or a slash: ./relative/path"
    ]
