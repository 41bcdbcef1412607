"""Records of containers that a database has lost, from the directories of these."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest

from composer.engine.lost_records import OwnCopy, find_lost
from composer.engine.model import ContainerRecord, Endpoint
from runtime.container.config import ContainerConfig
from runtime.kernel import sockets
from runtime.storage.own_records import read_own_records
from runtime.storage.paths import Paths
from runtime.storage.state import StateDatabase

ONE, OTHER = "1" * 64, "2" * 64


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path / "lib", tmp_path / "run")
    for container_id in (ONE, OTHER):
        made.container(container_id).mkdir(parents=True)
        made.container_run(container_id).mkdir(parents=True)
    return made


def _record(container_id: str, name: str) -> ContainerRecord:
    return ContainerRecord(
        id=container_id,
        name=name,
        created=1,
        config=ContainerConfig(image="app"),
        image_id="sha256:app",
        image_ref="app",
        endpoints={"net": Endpoint(network_id="n1")},
        volumes={"/data": "data"},
    )


def _filled(path: Path, record: ContainerRecord) -> StateDatabase:
    database = StateDatabase(path)
    database.put("container", record.id, msgspec.json.encode(record))
    for kind, key in (("image", "sha256:app"), ("network", "n1"), ("network", "n2"), ("volume", "data")):
        database.put(kind, key, f"{kind} {key}".encode())
    return database


def keep_copy(database: StateDatabase, paths: Paths, record: ContainerRecord) -> None:
    OwnCopy(database, paths).keep(record, is_started=True)


def test_all_that_it_needs(tmp_path: Path, paths: Paths) -> None:
    record = _record(ONE, "web")
    keep_copy(_filled(tmp_path / "old.db", record), paths, record)
    database = StateDatabase(tmp_path / "new.db")
    database.put("volume", "data", b"newer")
    lost = find_lost(database, paths)
    assert lost.taken_over == ["web"]
    assert msgspec.json.decode(database.get("container", ONE) or b"", type=ContainerRecord) == record
    assert database.get("image", "sha256:app") == b"image sha256:app"
    assert database.get("network", "n1") == b"network n1"
    assert database.get("network", "n2") is None
    assert database.get("volume", "data") == b"newer"
    assert "container web:" in lost.notices[0]
    assert find_lost(database, paths).notices == ()


def test_a_name_that_is_taken(tmp_path: Path, paths: Paths) -> None:
    record = _record(ONE, "web")
    keep_copy(_filled(tmp_path / "old.db", record), paths, record)
    database = _filled(tmp_path / "new.db", _record(OTHER, "web"))
    assert find_lost(database, paths).taken_over == [f"web-{ONE[:8]}"]


@pytest.mark.parametrize("damage", ["gone", "empty", "torn", "other", "whose"])
def test_what_says_nothing(tmp_path: Path, paths: Paths, damage: str) -> None:
    """Without a shim it is nobody's; with one it is never swept."""
    record = _record(OTHER if damage == "whose" else ONE, "web")
    keep_copy(_filled(tmp_path / "old.db", record), paths, record)
    path = paths.container(record.id) / "records"
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        torn = {"empty": b"", "torn": data[:40], "other": b"x" * 100, "whose": data}[damage]
        (paths.container(ONE) / "records").write_bytes(torn)
    assert find_lost(StateDatabase(tmp_path / "without.db"), paths).notices == ()
    (paths.container_run(ONE) / "launch.json").write_bytes(b'{"name": "web", "tty": true}\n{}\n')
    with sockets.listen(str(paths.container_run(ONE) / "shim.sock"), socket.SOCK_SEQPACKET):
        database = StateDatabase(tmp_path / "new.db")
        assert find_lost(database, paths).remnants == ["web"]
    found = msgspec.json.decode(database.get("container", ONE) or b"", type=ContainerRecord)
    assert (found.image_id, found.config.tty, found.is_wanted) == ("", True, True)


def test_a_record_that_cannot_be_read(tmp_path: Path, paths: Paths) -> None:
    record = _record(ONE, "web")
    keep_copy(_filled(tmp_path / "old.db", record), paths, record)
    database = StateDatabase(tmp_path / "new.db")
    database.put("container", ONE, b"{")
    assert find_lost(database, paths).taken_over == ["web"]


def test_no_room_keeps_the_old_ones(paths: Paths, tmp_path: Path) -> None:
    record = _record(ONE, "web")
    database = _filled(tmp_path / "old.db", record)
    keep_copy(database, paths, record)
    before = read_own_records(paths.container(ONE))
    (paths.container(ONE) / "records.new").mkdir()
    keep_copy(database, paths, record)
    assert read_own_records(paths.container(ONE)) == before
    keep_copy(database, paths, _record("3" * 64, "without a directory"))


def test_what_changes_is_added(paths: Paths, tmp_path: Path) -> None:
    """Also by an engine that finds what another has left half written."""
    record = _record(ONE, "web")
    database = _filled(tmp_path / "old.db", record)
    copy = OwnCopy(database, paths)
    copy.keep(record, is_started=True)
    file = paths.container(ONE) / "records"
    inode, sizes = file.stat().st_ino, [file.stat().st_size]
    for is_manually_stopped in (True, False):
        record = msgspec.structs.replace(record, is_manually_stopped=is_manually_stopped)
        database.put("container", ONE, msgspec.json.encode(record))
        copy.keep(record, is_started=False)
        sizes.append(file.stat().st_size)
        own = read_own_records(paths.container(ONE))
        assert msgspec.json.decode(own["container", ONE], type=ContainerRecord) == record
        assert own["network", "n1"] == b"network n1"
    assert file.stat().st_ino == inode and sizes == sorted(set(sizes))
    file.write_bytes(file.read_bytes()[:-1])
    OwnCopy(database, paths).keep(record, is_started=False)
    own = read_own_records(paths.container(ONE))
    assert msgspec.json.decode(own["container", ONE], type=ContainerRecord) == record
    assert file.stat().st_size == sizes[0]


def test_it_does_not_grow_without_end_and_has_what_is_needed_now(paths: Paths, tmp_path: Path) -> None:
    record = _record(ONE, "web")
    database = _filled(tmp_path / "old.db", record)
    copy = OwnCopy(database, paths)
    sizes = []
    for number in range(2000):
        record = msgspec.structs.replace(record, is_manually_stopped=number % 2 == 0)
        database.put("container", ONE, msgspec.json.encode(record))
        copy.keep(record, is_started=False)
        sizes.append((paths.container(ONE) / "records").stat().st_size)
    assert max(sizes) < 300 << 10 and sizes.index(max(sizes)) < len(sizes) - 1
    record = msgspec.structs.replace(record, endpoints={"net": Endpoint(network_id="n2")})
    database.put("container", ONE, msgspec.json.encode(record))
    copy.keep(record, is_started=False)
    own = read_own_records(paths.container(ONE))
    assert ("network", "n2") in own and ("network", "n1") not in own
