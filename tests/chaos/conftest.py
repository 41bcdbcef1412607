"""The same engine for each test as in the end-to-end tests."""

from __future__ import annotations

from tests.e2e.conftest import base, composer, project, pytest_runtest_makereport

__all__ = ["base", "composer", "project", "pytest_runtest_makereport"]
