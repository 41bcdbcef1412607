"""An engine for each test, on a state root of its own. When a test fails, its engine's state is shown."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import engine
from tests.e2e.engine import Composer, write_project


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":  # type: ignore[attr-defined]
        item.stash[_FAILED] = report.failed  # type: ignore[attr-defined]
    return report


_FAILED = pytest.StashKey[bool]()


@pytest.fixture
def composer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Composer]:
    """The command, on an engine that does not run yet."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    # Short: a unix socket's path has room for 107 bytes.
    root = tmp_path / "root"
    with engine.running(root, {}, lambda: request.node.stash.get(_FAILED, False)) as made:
        yield made


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A directory for a Compose file, with a name of its own."""
    return Project(tmp_path / f"p{uuid.uuid4().hex[:6]}")


class Project:
    """``write`` the file, then run commands with ``cwd=project.directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = directory.name

    def write(self, compose: str, **files: str) -> Path:
        return write_project(self.directory, compose, **files)
