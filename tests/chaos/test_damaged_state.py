"""Files of the engine's state that are torn, of the wrong kind, or of another version: it starts, names them, the rest
works, and what is damaged can be removed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.engine import Composer, is_gone, wait_for

IMAGE = "composer.local/host"


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _torn(path: Path) -> None:
    path.write_bytes(b'{"exit_code": 3, "sig')


def _wrong(path: Path) -> None:
    path.write_bytes(b'{"exit_code": {"a": []}, "started_at": "yesterday"}')


def _binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 16)


def _directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "something").write_text("x")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": _empty,
    "torn": _torn,
    "wrong types": _wrong,
    "binary": _binary,
    "a directory": _directory,
}


def end_engine(composer: Composer) -> None:
    composer.run("engine", "stop")
    wait_for(lambda: not composer.processes("composer-keeper"), "the engine to end")


def test_exit_statuses(composer: Composer) -> None:
    composer.run("container", "run", "-d", "--name", "whole", IMAGE, "sleep", "infinity")
    ids = {}
    for kind in DAMAGES:
        name = kind.replace(" ", "-")
        composer.run("container", "run", "--name", name, IMAGE, "sh", "-c", "exit 3", status=3)
        ids[kind] = composer.inspect(name)["Id"]
    end_engine(composer)
    for kind, damage in DAMAGES.items():
        path = composer.paths.container(ids[kind]) / "status.json"
        damage(path)
    pid = composer.run("container", "inspect", "-f", "{{.State.Pid}}", "whole").stdout
    for kind in DAMAGES:
        name = kind.replace(" ", "-")
        assert composer.inspect(name)["State"]["ExitCode"] == 3, kind
        # It can be started again, and its new status takes the place of what is there.
        composer.run("container", "start", "-a", name, status=3)
        composer.run("container", "rm", "-f", name)
    assert composer.run("container", "inspect", "-f", "{{.State.Pid}}", "whole").stdout == pid


def _kill_at_once(composer: Composer) -> None:
    """Core and keeper: none of them may begin the other anew."""
    pids = [*composer.processes("composer-core"), *composer.processes("composer-keeper")]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)
    for pid in pids:
        wait_for(partial(is_gone, pid), f"process {pid} to end")


def _cut(length: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, min(length, path.stat().st_size))


TEARS: dict[str, Callable[[Path], None]] = {
    **DAMAGES,
    "gone": Path.unlink,
    **{f"cut at {length}": _cut(length) for length in (1, 100, 4096, 4097, 8191)},
}


@pytest.mark.parametrize("kind", TEARS)
def test_the_database(composer: Composer, kind: str) -> None:
    """What runs is found again, with all that belongs to it; so is what does not run."""
    composer.run("network", "create", "net")
    options = ("--network", "net", "-v", "data:/data", "-v", "/own")
    composer.run("container", "run", "-d", "--name", "runs", *options, IMAGE, "sleep", "infinity")
    composer.run("container", "run", "--name", "ended", IMAGE, "sh", "-c", "exit 3", status=3)
    composer.run("container", "create", "--name", "gone", IMAGE, "true")
    composer.run("container", "rm", "gone")
    before = composer.inspect("runs")
    end_engine(composer)
    for suffix in ("-wal", "-shm"):
        Path(f"{composer.paths.database}{suffix}").unlink(missing_ok=True)
    TEARS[kind](composer.paths.database)
    assert composer.run("container", "run", "--rm", IMAGE, "echo", "works").stdout == "works\n"
    log = composer.paths.engine_log.read_text()
    if kind == "gone":
        assert f"{composer.paths.database} was gone" in log
    elif kind == "empty":
        assert f"{composer.paths.database} was empty" in log
    else:
        # Of one byte SQLite makes an empty one, without a word.
        assert (
            f"{composer.paths.database} could not be read" in log
            or f"{composer.paths.database} lacked" in log
        )
    assert f"were taken over from {composer.paths.journal}" in log
    after = composer.inspect("runs")
    assert after["State"]["Running"]
    for key in ("Id", "Mounts", "Config"):
        assert after[key] == before[key]
    assert after["State"]["Pid"] == before["State"]["Pid"]
    assert after["NetworkSettings"]["Networks"] == before["NetworkSettings"]["Networks"]
    assert composer.inspect("ended")["State"]["ExitCode"] == 3
    assert {one["Names"][0] for one in composer.containers()} == {"/runs", "/ended"}
    composer.run("container", "exec", "runs", "true")
    composer.run("container", "rm", "-f", "-v", "runs", "ended")
    assert [one["Name"] for one in composer.api("GET", "/volumes")["Volumes"]] == ["data"]
    composer.run("network", "rm", "net")


@pytest.mark.parametrize("kind", ["empty", "torn", "binary", "a directory", "gone"])
def test_the_journal_as_well(composer: Composer, kind: str) -> None:
    """Then only what is on the disk elsewhere is left; the engine comes up, and says so."""
    composer.run("container", "run", "-d", "--name", "lost", IMAGE, "sleep", "infinity")
    end_engine(composer)
    TEARS[kind](composer.paths.journal)
    for suffix in ("-wal", "-shm"):
        Path(f"{composer.paths.database}{suffix}").unlink(missing_ok=True)
    _binary(composer.paths.database)
    assert composer.run("container", "run", "--rm", IMAGE, "echo", "works").stdout == "works\n"
    assert "starting afresh" in composer.paths.engine_log.read_text()


@pytest.mark.parametrize("kind", ["empty", "torn", "binary", "cut at 1", "cut at 100", "cut at 4097"])
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_the_databases_log(composer: Composer, kind: str, suffix: str) -> None:
    """The engine was killed, and what it had written last is damaged."""
    composer.run("container", "run", "-d", "--name", "runs", IMAGE, "sleep", "infinity")
    pid = composer.inspect("runs")["State"]["Pid"]
    _kill_at_once(composer)
    TEARS[kind](Path(f"{composer.paths.database}{suffix}"))
    assert composer.run("container", "run", "--rm", IMAGE, "echo", "works").stdout == "works\n"
    assert composer.inspect("runs")["State"]["Pid"] == pid


def test_a_record_that_cannot_be_read(composer: Composer) -> None:
    for name in ("good", "bad"):
        composer.run("container", "create", "--name", name, IMAGE, "true")
    bad = composer.inspect("bad")["Id"]
    end_engine(composer)
    with sqlite3.connect(composer.paths.database) as database:
        database.execute("UPDATE documents SET body = ? WHERE key = ?", (b'{"id": 7', bad))
    database.close()
    assert composer.run("container", "ls", "-a", "--format", "{{.Names}}").stdout == "good\n"
    assert bad in composer.paths.engine_log.read_text()
    # Its name is free, and its files are gone.
    composer.run("container", "run", "--name", "bad", IMAGE, "true")
    assert not composer.paths.container(bad).exists()


def test_a_newer_version_is_left_alone(composer: Composer) -> None:
    composer.run("container", "create", "--name", "kept", IMAGE, "true")
    end_engine(composer)
    with sqlite3.connect(composer.paths.database) as database:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        database.execute("PRAGMA user_version = 999")
    database.close()
    before = composer.paths.database.read_bytes()
    refused = composer.run("container", "ls", status=None)
    assert refused.returncode != 0
    assert "written by a newer composer (schema 999" in refused.stderr
    assert "Install the newer version again" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert composer.paths.database.read_bytes() == before
    with sqlite3.connect(composer.paths.database) as database:
        database.execute(f"PRAGMA user_version = {version}")
    database.close()
    assert composer.run("container", "ls", "-a", "--format", "{{.Names}}").stdout == "kept\n"


def test_directories_that_are_gone(composer: Composer) -> None:
    """A container whose state is deleted can be removed, and others do not care."""
    for name in ("other", "poor"):
        composer.run("container", "create", "--name", name, IMAGE, "true")
    composer.run("container", "start", "-a", "poor")
    end_engine(composer)
    shutil.rmtree(composer.paths.lib / "containers")
    composer.run("container", "start", "-a", "other")
    composer.run("container", "rm", "-f", "poor", "other")


def test_engine_belongs_to_its_owner_alone(composer: Composer) -> None:
    composer.run("container", "run", "-d", "--name", "one", IMAGE, "sleep", "infinity")
    one = composer.inspect("one")["Id"]
    mode = [stat.S_IMODE(path.stat().st_mode) for path in (composer.paths.lib, composer.paths.run)]
    assert mode == [0o700, 0o711], (
        "nobody else reaches what containers made set-user-id, nor layers of images"
    )
    assert stat.S_IMODE(composer.paths.socket.stat().st_mode) == 0o660
    secret = [composer.paths.database, composer.paths.engine_log, composer.paths.lock]
    secret += [composer.paths.container(one), composer.paths.container_run(one)]
    for path in secret:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    end_engine(composer)
    composer.paths.lib.chmod(0o711)
    composer.run("container", "ls")
    assert stat.S_IMODE(composer.paths.lib.stat().st_mode) == 0o700, "also where an older version made it"
