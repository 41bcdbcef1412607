"""Values, typed projects, and the document that is printed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.compose import model
from composer.compose.canonical import canonical
from composer.compose.decoders import float_text, single
from composer.compose.decoding import decode
from composer.compose.defaults import set_defaults
from composer.compose.normalise import normalise
from composer.compose.problem import Problem
from composer.compose.quantities import Duration, Size
from composer.compose.rendering import document, render
from composer.compose.tree import Tree
from composer.compose.typed import typed_project


def tree_of(services: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return normalise(set_defaults(canonical({"services": services, **sections})), "p", {})


def decoded(**attributes: Any) -> dict[str, Any]:
    found: dict[str, Any] = decode(tree_of({"a": attributes}))["services"]["a"]
    return found


def typed(tree: dict[str, Any], **fields: Any) -> model.Project:
    return typed_project(Tree(name="p", working_dir="/w", tree=tree, **fields))


@pytest.mark.parametrize(
    ("attribute", "written", "value"),
    [
        ("command", "a 'b c'", ["a", "b c"]),
        ("provider", {"type": "t", "options": {"a": 1, "b": [], "": None}}, {"type": "t", "options": {"a": ["1"]}}),
        ("environment", ["A=1", "B", "C="], {"A": "1", "B": None, "C": ""}),
        ("environment", {"A": 1, "B": True, "C": 1.5}, {"A": "1", "B": "true", "C": "1.5"}),
        ("environment", {"D": None, "E": 1000.0}, {"D": None, "E": "1000"}),
        ("labels", ["a=1", "b"], {"a": "1", "b": ""}),
        ("labels", {"a": None}, {"a": ""}),
        ("extra_hosts", {"b": "2.2.2.2", "a": ["1.1.1.1", "::1"]}, ["a=1.1.1.1", "a=::1", "b=2.2.2.2"]),
        ("extra_hosts", ["a:[::1]", "b=1.1.1.1,2.2.2.2"], ["a=::1", "b=1.1.1.1", "b=2.2.2.2"]),
        ("mem_limit", "1g", Size(2**30)),
        ("memswap_limit", -1, Size(-1)),
        ("cpus", 0.123456789, 0.12345679),
        ("stop_grace_period", "1m", Duration(60 * 10**9)),
        ("tmpfs", "/a", ["/a"]),
        ("pids_limit", 1.5, 1),
        ("ulimits", {"nproc": 5}, {"nproc": 5}),
        ("scale", "3", 3),
    ],
)  # fmt: skip
def test_values(attribute: str, written: Any, value: Any) -> None:
    found = decoded(**{attribute: written})[attribute]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("hosts", [{"a:b": "::1"}, ["a:b=::1"], ["=::1"], ["a"]])
def test_what_is_no_host(hosts: Any) -> None:
    with pytest.raises(Problem, match="bad host name"):
        decoded(extra_hosts=hosts)


def test_all_that_is_wrong_is_told() -> None:
    tree = tree_of(
        {"a": {"mem_limit": "x", "healthcheck": {"interval": "5"}, "secrets": [{"source": "s", "mode": "9"}]}}
    )
    with pytest.raises(Problem) as caught:
        decode(tree)
    found = [(".".join(map(str, p.path)), p.message) for p in (caught.value, *caught.value.more)]
    assert found == [
        ("services.a.mem_limit", "invalid size 'x', 512m and 1.5g would be some"),
        ("services.a.healthcheck.interval", "missing unit in duration '5', 5s would be one"),
        ("services.a.secrets.0.mode", "an octal number expected, not '9'"),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (1.5, "1.5"),
        (1e20, "1e+20"),
        (123456.0, "123456"),
        (1e6, "1e+06"),
        (1e21, "1e+21"),
        (1e-7, "1e-07"),
        (0.1, "0.1"),
    ],
)
def test_floats_print_as_in_go(value: float, text: str) -> None:
    assert float_text(value) == text


@given(st.floats(min_value=0, max_value=1e6, width=32))
def test_single_precision_is_exact_for_singles(value: float) -> None:
    import struct

    assert struct.pack("f", single(value)) == struct.pack("f", value)


def test_typed_services() -> None:
    project = typed(
        tree_of(
            {
                "a": {
                    "image": "i",
                    "ports": ["127.0.0.1:8080:80", 90],
                    "volumes": [
                        "./x:/x:ro",
                        "v:/v",
                        {"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1m"}},
                    ],
                    "healthcheck": {"test": "true", "interval": "1s"},
                    "depends_on": ["b"],
                    "networks": {"n": {"aliases": ["x"]}, "m": None},
                    "deploy": {"replicas": 2, "resources": {"limits": {"cpus": "0.5", "memory": "1m"}}},
                    "ulimits": {"nproc": 5, "nofile": {"soft": 1, "hard": 2}},
                    "logging": {"driver": "none"},
                    "x-y": 1,
                },
                "b": {"image": "i", "profiles": ["p"]},
            },
            volumes={"v": None},
            networks={"n": {"ipam": {"config": [{"subnet": "10.0.0.0/8"}]}}, "m": None},
        )
    )
    a = project.services["a"]
    assert a.ports == (
        model.Port(target=80, published="8080", host_ip="127.0.0.1"),
        model.Port(target=90),
    )
    assert [v.type for v in a.volumes] == ["bind", "volume", "tmpfs"]
    assert a.volumes[0].read_only
    assert a.volumes[2].tmpfs == model.TmpfsOptions(size=Size(2**20))
    assert a.healthcheck == model.Healthcheck(test=("CMD-SHELL", "true"), interval=Duration(10**9))
    assert a.depends_on == {"b": model.Dependency()}
    assert a.networks == {"n": model.ServiceNetwork(aliases=("x",)), "m": None}
    assert a.replicas == 2
    assert a.deploy is not None
    assert a.deploy.limits == model.Limits(cpus=0.5, memory=Size(2**20))
    assert a.ulimits["nproc"] == model.Ulimit(soft=5, hard=5)
    assert a.extensions == {"x-y": 1}
    assert a.command is None
    assert list(project.disabled_services) == ["b"]
    assert project.networks["n"].ipam.config == (model.IpamPool(subnet="10.0.0.0/8"),)
    assert project.volumes["v"].name == "p_v"


def test_secrets_take_their_values_from_the_environment() -> None:
    tree = tree_of({}, secrets={"s": {"environment": "TOKEN"}, "t": {"environment": "OTHER"}})
    project = typed(tree, environment={"TOKEN": "x"})
    assert [s.value for s in project.secrets.values()] == ["x", None]


def test_the_document() -> None:
    tree = tree_of(
        {
            "a": {
                "image": "i",
                "tty": False,
                "labels": {},
                "healthcheck": {},
                "environment": {"A": "$x"},
                "deploy": {},
            }
        },
        volumes={"unused": None},
    )
    shown = document(tree, ["a"], is_json=True)
    assert shown["services"]["a"] == {
        "command": None,
        "deploy": {"resources": {}, "placement": {}},
        "entrypoint": None,
        "environment": {"A": "$x"},
        "healthcheck": {},
        "image": "i",
        "networks": {"default": None},
    }
    assert "volumes" not in shown
    assert '"$$x"' in render(shown, is_json=True)
    yaml = render(document(tree, ["a"], is_json=False), is_json=False)
    assert "command" not in yaml
    assert "A: $$x\n" in yaml
