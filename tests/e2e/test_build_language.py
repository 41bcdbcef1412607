"""Dockerfiles that Docker has built, too (``tests/dockerfiles``): the same configuration and the same file tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.dockerfiles.images import BASE, describe, make_context, skipped_layers
from tests.e2e.engine import Composer

_DATA = Path(__file__).parents[1] / "dockerfiles"
_CASES: dict[str, str] = json.loads((_DATA / "cases.json").read_text())
_EXPECTED: dict[str, Any] = json.loads((_DATA / "expected.json").read_text())


def _write(root: Path, names: list[str]) -> None:
    (root / "context").mkdir()
    make_context(root / "context")
    services = {}
    for name in names:
        (root / f"{name}.Dockerfile").write_text(_CASES[name], newline="")
        build = {"context": "context", "dockerfile": f"../{name}.Dockerfile"}
        services[name] = {"image": f"case-{name}", "build": build}
    (root / "compose.yaml").write_text(json.dumps({"services": services}))


def test_images_are_those_that_docker_builds(composer: Composer, base: str, tmp_path: Path) -> None:
    composer.run("image", "tag", base, BASE)
    root = tmp_path / "cases"
    root.mkdir()
    names = [name for name, expected in _EXPECTED.items() if expected is not None]
    _write(root, names)
    composer.run("build", "--quiet", cwd=root)
    different = {}
    for name in names:
        composer.run("image", "save", "-o", str(root / "image.tar"), f"case-{name}", cwd=root)
        found = describe(root / "image.tar", skipped=skipped_layers(_CASES[name]))
        (root / "image.tar").unlink()
        if found != _EXPECTED[name]:
            different[name] = (_CASES[name], found, _EXPECTED[name])
    assert not different, "\n\n".join(
        f"{name}\n{text}composer: {_beside(found, expected)}\nDocker:   {_beside(expected, found)}"
        for name, (text, found, expected) in different.items()
    )


def test_what_docker_refuses_is_refused(composer: Composer, base: str, tmp_path: Path) -> None:
    composer.run("image", "tag", base, BASE)
    root = tmp_path / "cases"
    root.mkdir()
    names = [name for name, expected in _EXPECTED.items() if expected is None]
    _write(root, names)
    for name in names:
        refused = composer.run("build", name, cwd=root, status=None)
        assert refused.returncode, f"{name} was built:\n{_CASES[name]}"
        assert f"{name}.Dockerfile:" in refused.stderr


def _beside(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What ``one`` has otherwise."""
    return {
        part: {key: value for key, value in one[part].items() if other[part].get(key, ...) != value}
        for part in one
        if one[part] != other[part]
    }
