"""Some cycles of ``up`` and ``down``: nothing grows. ``python -m bench.soak`` does a thousand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.soak import soak

CYCLES = 12


def test_cycles_leave_everything_as_it_was(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    seen = soak(str(Path(sys.executable).with_name("composer")), tmp_path, CYCLES, warm_up=3)
    # How long a cycle takes tells of the machine's load.
    assert [line for line in seen.grown() if not line.startswith("seconds")] == []
