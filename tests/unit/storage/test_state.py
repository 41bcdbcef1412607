"""The state database: documents, transactions, and what happens to a damaged, foreign or newer file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from runtime.errors import ComposerError
from runtime.storage.state import QUARANTINE, SCHEMA_VERSION, StateDatabase


def test_documents_survive_a_reopening(tmp_path: Path) -> None:
    path = tmp_path / "lib" / "state.db"
    database = StateDatabase(path)
    database.put("container", "b", b"2")
    database.put("container", "a", b"1")
    database.put("network", "a", b"net")
    database.put("container", "a", b"1.1")
    database.close()
    again = StateDatabase(path)
    assert again.items("container") == [("a", b"1.1"), ("b", b"2")]
    assert again.get("network", "a") == b"net"
    assert again.get("network", "b") is None
    assert again.delete("network", "a") is True
    assert again.delete("network", "a") is False
    assert again.notices == []
    assert path.stat().st_mode & 0o077 == 0
    again.close()


def test_a_failed_transaction_writes_nothing(tmp_path: Path) -> None:
    database = StateDatabase(tmp_path / "state.db")
    database.put("k", "kept", b"")
    with pytest.raises(ZeroDivisionError), database.transaction():
        database.put("k", "a", b"")
        with database.transaction():
            database.delete("k", "kept")
        raise ZeroDivisionError
    assert [key for key, _ in database.items("k")] == ["kept"]


def test_an_inner_failure_that_is_caught_still_undoes_the_whole(tmp_path: Path) -> None:
    database = StateDatabase(tmp_path / "state.db")
    with database.transaction():
        database.put("k", "a", b"")
        with pytest.raises(ZeroDivisionError), database.transaction():
            raise ZeroDivisionError
    assert database.items("k") == []
    with database.transaction():
        database.put("k", "b", b"")
    assert [key for key, _ in database.items("k")] == ["b"]


def test_an_unclean_end_keeps_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    database = StateDatabase(path)
    database.put("k", "a", b"1")
    for name in ("state.db", "state.db-wal"):
        (tmp_path / f"copy-{name}").write_bytes((tmp_path / name).read_bytes())
    assert StateDatabase(tmp_path / "copy-state.db").get("k", "a") == b"1"


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_garbage_is_set_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    database = StateDatabase(path)
    database.put("k", "a", b"1")
    assert "set aside" in database.notices[0]
    assert [p.read_bytes() for p in tmp_path.glob("state.db.corrupt-*")] == [content]


def test_a_directory_in_its_place_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    database = StateDatabase(tmp_path / "state.db")
    assert database.items("k") == []
    assert database.notices


def test_an_empty_file_is_mentioned(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    assert "empty" in StateDatabase(tmp_path / "state.db").notices[0]


def test_a_truncated_file_gives_back_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    database = StateDatabase(path)
    for number in range(500):
        database.put("k", f"{number:04}", bytes(1000))
    database.close()
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size * 3 // 4 // 4096 * 4096)
    again = StateDatabase(path)
    assert again.notices
    again.put("k", "new", b"")
    assert again.get("k", "new") == b""


def test_another_programs_database_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE documents (a)")
    other.commit()
    other.close()
    assert StateDatabase(path).notices


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    StateDatabase(path).close()
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    raw.close()
    with pytest.raises(ComposerError, match="newer composer"):
        StateDatabase(path)
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)


def test_a_locked_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    database = StateDatabase(path)
    database._connection.execute("PRAGMA busy_timeout=10")
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("BEGIN IMMEDIATE")
    with pytest.raises(ComposerError, match="locked by another process"):
        database.put("k", "a", b"")
    raw.execute("ROLLBACK")
    database.put("k", "a", b"")


def test_a_full_disk_says_so_and_keeps_the_old_state(tmp_path: Path) -> None:
    database = StateDatabase(tmp_path / "state.db")
    database.put("k", "a", b"1")
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
    database._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(ComposerError, match="No space left"), database.transaction():
        database.put("k", "a", b"2")
        database.put("k", "b", bytes(10**6))
    assert database.get("k", "a") == b"1"
    database.put("k", "a", b"3")


def test_unreadable_documents_can_be_put_in_quarantine(tmp_path: Path) -> None:
    database = StateDatabase(tmp_path / "state.db")
    database.put("container", "x", b"{half")
    database.quarantine("container", "x", "not JSON")
    assert database.items("container") == []
    ((key, body),) = database.items(QUARANTINE)
    assert key.startswith("container/x/")
    assert body == b"not JSON\n{half"


def test_facts_and_deletions_wait_for_space(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    database = StateDatabase(path)
    database.put("k", "old", b"1")
    database.put("k", "gone", b"1")
    connection = database._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    fact = b"x" * 100_000
    database.put("k", "old", fact, is_fact=True)
    assert database.delete("k", "gone") is True
    assert database.delete("k", "gone") is False
    assert database.get("k", "old") == fact
    assert database.items("k") == [("old", fact)]
    assert database.late == 2
    with pytest.raises(ComposerError, match="No space left"):
        database.put("k", "new", b"")
    with pytest.raises(ComposerError, match="No space left"):
        database.write_late()

    connection.execute("PRAGMA max_page_count=100000")
    database.put("k", "new", b"")
    assert database.late == 0
    database.close()
    again = StateDatabase(path)
    assert again.items("k") == [("new", b""), ("old", fact)]
    again.close()


def test_what_is_late_is_written_at_the_end(tmp_path: Path) -> None:
    database = StateDatabase(tmp_path / "state.db")
    database.put("k", "a", b"1")
    connection = database._connection
    connection.execute(f"PRAGMA max_page_count={connection.execute('PRAGMA page_count').fetchone()[0]}")
    database.put("k", "a", b"2" * 100_000, is_fact=True)
    connection.execute("PRAGMA max_page_count=100000")
    database.close()
    again = StateDatabase(tmp_path / "state.db")
    assert again.get("k", "a") == b"2" * 100_000
    again.close()
