"""Files of the engine's state that are torn, of the wrong kind, or of another version: it starts, names them, the rest
works, and what is damaged can be removed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

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


STACK = """
services:
  web:
    image: composer.local/host
    command: sh -c 'while :; do date; sleep 0.1; done'
    restart: always
    ports: ["127.0.0.1::80"]
    volumes: ["data:/data", "/own"]
    networks: {back: {aliases: [www]}}
  done: {image: composer.local/host, command: "sh -c 'exit 3'"}
  stopped: {image: composer.local/host, restart: always, init: true, command: sleep infinity}
volumes: {data: {}}
networks: {back: {}}
"""


def _lose_everything(composer: Composer, kind: str) -> None:
    """Database and journal both, in the same way; where SQLite would make an empty database of what is there, too."""
    composer.kill_engine()
    for suffix in ("-wal", "-shm"):
        Path(f"{composer.paths.database}{suffix}").unlink(missing_ok=True)
    for path in (composer.paths.database, composer.paths.journal):
        TEARS[kind](path)


@pytest.mark.parametrize("kind", ["empty", "torn", "binary", "a directory", "gone", "cut at 1"])
def test_the_journal_as_well(composer: Composer, project: Project, kind: str) -> None:
    """What a container's own directory says is left: it goes on, with its project, networks, ports and volumes."""
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    composer.run("stop", "-t", "0", "stopped", cwd=directory)
    composer.run("exec", "-T", "web", "sh", "-c", "echo 1 > /data/file; echo 2 > /own/file", cwd=directory)
    names = {name: f"{project.name}-{name}-1" for name in ("web", "done", "stopped")}
    composer.run("container", "rename", names["done"], "over")
    names["done"] = "over"
    wait_for(lambda: composer.inspect("over")["State"]["Status"] == "exited", "the short one to end")
    before = {name: composer.inspect(real) for name, real in names.items()}
    _lose_everything(composer, kind)

    composer.run("ps", "-a", cwd=directory)
    after = {name: composer.inspect(real) for name, real in names.items()}
    assert after["web"]["State"]["Pid"] == before["web"]["State"]["Pid"]
    for name, found in after.items():
        for key in ("Id", "Name", "Config", "Mounts", "RestartCount"):
            assert found[key] == before[name][key], (name, key)
        assert found["State"]["Status"] == before[name]["State"]["Status"]
        assert found["State"]["ExitCode"] == before[name]["State"]["ExitCode"]
    assert after["web"]["NetworkSettings"]["Networks"] == before["web"]["NetworkSettings"]["Networks"]
    status = composer.run("engine", "status").stdout
    assert "the database had lost 3 containers" in status, status
    assert "taken over from what their directories say" in composer.paths.engine_log.read_text()

    again = composer.run("up", "-d", "web", cwd=directory)
    assert composer.inspect(names["web"])["State"]["Pid"] == before["web"]["State"]["Pid"], again.stderr
    composer.run("exec", "-T", "web", "sh", "-c", "cat /data/file /own/file", cwd=directory)
    composer.run("down", "-v", "-t", "0", cwd=directory)
    assert composer.containers() == []
    assert composer.api("GET", "/volumes")["Volumes"] == []
    assert composer.run("network", "ls", "--format", "{{.Name}}").stdout.split() == ["bridge", "host", "none"]


def test_all_records_of_what_runs(composer: Composer) -> None:
    """Not even its directory says what it is: it goes on all the same, and can be looked at and removed."""
    composer.run("network", "create", "net")
    options = ("--network", "net", "-v", "data:/data", "-v", "/own")
    script = "trap 'echo end; exit 7' TERM; echo begin > /data/file; echo begin; sleep infinity & wait"
    composer.run("container", "run", "-d", "--name", "runs", *options, IMAGE, "sh", "-c", script)
    composer.run("container", "run", "--name", "ended", IMAGE, "true")
    before, ended = composer.inspect("runs"), composer.inspect("ended")["Id"]
    wait_for(lambda: "begin" in composer.run("container", "logs", "runs").stdout, "it to begin")
    _lose_everything(composer, "binary")
    for one in (before["Id"], ended):
        _binary(composer.paths.container(one) / "records")

    for _ in range(2):  # the next engine has a record of it again
        assert composer.run("container", "ls", "--format", "{{.Names}}").stdout == "runs\n"
        assert composer.inspect("runs")["State"]["Pid"] == before["State"]["Pid"]
        assert not composer.paths.container(ended).exists()
        composer.run("container", "exec", "runs", "cat", "/data/file")
        assert composer.run("container", "logs", "runs").stdout == "begin\n"
        assert Path(f"/sys/class/net/{_bridge_of(before)}").exists()
        end_engine(composer)
    assert "of container runs all records are lost" in composer.paths.engine_log.read_text()
    assert composer.run("image", "prune", "-f", "-a").returncode == 0
    composer.run("container", "stop", "runs")
    assert composer.inspect("runs")["State"]["ExitCode"] == 7
    failed = composer.run("container", "start", "runs", status=1)
    assert "cannot be started again: what it was made from is lost" in failed.stderr
    assert "composer container rm runs" in failed.stderr
    composer.run("container", "rm", "runs")
    # What anybody has written is a volume, whoever knows of it.
    names = {one["Name"] for one in composer.api("GET", "/volumes")["Volumes"]}
    assert "data" in names
    composer.run("volume", "rm", *names)
    end_engine(composer)
    composer.run("container", "ls")
    assert not Path(f"/sys/class/net/{_bridge_of(before)}").exists()


def _bridge_of(inspected: dict[str, Any]) -> str:
    return f"cmp-{inspected['NetworkSettings']['Networks']['net']['NetworkID'][:10]}"


def test_a_record_of_what_runs(composer: Composer) -> None:
    """One container's record cannot be read: its directory has it once more."""
    composer.run("container", "run", "-d", "--name", "runs", "-l", "a=b", IMAGE, "sleep", "infinity")
    before = composer.inspect("runs")
    end_engine(composer)
    with sqlite3.connect(composer.paths.database) as database:
        database.execute("UPDATE documents SET body = ? WHERE key = ?", (b'{"id": 7', before["Id"]))
    database.close()
    assert composer.run("container", "ls", "--format", "{{.Names}}").stdout == "runs\n"
    after = composer.inspect("runs")
    assert (after["State"]["Pid"], after["Config"]) == (before["State"]["Pid"], before["Config"])


@pytest.mark.parametrize("kind", ["empty", "torn", "binary", "cut at 1", "cut at 100", "cut at 4097"])
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_the_databases_log(composer: Composer, kind: str, suffix: str) -> None:
    """The engine was killed, and what it had written last is damaged."""
    composer.run("container", "run", "-d", "--name", "runs", IMAGE, "sleep", "infinity")
    pid = composer.inspect("runs")["State"]["Pid"]
    composer.kill_engine()
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
    composer.paths.journal.unlink()
    (composer.paths.container(bad) / "records").unlink(missing_ok=True)
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
