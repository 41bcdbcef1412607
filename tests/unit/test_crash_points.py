"""The list of crash points is what the code has, and a point does what a test wants of it."""

from __future__ import annotations

import ast
import errno
import threading
from collections import Counter
from pathlib import Path

import pytest

from runtime import crash_points
from runtime.crash_points import POINTS, Switchboard, crash_point

ROOT = Path(__file__).resolve().parents[2]


def test_each_point_is_listed_and_stands_in_one_place() -> None:
    found: Counter[str] = Counter()
    for path in (*ROOT.glob("composer/**/*.py"), *ROOT.glob("runtime/**/*.py")):
        source = path.read_bytes()
        for node in ast.walk(ast.parse(source)) if b"crash_point" in source else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "crash_point":
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}: a name is a constant"
                found[str(node.args[0].value)] += 1
    assert found == Counter(list(POINTS))


def test_nothing_happens_without_a_switchboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash_points, "_page", None)
    crash_point("core.start.asked")


@pytest.fixture
def switchboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Switchboard:
    made = Switchboard(str(tmp_path / "page"))
    monkeypatch.setattr(crash_points, "_page", crash_points._map(str(tmp_path / "page")))
    return made


def test_fails_with_the_number_that_is_wanted_after_others(switchboard: Switchboard) -> None:
    switchboard.arm("keeper.start.asked", skip=1, error=errno.EAGAIN)
    crash_point("core.start.asked")
    crash_point("keeper.start.asked")
    with pytest.raises(OSError) as caught:
        crash_point("keeper.start.asked")
    assert caught.value.errno == errno.EAGAIN
    crash_point("keeper.start.asked")


def test_holds_until_it_is_released(switchboard: Switchboard) -> None:
    switchboard.arm("core.start.asked")
    held = threading.Thread(target=crash_point, args=("core.start.asked",), daemon=True)
    held.start()
    while not switchboard.reached:
        pass
    assert held.is_alive()
    switchboard.release()
    held.join(10)
    assert not held.is_alive()


def test_only_points_that_there_are(switchboard: Switchboard) -> None:
    with pytest.raises(KeyError):
        switchboard.arm("core.start.imagined")
