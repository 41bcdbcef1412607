"""Whether something can be made of a project is found once, and of another one anew."""

from __future__ import annotations

import pytest

from composer.compose.model import Project, Service
from composer.engine.projects.looked_at import REMEMBERED, LookedAt
from runtime.errors import InvalidArgument


def _project(restart: str = "", name: str = "one") -> Project:
    service = Service(name="web", image="i:1", restart=restart)
    return Project(name=name, working_dir="/srv", services={"web": service})


def test_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("composer.engine.projects.looked_at.demand_makeable", seen.append)
    looked_at = LookedAt()
    first, second = _project(), _project()
    for project in (first, first, second, first):
        looked_at.demand_makeable(project, (), include_deps=True)
    assert len(seen) == 2
    looked_at.demand_makeable(first, ("web",), include_deps=True)
    assert len(seen) == 3
    others = [_project(name=str(number)) for number in range(REMEMBERED)]
    for project in (*others, first):
        looked_at.demand_makeable(project, (), include_deps=True)
    assert len(seen) == 3 + REMEMBERED + 1


def test_what_is_wrong_stays_wrong() -> None:
    looked_at, project = LookedAt(), _project(restart="sometimes")
    for _ in range(2):
        with pytest.raises(InvalidArgument, match="sometimes"):
            looked_at.demand_makeable(project, (), include_deps=True)
