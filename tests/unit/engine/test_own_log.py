"""The engine's own log does not grow for ever, and nobody who has it open notices."""

from __future__ import annotations

import logging
from pathlib import Path

from composer.own_log import Bounded


def test_a_log_that_is_full_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    with open(path, "a") as ours, open(path, "a", buffering=1) as another:
        log = logging.Logger("composer.x")
        log.addHandler(Bounded(ours, limit=1000))
        for number in range(50):
            log.info("line %d", number)
        another.write("from the keeper\n")
    old, new = (tmp_path / "engine.log.old").read_text(), path.read_text()
    assert len(old) < 1100
    assert len(new) < 1000
    assert not new.startswith("\0"), "whoever appends does so at the new end"
    assert new.endswith("INFO composer.x: line 49\nfrom the keeper\n")
    assert old.splitlines()[-1].rpartition(" ")[2] == str(int(new.splitlines()[0].rpartition(" ")[2]) - 1)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["engine.log", "engine.log.old"]


def test_what_is_no_file_is_only_written_to(tmp_path: Path) -> None:
    with open("/dev/null", "w") as nowhere:
        handler = Bounded(nowhere, limit=-1)
        handler.emit(logging.makeLogRecord({"msg": "x", "levelname": "INFO", "name": "n"}))
