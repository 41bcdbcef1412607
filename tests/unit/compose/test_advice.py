"""What is valid and will bite."""

from __future__ import annotations

from typing import Any

import pytest

from composer.compose.advice import CODES, advise
from composer.compose.canonical import canonical
from composer.compose.normalise import normalise


def codes(services: dict[str, Any], **sections: Any) -> list[str]:
    tree = normalise(canonical({"services": services, **sections}), "p", {})
    found = [advice.code for advice in advise(tree, services, lambda path: path != "/gone")]
    assert set(found) <= set(CODES)
    return found


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
        ({"image": "a", "x-composer": {"silence": ["untagged-images"]}}, ["untagged-image", "unknown-word"]),
        ({"image": "a:1", "x-composer": {"silence": "untagged-image"}}, ["unknown-word"]),
        ({"image": "a:1", "x-composer": {"biuld": "auto", "address": "auto"}}, ["unknown-word"] * 2),
        ({"image": "a:1", "x-composer": {"image": "composer:2", "biuld": "."}}, []),
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


def test_words_of_the_file_that_mean_nothing() -> None:
    tree = {"services": {}, "x-composer": {"adress": "auto", "build": "auto", "silence": ["no-efect"]}}
    said = [(advice.message, advice.path) for advice in advise(tree, (), bool)]
    assert said == [
        ("x-composer of the file has no adress: did you mean address?", ("x-composer", "adress")),
        ("no warning is called no-efect: did you mean no-effect?", ("x-composer", "silence", 0)),
    ]
