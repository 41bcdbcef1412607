"""Dockerfiles that Docker has built, too (``tests/dockerfiles``): the same configuration and the same file tree. What
the Docker that they were recorded with does not know yet is as its reference says (``documented.json``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.dockerfiles.images import BASE, describe_all, make_context, skipped_layers
from tests.e2e.engine import Composer

_DATA = Path(__file__).parents[1] / "dockerfiles"
_CASES: dict[str, str] = json.loads((_DATA / "cases.json").read_text())
_EXPECTED: dict[str, Any] = json.loads((_DATA / "expected.json").read_text())
for _name, _document in json.loads((_DATA / "documented.json").read_text()).items():
    _CASES[_name] = _document.pop("dockerfile")
    _EXPECTED[_name] = _document


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
    composer.run(
        "image", "save", "-o", str(root / "images.tar"), *(f"case-{name}" for name in names), cwd=root
    )
    skipped = {f"case-{name}": skipped_layers(_CASES[name]) for name in names}
    found = describe_all(root / "images.tar", skipped)
    different = {name for name in names if found[f"case-{name}"] != _EXPECTED[name]}
    assert not different, "\n\n".join(
        f"{name}\n{_CASES[name]}composer: {_beside(found[f'case-{name}'], _EXPECTED[name])}\n"
        f"Docker:   {_beside(_EXPECTED[name], found[f'case-{name}'])}"
        for name in sorted(different)
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
