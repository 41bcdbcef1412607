"""Names, networks and dependencies that a file leaves out, and paths."""

from __future__ import annotations

from typing import Any

import pytest

from composer.compose.canonical import canonical
from composer.compose.defaults import set_defaults
from composer.compose.normalise import normalise
from composer.compose.paths import is_remote, resolve_paths
from composer.compose.problem import Problem


def normalised(tree: dict[str, Any], **env: str) -> dict[str, Any]:
    return normalise(canonical(tree), "p", env)


def test_the_default_network() -> None:
    tree = normalised(
        {
            "services": {
                "a": {},
                "b": {"network_mode": "host"},
                "c": {"provider": {"type": "x"}},
                "d": {"networks": []},
            }
        }
    )
    assert [s.get("networks") for s in tree["services"].values()] == [
        {"default": None},
        None,
        None,
        {"default": None},
    ]
    assert tree["networks"] == {"default": {"name": "p_default"}}
    assert "networks" not in normalised({"services": {"b": {"network_mode": "host"}}})


def test_real_names() -> None:
    tree = normalised(
        {
            "volumes": {"a": None, "b": {"external": True}, "c": {"name": "mine"}},
            "secrets": {"s": {"file": "f"}},
        }
    )
    assert {k: v["name"] for k, v in tree["volumes"].items()} == {"a": "p_a", "b": "b", "c": "mine"}
    assert tree["secrets"]["s"]["name"] == "p_s"


def test_dependencies_that_are_implied() -> None:
    tree = normalised(
        {
            "services": {
                "a": {
                    "links": ["b:alias"],
                    "volumes_from": ["c:ro", "container:x"],
                    "pid": "service:d",
                    "depends_on": {"b": {"condition": "service_healthy"}},
                }
            }
        }
    )
    assert tree["services"]["a"]["depends_on"] == {
        "b": {"condition": "service_healthy", "required": True},
        "d": {"condition": "service_started", "restart": True, "required": True},
        "c": {"condition": "service_started", "restart": False, "required": True},
    }


def test_values_from_the_environment() -> None:
    tree = normalised(
        {
            "services": {
                "a": {
                    "environment": ["A", "B", "C="],
                    "build": {"context": ".", "args": {"A": None, "B": None, "D": 1}},
                }
            }
        },
        A="1",
    )
    service = tree["services"]["a"]
    assert service["environment"] == ["A=1", "B", "C="]
    assert service["build"] == {"context": ".", "args": {"A": "1", "D": 1}, "dockerfile": "Dockerfile"}


def test_defaults() -> None:
    tree = set_defaults(
        {
            "services": {
                "a": {
                    "build": {},
                    "secrets": [{"source": "s"}, {"source": "s", "target": "t"}],
                    "ports": [{"target": 1}],
                    "gpus": [{}, {"device_ids": ["x"]}],
                }
            }
        }
    )
    assert tree["services"]["a"] == {
        "build": {"context": "."},
        "secrets": [{"source": "s", "target": "/run/secrets/s"}, {"source": "s", "target": "t"}],
        "ports": [{"target": 1, "mode": "ingress", "protocol": "tcp"}],
        "gpus": [{"count": "all"}, {"device_ids": ["x"]}],
    }


def test_paths() -> None:
    tree = canonical(
        {
            "services": {
                "a": {
                    "build": {"context": "../x/.", "additional_contexts": {"r": "https://h/r", "l": "l"}},
                    "env_file": ["e", "/abs/../e", "~/e"],
                    "label_file": "l",
                    "volumes": ["./b:/b", "data:/d", "C:\\x:/y"],
                    "develop": {"watch": [{"path": "src", "action": "rebuild"}]},
                }
            },
            "secrets": {"s": {"file": "s.txt"}},
            "volumes": {"v": {"driver": "local", "driver_opts": {"o": "bind", "device": "./d"}}},
        }
    )
    resolve_paths(tree, "/base/dir", "/home/u")
    service = tree["services"]["a"]
    assert service["build"] == {
        "context": "/base/x",
        "additional_contexts": {"r": "https://h/r", "l": "/base/dir/l"},
    }
    assert [f["path"] for f in service["env_file"]] == ["/base/dir/e", "/abs/../e", "/home/u/e"]
    assert service["label_file"] == ["/base/dir/l"]
    assert [v.get("source") for v in service["volumes"]] == ["/base/dir/b", "data", "C:\\x"]
    assert service["develop"]["watch"][0]["path"] == "/base/dir/src"
    assert tree["secrets"]["s"]["file"] == "/base/dir/s.txt"
    assert tree["volumes"]["v"]["driver_opts"]["device"] == "/base/dir/d"


def test_a_bind_mount_needs_a_source() -> None:
    with pytest.raises(Problem, match="source"):
        resolve_paths({"services": {"a": {"volumes": [{"type": "bind", "target": "/x"}]}}}, "/", "/")


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("https://h/r.git", True),
        ("git@h:r", True),
        ("github.com/a/b", True),
        ("service:a", True),
        ("./a", False),
        ("a.git", False),
    ],
)
def test_remote_contexts(context: str, expected: bool) -> None:
    assert is_remote(context) is expected
