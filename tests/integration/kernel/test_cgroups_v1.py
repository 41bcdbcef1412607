"""Directories of cgroup v1 that several processes make at the same time."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from runtime.kernel import cgroups_v1

CPUSET = Path(cgroups_v1.ROOT, "cpuset")


@pytest.mark.skipif(not (CPUSET / "cpuset.cpus").exists(), reason="needs the cpuset controller of cgroup v1")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_parent_that_somebody_else_has_just_made_is_filled_too() -> None:
    parent = CPUSET / f"composer-test-{secrets.token_hex(4)}"
    parent.mkdir()
    child = parent / "one"
    try:
        cgroups_v1.make(str(child))
        assert (child / "cpuset.cpus").read_text() == (CPUSET / "cpuset.cpus").read_text()
        assert (child / "cpuset.mems").read_text() == (CPUSET / "cpuset.mems").read_text()
    finally:
        if child.exists():
            child.rmdir()
        parent.rmdir()
