"""Which images ``push`` sends."""

from __future__ import annotations

from typing import Any

from composer.cli.project.push import images_to_push


def service(name: str, image: str, *depends_on: str, build: bool = True) -> dict[str, Any]:
    return {"Name": name, "Image": image, "HasBuild": build, "DependsOn": list(depends_on)}


SERVICES = [
    service("web", "r/app:1", "worker", "db"),
    service("worker", "r/app:1"),
    service("tool", "r/tool:1", "worker"),
    service("db", "postgres:16", build=False),
    service("nameless", ""),
]


def test_what_is_built_and_named() -> None:
    assert images_to_push(SERVICES, []) == ["r/app:1", "r/tool:1"]
    assert images_to_push(SERVICES, ["db", "nameless"]) == []
    assert images_to_push(SERVICES, ["tool"]) == ["r/tool:1"]
    assert images_to_push(SERVICES, ["tool"], with_deps=True) == ["r/tool:1", "r/app:1"]
