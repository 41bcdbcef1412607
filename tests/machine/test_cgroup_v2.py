"""On a machine with a kernel of its own and cgroup v2, where this machine has v1: the smoke tests, limits, and
AppArmor, which few machines of the other tests have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.machine import boot

ROOT = Path(__file__).resolve().parents[2]
CONTAINERS = "tests/integration/container"
LIMITS = ("values", "processors_of_a_container_that_runs", "out_of_memory")
COMMAND = (
    "python3 tests/tiers.py smoke && COMPOSER_TEST_PATIENCE=10 python3 -m pytest -q -p no:cacheprovider "
    f"{CONTAINERS}/test_apparmor.py {' '.join(f'{CONTAINERS}/test_limits.py::test_{name}' for name in LIMITS)}"
)


@pytest.mark.skipif(
    Path("/sys/fs/cgroup/cgroup.controllers").exists(), reason="needs cgroup v1: this is v2 already"
)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_smoke_under_cgroup_v2() -> None:
    status, console = boot.run(COMMAND, ROOT / ".cache/machine")
    print(console)
    assert status == 0
    assert " passed" in console
    assert "skipped" not in console.rpartition("All tests passed")[2]
