"""How a container ended, as its shim writes it down."""

from __future__ import annotations

import json
from pathlib import Path

from runtime.container import status
from runtime.container.status import ExitStatus


def test_a_status_comes_back_as_it_was_written(tmp_path: Path) -> None:
    ended = ExitStatus(exit_code=137, signal=9, started_at=5, finished_at=3, ran_for=0.25)
    status.write(tmp_path, ended)
    assert status.read(tmp_path) == ended
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_one_of_an_older_version_does_not_tell_how_long_it_ran(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"exit_code": 1, "started_at": 5, "finished_at": 9}))
    assert status.read(tmp_path) == ExitStatus(exit_code=1, started_at=5, finished_at=9, ran_for=None)


def test_a_torn_one_is_none(tmp_path: Path) -> None:
    status.write(tmp_path, ExitStatus(exit_code=0))
    whole = (tmp_path / "status.json").read_bytes()
    (tmp_path / "status.json").write_bytes(whole[:-3])
    assert status.read(tmp_path) is None


def test_one_that_is_not_settled_can_be_read_and_be_removed(tmp_path: Path) -> None:
    ended = ExitStatus(exit_code=3, finished_at=9)
    status.write_any(ended, tmp_path / "nowhere", tmp_path, is_settled=False)
    assert status.read_any(tmp_path / "nowhere", tmp_path) == ended
    status.settle(tmp_path / "nowhere", tmp_path)
    (tmp_path / "status.json").unlink()
    status.settle(tmp_path / "nowhere", tmp_path)
