"""The same engine for each test as in the end-to-end tests; and one with a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.clocks import Clock, compile_clock, make_clock, start_engine
from tests.e2e.conftest import base, composer, project, pytest_runtest_makereport
from tests.e2e.engine import Composer

__all__ = ["base", "composer", "project", "pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture
def clock(composer: Composer, library: Path, tmp_path: Path) -> Iterator[Clock]:
    """An engine with a clock of its own."""
    made = make_clock(composer, library, tmp_path)
    start_engine(composer)
    yield made
