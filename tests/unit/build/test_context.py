"""The digests of a context's files: read once, and again when they have changed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from runtime.build.frontend.lines import parse_lines
from runtime.build.ignore import keep_all, parse_ignore
from runtime.build.steps import ContextSource, Selection
from runtime.build.worker import context, looking
from runtime.build.worker.contents import digest_context, files_of
from runtime.build.worker.context import ContextCache
from runtime.build.worker.preloading import Preload, preloading
from runtime.build.worker.worker import Setting, Worker
from runtime.files.tree import Tree
from runtime.storage.state import StateDatabase

_SOURCE = ContextSource(text="context", place=parse_lines("RUN x")[0])
_LONG_AGO = 10**18
_EXCHANGES = (("src", "away"), ("link", "src"), ("src", "link"), ("away", "src"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "src" / "deep").mkdir(parents=True)
    for name in ("a", "src/b", "src/deep/c"):
        (root / name).write_text(name)
    return root


def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was changed until now is long ago."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10**10)


def _digest(cache: ContextCache, root: Path, *patterns: str, ignore: str = "", exclude: str = "") -> str:
    rules = parse_ignore(ignore)
    selection = Selection(source=_SOURCE, patterns=patterns or (".",), exclude=(exclude,) if exclude else ())
    return digest_context(Tree([root]), selection, rules, cache.scan(rules))


def test_what_is_unchanged_is_not_read_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _later(monkeypatch)
    cache = ContextCache(str(root), tmp_path / "cache")
    first = _digest(cache, root)
    assert cache.files_read == 3
    assert _digest(cache, root) == first and cache.files_read == 3
    cache.save()
    again = ContextCache(str(root), tmp_path / "cache")
    assert _digest(again, root) == first and again.files_read == 0
    (root / "src/b").write_text("changed")
    assert _digest(again, root) != first and again.files_read == 1
    assert _digest(again, root, "a") == _digest(cache, root, "a")


def test_times_do_not_count(root: Path, tmp_path: Path) -> None:
    cache = ContextCache(str(root), tmp_path / "cache")
    first = _digest(cache, root)
    os.utime(root / "a", (1, 1))
    assert _digest(cache, root) == first
    (root / "a").chmod(0o600)
    assert _digest(cache, root) != first


def test_a_change_that_stat_does_not_show_is_seen(root: Path, tmp_path: Path) -> None:
    """A file that is changed in the moment that it is read in, twice in one tick of the clock."""
    cache = ContextCache(str(root), tmp_path / "cache")
    for text in ("1", "2", "3", "4"):
        (root / "a").write_text(text)
        first = _digest(cache, root)
        (root / "a").write_text(text + "'")
        (root / "a").write_text("x")
        assert _digest(cache, root) != first


def test_ignored_files_are_neither_read_nor_counted(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _later(monkeypatch)
    cache = ContextCache(str(root), tmp_path / "cache")
    first = _digest(cache, root, ignore="src/deep\n")
    assert cache.files_read == 2
    (root / "src/deep/c").write_text("changed")
    (root / "src/deep/d").write_text("new")
    assert _digest(cache, root, ignore="src/deep\n") == first
    kept = _digest(cache, root, ignore="src\n!src/deep/c\n")
    (root / "src/b").write_text("changed")
    assert _digest(cache, root, ignore="src\n!src/deep/c\n") == kept
    (root / "src/deep/c").write_text("changed again")
    assert _digest(cache, root, ignore="src\n!src/deep/c\n") != kept


def test_excluded_files_do_not_count(root: Path, tmp_path: Path) -> None:
    cache = ContextCache(str(root), tmp_path / "cache")
    first = _digest(cache, root, "src", exclude="deep")
    (root / "src/deep/c").write_text("changed")
    assert _digest(cache, root, "src", exclude="deep") == first
    (root / "src/b").write_text("changed")
    assert _digest(cache, root, "src", exclude="deep") != first


def test_a_fifo_is_not_opened(root: Path, tmp_path: Path) -> None:
    os.mkfifo(root / "fifo")
    os.symlink("/etc/passwd", root / "link")
    cache = ContextCache(str(root), tmp_path / "cache")
    first = _digest(cache, root)
    os.unlink(root / "link")
    os.symlink("/etc/shadow", root / "link")
    assert _digest(cache, root) != first


def test_a_damaged_cache_is_no_cache(root: Path, tmp_path: Path) -> None:
    cache = ContextCache(str(root), tmp_path / "cache")
    first = _digest(cache, root)
    (tmp_path / "cache").write_bytes(b"\x93nonsense")
    assert _digest(ContextCache(str(root), tmp_path / "cache"), root) == first


async def test_a_context_that_changes_while_it_is_read_is_noticed(root: Path, tmp_path: Path) -> None:
    async def no_container(*_: object) -> int:
        raise AssertionError

    database = StateDatabase(tmp_path / "state.db")
    worker = Worker(tmp_path, tmp_path, None, database, no_container)  # type: ignore[arg-type]
    snapshot = worker.context(_SOURCE, Setting(contexts={"": (root, parse_ignore(""))}))
    selection = Selection(source=_SOURCE, patterns=(".",))
    first = await worker.digest(selection, snapshot)
    assert await worker.is_unchanged(selection, snapshot, first)
    (root / "a").write_text("b")
    assert await worker.digest(selection, snapshot) == first  # what was seen when the build began
    assert not await worker.is_unchanged(selection, snapshot, first)
    database.close()


def test_names_that_are_no_text_are_digested_and_the_rest_is_remembered(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _later(monkeypatch)
    (root / "src" / os.fsdecode(b"\xff\xfe")).write_text("x")
    cache = ContextCache(str(root), tmp_path / "cache")
    first = _digest(cache, root)
    cache.save()
    again = ContextCache(str(root), tmp_path / "cache")
    assert _digest(again, root) == first and again.files_read == 2  # those of the directory with that name
    selection = Selection(source=_SOURCE, patterns=("src/*",))
    known = files_of(Tree([root]), selection, keep_all, again.scan(), 10)
    assert sorted(known) == ["src/\\udcff\\udcfe", "src/b", "src/deep/c"]


def test_a_link_counts_under_its_own_name(root: Path, tmp_path: Path) -> None:
    cache = ContextCache(str(root), tmp_path / "cache")
    (root / "one").symlink_to("a")
    first = _digest(cache, root, "o*")
    (root / "one").rename(root / "other")
    assert _digest(cache, root, "o*") != first


def test_another_process_looks_at_half_of_much(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for here, so that all of the looking is its own."""
    marks: list[Preload] = []
    looked_at: list[str] = []

    @contextmanager
    def all_of_it(top: str, paths: Sequence[str]) -> Iterator[Preload | None]:
        with preloading(top, paths) as preload:
            assert preload is not None
            deadline = time.monotonic() + 60
            while not all(any(preload.mark(path)) for path in paths if os.path.isdir(f"{top}/{path}")):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            marks.append(preload)
            yield preload

    def look(top: str, path: str) -> list[looking.Row]:
        looked_at.append(path)
        return looking.look(top, path)

    _later(monkeypatch)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(context, "_MANY", 1)
    monkeypatch.setattr(context, "preloading", all_of_it)
    monkeypatch.setattr(context, "look", look)
    cache = ContextCache(str(root), tmp_path / "cache")
    first = _digest(cache, root)
    assert marks == [] and looked_at == [
        "",
        "src",
        "src/deep",
    ]  # of what is not known there is nothing to compare
    looked_at.clear()
    assert _digest(cache, root) == first
    assert len(marks) == 1 and looked_at == []
    cache.save()
    again = ContextCache(str(root), tmp_path / "cache")
    assert _digest(again, root) == first and looked_at == []
    (root / "src/b").write_text("B")
    assert _digest(again, root) != first and looked_at == ["src"] and again.files_read == 1
    (root / "src/deep/c").unlink()
    (root / "src/deep").rmdir()
    gone = _digest(again, root)
    assert gone == _digest(ContextCache(str(root), tmp_path / "other"), root)


def test_one_processor_looks_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with preloading(str(root), [""]) as preload:
        assert preload is None


def test_marks_are_those_of_rows_and_of_no_others() -> None:
    row: looking.Row = ("a", 0o100644, 2**64 - 2, -1, 2, 3)
    others: list[list[looking.Row]] = [
        [],
        [row, row],
        [("b", *row[1:])],
        [("a", 0o100644, 2**64 - 1, -1, 2, 3)],
    ]
    others += [[("a", 0o100755, *row[2:])], [(*row[:3], -2, 2, 3)], [(*row[:4], 1, 3)], [(*row[:5], 4)]]
    marks = [looking.mark(rows) for rows in ([row], *others)]
    assert looking.mark([row]) == marks[0] and len(set(marks)) == len(marks)


def test_a_directory_that_is_exchanged_for_a_link_is_never_looked_into(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    for name in ("secret", "deep/secret"):
        (outside / name).write_text("x")
    (root / "link").symlink_to(outside)
    code = f"import os\nwhile True:\n for a, b in {_EXCHANGES}: os.rename(a, b)"
    with subprocess.Popen([sys.executable, "-S", "-c", code], cwd=root) as other:
        try:
            for _ in range(2000):
                for path in ("src", "src/deep"):
                    with suppress(FileNotFoundError, NotADirectoryError):
                        rows, _ = ContextCache(str(root), tmp_path / "cache").listing(path)
                        assert "secret" not in [row[0] for row in rows]
            assert other.poll() is None
        finally:
            other.kill()


def test_a_file_behind_a_link_is_not_read(root: Path, tmp_path: Path) -> None:
    scan = ContextCache(str(root), tmp_path / "cache").scan()
    mode = (root / "src/b").stat().st_mode
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/b").write_text("secret")
    assert scan.entries("")[-1].name == "src"
    (root / "src").rename(root / "was")
    (root / "src").symlink_to(tmp_path / "outside")
    for name in ("b", "deep"):
        with pytest.raises(OSError, match="symbolic links"):
            scan.file(f"src/{name}", mode)
