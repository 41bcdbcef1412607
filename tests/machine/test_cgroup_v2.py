"""The smoke tests on a machine with a kernel of its own and cgroup v2, where this machine does not have it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.machine import boot

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(
    Path("/sys/fs/cgroup/cgroup.controllers").exists(), reason="needs cgroup v1: this is v2 already"
)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_smoke_under_cgroup_v2() -> None:
    status, console = boot.run("python3 tests/tiers.py smoke", ROOT / ".cache/machine")
    print(console)
    assert status == 0
    assert " passed" in console
