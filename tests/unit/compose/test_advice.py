"""What is valid and will bite."""

from __future__ import annotations

from typing import Any

import pytest

from composer.compose.advice import advise
from composer.compose.canonical import canonical
from composer.compose.normalise import normalise


def codes(services: dict[str, Any], **sections: Any) -> list[str]:
    tree = normalise(canonical({"services": services, **sections}), "p", {})
    return [advice.code for advice in advise(tree, services, lambda path: path != "/gone")]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"image": "a:1"}, []),
        ({"image": "a"}, ["untagged-image"]),
        ({"image": "host:5000/a"}, ["untagged-image"]),
        ({"image": "a:latest"}, ["untagged-image"]),
        ({"image": "a@sha256:" + "0" * 64}, []),
        ({"image": "a", "build": "."}, []),
        ({"image": "a", "x-composer": {"silence": ["untagged-image"]}}, []),
        ({"image": "a:1", "ports": ["5432:5432"]}, ["open-database-port"]),
        ({"image": "a:1", "ports": ["127.0.0.1:5432:5432"]}, []),
        ({"image": "a:1", "ports": ["5432"]}, []),
        ({"image": "a:1", "volumes": ["/gone:/x", "/here:/y"]}, ["missing-bind-path"]),
        ({"image": "a:1", "restart": "allways"}, ["cannot-start"]),
        ({"image": "a:1", "restart": "on-failure:3"}, []),
        ({"image": "a:1", "container_name": "my web"}, ["cannot-start"]),
        ({"image": "Nginx:1"}, ["cannot-start"]),
        ({"image": "Registry.Example/nginx:V1"}, []),
        ({"image": "a:1", "volumes": ["./here/x", "v:var"]}, ["cannot-start", "cannot-start"]),
        ({"image": "a:1", "isolation": "x", "deploy": {"placement": {}}}, ["no-effect", "no-effect"]),
        ({"image": "composer.local/host", "healthcheck": {"test": ["CMD", "/gone"]}}, ["missing-program"]),
        ({"image": "composer.local/host", "healthcheck": {"test": ["CMD", "/here"]}}, []),
        ({"image": "a:1", "healthcheck": {"test": ["CMD", "/gone"]}}, []),
        ({"image": "a:1", "environment": ["U=http://b/x"]}, ["undeclared-dependency"]),
        ({"image": "a:1", "environment": {"U": "b:80"}}, ["undeclared-dependency"]),
        ({"image": "a:1", "environment": {"U": "b:80"}, "depends_on": ["c"]}, []),
        ({"image": "a:1", "environment": {"U": "b", "V": "http://c.example/b", "W": "x b:c"}}, []),
    ],
)
def test_advice(attributes: dict[str, Any], expected: list[str]) -> None:
    services = {"a": attributes, "b": {"image": "b:1"}, "c": {"image": "c:1", "depends_on": ["b"]}}
    assert codes(services) == expected


def test_silence_for_all() -> None:
    assert codes({"a": {"image": "a"}}, **{"x-composer": {"silence": ["untagged-image"]}}) == []
