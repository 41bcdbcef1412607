"""What the engine knows, in one SQLite file: documents (bytes) under a kind and a key.

Only the core writes. WAL with ``synchronous=NORMAL``: a crash of the process loses nothing that was
committed, a power cut at most the last transactions, never consistency (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import ComposerError
from runtime.kernel.refusal import refusal
from runtime.storage.files import storage_error
from runtime.storage.journal import Journal, read_journal
from runtime.storage.paths import LASTING_MODE

log = logging.getLogger(__name__)

_MIGRATIONS: tuple[str, ...] = (
    "CREATE TABLE documents (kind TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL,"
    " PRIMARY KEY (kind, key)) WITHOUT ROWID",
    "SELECT 'whoever writes from here on writes to the journal, too'",
)
"""Step n brings a database of version n to n + 1 (``PRAGMA user_version``). Only ever appended to.

Also where nothing changes in the file, but an older engine must not write to it any more: it would leave out of
documents what it does not know, and what it deletes would come back from the journal."""

SCHEMA_VERSION = len(_MIGRATIONS)
_LATE = "late"
"""Kind under which the journal names what it has and the database has not yet: ``kind/key``."""
QUARANTINE = "quarantine"
"""Kind under which :meth:`StateDatabase.quarantine` keeps documents that could not be read."""


class StateDatabase:
    """A store of documents in one file.

    Opening creates the file and its directory, brings an older schema up to date, and refuses a newer one. A
    file that is not a readable database is renamed aside (``notices`` says so, and what could be read is
    taken over) rather than fatal. All errors are ComposerErrors that name the file.

    What has happened already does not fail for want of space: facts and deletions that cannot be written are kept
    in memory, seen by who reads, and written before whatever is written next.
    """

    def __init__(self, path: Path, journal: Path | None = None, *, has_state: bool = False) -> None:
        """``journal``: where everything is once more (:mod:`runtime.storage.journal`). ``has_state``: whether it is to
        be believed when there is no database at all."""
        self.path = path
        self._journal_path = journal
        self._journal = None if journal is None else Journal(journal)
        self._has_state = has_state
        self._noted: list[tuple[str, str, bytes | None]] = []
        """What is written in the transaction that is open."""
        self.notices: list[str] = []
        """Sentences for the engine's log: what had to be set aside while opening."""
        self._lock = threading.RLock()
        self._depth = 0
        self._failed = False
        self._late: dict[tuple[str, str], bytes | None] = {}
        """What could not be written yet, by kind and key; None where it is a deletion."""
        try:
            path.parent.mkdir(mode=LASTING_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, "create", path.parent) from error
        self._connection = self._open_or_quarantine()
        self._add_missing()
        self._begin_journal()

    # Opening

    def _open_or_quarantine(self) -> sqlite3.Connection:
        try:
            info = os.lstat(self.path)
        except FileNotFoundError:
            info = None
        except OSError as error:
            raise storage_error(error, "open", self.path) from error
        if info is not None and stat.S_ISREG(info.st_mode):
            is_empty = info.st_size == 0 and not os.path.exists(f"{self.path}-wal")
            if is_empty:
                self.notices.append(f"{self.path} was empty")
            try:
                connection = self._open()
                if is_empty and not self._restore(connection):
                    self.notices.append("starting with no state")
                return connection
            except sqlite3.OperationalError as error:
                if not _is_corrupt(error):
                    raise self._explain(error, "open") from error
                reason = str(error)
            except sqlite3.DatabaseError as error:
                reason = str(error)
        elif info is None:
            try:
                connection = self._open()
            except sqlite3.DatabaseError as error:
                raise self._explain(error, "create") from error
            if self._has_state and self._restore(connection):
                self.notices.append(f"{self.path} was gone")
            return connection
        else:
            reason = "not a regular file"
        aside = self._set_aside()
        self.notices.append(
            f"{self.path} could not be read ({reason}): set aside as {aside.name}, starting afresh"
        )
        try:
            connection = self._open()
        except sqlite3.DatabaseError as error:
            raise self._explain(error, "create") from error
        if not self._restore(connection):
            self._salvage(aside, connection)
        return connection

    def _open(self) -> sqlite3.Connection:
        previous = os.umask(0o077)
        try:
            connection = sqlite3.connect(
                self.path, timeout=2.0, isolation_level=None, check_same_thread=False, cached_statements=64
            )
        finally:
            os.umask(previous)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise ComposerError(
                    f"{self.path} was written by a newer composer (schema {version}, this one reads up to "
                    f"{SCHEMA_VERSION})",
                    hint="Install the newer version again, or set COMPOSER_ROOT to another directory.",
                )
            for check in connection.execute("PRAGMA quick_check(1)"):
                if check[0] != "ok":
                    raise sqlite3.DatabaseError(str(check[0]).splitlines()[-1])
            if version < SCHEMA_VERSION:
                connection.execute("BEGIN IMMEDIATE")
                for step in _MIGRATIONS[version:]:
                    connection.execute(step)
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                connection.execute("COMMIT")
            connection.execute("SELECT kind, key, body FROM documents LIMIT 1").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        aside = self.path.with_name(f"{self.path.name}.corrupt-{stamp}")
        number = 1
        while os.path.lexists(aside):
            number += 1
            aside = self.path.with_name(f"{self.path.name}.corrupt-{stamp}.{number}")
        try:
            os.rename(self.path, aside)
            for suffix in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{self.path}{suffix}", f"{aside}{suffix}")
        except OSError as error:
            raise storage_error(error, "set aside", self.path) from error
        return aside

    def _restore(self, connection: sqlite3.Connection) -> bool:
        """Take over what the journal has; whether there is one."""
        documents = None if self._journal_path is None else read_journal(self._journal_path)
        if not documents:
            return False
        rows = [(kind, key, body) for (kind, key), body in documents.items() if kind != _LATE]
        with contextlib.suppress(sqlite3.DatabaseError):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", rows)
            connection.execute("COMMIT")
            self.notices.append(f"{len(rows)} documents were taken over from {self._journal_path}")
            return True
        return False

    def _add_missing(self) -> None:
        """A write-ahead log that is damaged makes no damaged database, but one that is older; so does a file system
        that is mounted again after an error. The journal is never older: it comes first, and is none if it lacks
        anything."""
        documents = None if self._journal_path is None else read_journal(self._journal_path)
        if not documents:
            return
        with self._guard("read"):
            there = {
                (kind, key): bytes(body)
                for kind, key, body in self._connection.execute("SELECT kind, key, body FROM documents")
            }
        late = [tuple(name.split("/", 1)) for kind, name in documents if kind == _LATE]
        documents = {name: body for name, body in documents.items() if name[0] != _LATE}
        missing: list[tuple[str, str, bytes | None]]
        missing = [(*name, body) for name, body in documents.items() if there.get(name) != body]
        missing += [
            (kind, key, documents.get((kind, key))) for kind, key in late if (kind, key) not in documents
        ]
        if not missing or not (self._has_state or there):
            return
        for document in missing:
            try:
                self._write(*document)
            except ComposerError as error:
                self._keep_for_later(*document, error)
        self.notices.append(
            f"{len(missing)} documents that {self.path} lacked were taken over from {self._journal_path}"
        )

    def _begin_journal(self) -> None:
        if self._journal is not None:
            with self._guard("read"):
                sql = "SELECT kind, key, body FROM documents WHERE kind != ?"
                rows = self._connection.execute(sql, (QUARANTINE,)).fetchall()
            self._journal.begin((kind, key, bytes(body)) for kind, key, body in rows)
            for (kind, key), body in self._late.items():
                self._journal.note(kind, key, body)
                self._journal.note(_LATE, f"{kind}/{key}", b"")

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """The journal comes first, so that it never lacks a deletion; what then fails is taken out of it again."""
        try:
            yield
        except sqlite3.Error:
            if not self._depth:
                self._begin_journal()
            raise

    def _note(self, kind: str, key: str, body: bytes | None) -> None:
        if self._journal is None or kind == QUARANTINE:
            return
        if self._depth:
            self._noted.append((kind, key, body))
            return
        self._journal.note(kind, key, body)
        if self._journal.is_long:
            self._begin_journal()

    def _salvage(self, aside: Path, connection: sqlite3.Connection) -> None:
        """Take over the documents that can still be read: a torn page costs what is on it, not everything."""
        if not aside.is_file():
            return
        rows: list[tuple[str, str, bytes]] = []
        with (
            contextlib.suppress(sqlite3.DatabaseError),
            contextlib.closing(sqlite3.connect(f"file:{aside}?mode=ro", uri=True)) as old,
        ):
            for kind, key, body in old.execute("SELECT kind, key, body FROM documents"):
                if isinstance(kind, str) and isinstance(key, str) and isinstance(body, bytes):
                    rows.append((kind, key, body))
        if rows:
            with self._lock:
                connection.executemany("INSERT OR IGNORE INTO documents VALUES (?, ?, ?)", rows)
            self.notices.append(f"{len(rows)} documents of {aside} could still be read and were taken over")

    # Documents

    def get(self, kind: str, key: str) -> bytes | None:
        """The document, or None."""
        with self._guard("read"):
            if (kind, key) in self._late:
                return self._late[kind, key]
            row = self._connection.execute(
                "SELECT body FROM documents WHERE kind = ? AND key = ?", (kind, key)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, kind: str, key: str, body: bytes, *, is_fact: bool = False) -> None:
        """Insert or replace. Durable as soon as the (outermost) transaction ends; a fact as soon as possible."""
        with self._lock:
            try:
                self.write_late()
                self._write(kind, key, body)
            except ComposerError as error:
                if not is_fact or self._depth:
                    raise
                self._keep_for_later(kind, key, body, error)

    def delete(self, kind: str, key: str) -> bool:
        """Whether there was one. Gone as soon as possible."""
        with self._lock:
            is_there = self.get(kind, key) is not None
            try:
                self.write_late()
                self._write(kind, key, None)
            except ComposerError as error:
                if self._depth:
                    raise
                self._keep_for_later(kind, key, None, error)
        return is_there

    def items(self, kind: str) -> list[tuple[str, bytes]]:
        """All documents of a kind as (key, body), in order of their keys."""
        with self._guard("read"):
            rows = self._connection.execute(
                "SELECT key, body FROM documents WHERE kind = ?", (kind,)
            ).fetchall()
            found: dict[str, bytes | None] = {key: bytes(body) for key, body in rows}
            found.update((key, body) for (late_kind, key), body in self._late.items() if late_kind == kind)
        return sorted((key, body) for key, body in found.items() if body is not None)

    @property
    def late(self) -> int:
        """Documents whose newest state is in memory only."""
        return len(self._late)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for people: what is wrong now."""
        if not self._late:
            return ()
        return (f"{self.path} cannot be written: {len(self._late)} changes are in memory only",)

    def write_late(self) -> None:
        """Write what could not be written before. Raises ComposerError when that is still so."""
        with self._lock:
            for (kind, key), body in list(self._late.items()):
                self._write(kind, key, body)
                # Inside a transaction it may yet be undone, and written twice is written.
                if not self._depth:
                    del self._late[kind, key]
                    self._note(_LATE, f"{kind}/{key}", None)

    def _write(self, kind: str, key: str, body: bytes | None) -> None:
        self._note(kind, key, body)
        with self._guard("write"), self._noting():
            if body is None:
                self._connection.execute("DELETE FROM documents WHERE kind = ? AND key = ?", (kind, key))
            else:
                self._connection.execute(
                    "INSERT INTO documents (kind, key, body) VALUES (?, ?, ?)"
                    " ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body",
                    (kind, key, body),
                )

    def _keep_for_later(self, kind: str, key: str, body: bytes | None, error: ComposerError) -> None:
        if not self._late:
            log.warning("%s; until it can be written, what changes is kept in memory", error)
        self._late[kind, key] = body
        self._note(kind, key, body)
        self._note(_LATE, f"{kind}/{key}", b"")

    def quarantine(self, kind: str, key: str, reason: str) -> None:
        """Move a document that could not be understood out of the way, keeping its bytes for a person to look
        at."""
        with self.transaction():
            body = self.get(kind, key)
            if body is not None:
                self.put(QUARANTINE, f"{kind}/{key}/{time.time_ns()}", reason.encode() + b"\n" + body)
                self.delete(kind, key)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside, or (after an exception) nothing of it. Nests: the outermost decides.

        Do not await inside: another task's writes would become part of it.
        """
        with self._lock:
            if self._depth == 0:
                with self._guard("write"):
                    self._connection.execute("BEGIN IMMEDIATE")
                self._failed = False
            self._depth += 1
            try:
                yield
            except BaseException:
                self._failed = True
                raise
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._finish()

    def _finish(self) -> None:
        noted, self._noted = self._noted, []
        if self._failed:
            # A full disk or an I/O error has rolled back by itself already.
            if self._connection.in_transaction:
                with self._guard("write"):
                    self._connection.execute("ROLLBACK")
            return
        for change in noted:
            self._note(*change)
        try:
            with self._guard("write"), self._noting():
                self._connection.execute("COMMIT")
        except ComposerError:
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        with self._lock:
            with contextlib.suppress(ComposerError):
                self.write_late()
            self._connection.close()
            if self._journal is not None:
                self._journal.close()

    @contextlib.contextmanager
    def _guard(self, step: str) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise self._explain(error, step) from error

    def _explain(self, error: sqlite3.Error, step: str) -> ComposerError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return storage_error(OSError(errno.ENOSPC, ""), step, self.path)
        if code == sqlite3.SQLITE_READONLY:
            return storage_error(OSError(errno.EROFS, ""), step, self.path)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return ComposerError(
                f"{step} {self.path}: locked by another process",
                hint="Only one engine may use a state directory: stop the program that has the file open.",
            )
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            number = refusal(self.path.parent)
            if not number and code != sqlite3.SQLITE_IOERR and not os.access(self.path.parent, os.W_OK):
                number = errno.EACCES
            if number:
                return storage_error(OSError(number, ""), step, self.path)
        if _is_corrupt(error):
            return ComposerError(
                f"{step} {self.path}: the file is damaged ({error})",
                hint="Restart the engine: it sets the file aside and takes over what can still be read.",
            )
        return ComposerError(f"{step} {self.path}: {error}")


def _is_corrupt(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # A table that is missing or has other columns (SQLITE_ERROR) was not written by us: the same remedy.
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
