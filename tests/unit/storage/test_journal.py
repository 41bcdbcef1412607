"""What is in the database once more, and what a damaged database gets back from it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import ComposerError
from runtime.storage import journal
from runtime.storage.journal import Journal, read_journal
from runtime.storage.state import StateDatabase

NAMES = st.sampled_from(["a", "b", "ä"])
CHANGES = st.lists(st.tuples(NAMES, NAMES, st.none() | st.binary(max_size=20)))


@given(changes=CHANGES, cut=st.integers(0, 400))
def test_what_is_noted_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, str, bytes | None]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    written = Journal(path)
    written.begin([("first", "one", b"1")])
    states = [{("first", "one"): b"1"}]
    for kind, key, body in changes:
        written.note(kind, key, body)
        state = dict(states[-1])
        if body is None:
            state.pop((kind, key), None)
        else:
            state[kind, key] = body
        states.append(state)
    written.close()
    assert read_journal(path) == states[-1]
    # Torn anywhere it has a state that there was, or none.
    data = path.read_bytes()
    path.write_bytes(data[: max(0, len(data) - cut)])
    found = read_journal(path)
    assert found in (None, {}, *states)


def test_another_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    Journal(path).begin([("a", "b", b"c")])
    monkeypatch.setattr(journal, "_head", lambda: b"composer journal 1 another\n")
    assert read_journal(path) is None


def _opened(tmp_path: Path) -> StateDatabase:
    return StateDatabase(tmp_path / "state.db", tmp_path / "journal", has_state=True)


def test_the_journal_is_as_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_SLACK", 300)
    database = _opened(tmp_path)
    for number in range(30):
        database.put("kind", str(number % 7), b"x" * number)
        with database.transaction():
            database.put("kind", "a", str(number).encode())
            database.delete("kind", "3")
        with pytest.raises(KeyError), database.transaction():
            database.put("kind", "undone", b"")
            raise KeyError
        found = read_journal(tmp_path / "journal")
        assert found == {("kind", key): body for key, body in database.items("kind")}
    assert (tmp_path / "journal").stat().st_size < 1000
    database.close()


def test_what_could_not_be_written(tmp_path: Path) -> None:
    database = _opened(tmp_path)
    database.put("kind", "kept", b"old")
    database._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(ComposerError):
        database.put("kind", "new", b"")
    assert read_journal(tmp_path / "journal") == {("kind", "kept"): b"old"}
    database.put("kind", "fact", b"1", is_fact=True)
    late = {("late", "kind/fact"): b""}
    assert read_journal(tmp_path / "journal") == {("kind", "kept"): b"old", ("kind", "fact"): b"1", **late}


def test_what_only_the_journal_knows(tmp_path: Path) -> None:
    """The disk was read-only until the engine ended: the next one has what has happened since, not what was before."""
    database = _opened(tmp_path)
    for key in ("changed", "deleted", "kept"):
        database.put("kind", key, b"old")
    database._connection.execute("PRAGMA query_only = 1")
    database.put("kind", "changed", b"new", is_fact=True)
    database.put("kind", "made", b"new", is_fact=True)
    database.delete("kind", "deleted")
    database.close()
    again = _opened(tmp_path)
    now = [("changed", b"new"), ("kept", b"old"), ("made", b"new")]
    assert again.items("kind") == now
    assert "3 documents that" in again.notices[0]
    assert again.items("late") == []
    # It is known once: what is written from then on is not undone by what was late before.
    again.put("kind", "changed", b"newer")
    again.close()
    again = _opened(tmp_path)
    assert again.get("kind", "changed") == b"newer"
    assert again.notices == []
    again.close()


def test_a_database_that_has_gone_back(tmp_path: Path) -> None:
    """As when its write-ahead log is damaged."""
    database = _opened(tmp_path)
    database.put("kind", "one", b"1")
    database.put("kind", "two", b"2")
    database.close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("DELETE FROM documents WHERE key = 'two'")
    connection.close()
    again = _opened(tmp_path)
    assert again.items("kind") == [("one", b"1"), ("two", b"2")]
    assert "1 documents that" in again.notices[0]
    again.close()
