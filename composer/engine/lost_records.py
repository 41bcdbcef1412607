"""When database and journal have both lost what is known of containers: their own directories say it once more, and
what runs is never swept, even where nothing says it.

Before anything is read from the database, :func:`find_lost` puts back what it lacks. A container whose shim lives, and
of which there is no record anywhere, becomes a *remnant*: it has a name, goes on, can be looked at, stopped and
removed, but not started again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from composer.engine.model import ContainerRecord, Status
from runtime.container.config import ContainerConfig, LogConfig
from runtime.errors import ComposerError
from runtime.kernel import sockets
from runtime.storage.journal import Documents
from runtime.storage.own_records import add_own_record, read_own_records, write_own_records
from runtime.storage.paths import Paths
from runtime.storage.state import StateDatabase

log = logging.getLogger(__name__)

_KIND = "container"
_ID = re.compile(r"[0-9a-f]{64}")
_decoder = msgspec.json.Decoder(ContainerRecord)


class OwnCopy:
    """What a container's next engine has to know, in the container's directory, if it has one."""

    def __init__(self, database: StateDatabase, paths: Paths) -> None:
        self._database = database
        self._paths = paths
        self._names: list[tuple[str, str]] = []
        """Of the documents that this engine has written there; none so far."""

    def keep(self, record: ContainerRecord, *, is_started: bool) -> None:
        """Write it anew when the container is started or needs something else, otherwise add its record: a file in
        the place of another is written to the disk at once by some file systems, ext4 for instance."""
        names = _needed(record)
        directory = self._paths.container(record.id)
        try:
            if names == self._names and not is_started:
                body = self._database.get(_KIND, record.id)
                if body is None or add_own_record(directory, (_KIND, record.id, body)):
                    return
            found = [(kind, key, self._database.get(kind, key)) for kind, key in names]
        except ComposerError:
            return
        documents = ((kind, key, body) for kind, key, body in found if body is not None)
        self._names = names if write_own_records(directory, documents) else []


def _needed(record: ContainerRecord) -> list[tuple[str, str]]:
    names = [(_KIND, record.id), ("image", record.image_id)]
    names += [("network", endpoint.network_id) for endpoint in record.endpoints.values()]
    mounted = {mount.source for mount in record.config.mounts if mount.type == "volume" and mount.source}
    return names + [("volume", name) for name in sorted({*record.volumes.values(), *mounted})]


@dataclass
class Lost:
    """What an engine found of containers that its database did not have."""

    taken_over: list[str] = field(default_factory=list)
    """Names of those that are complete."""
    remnants: list[str] = field(default_factory=list)
    """Names of those of which nothing is known but that they run."""

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for people."""
        found = []
        if self.taken_over:
            found.append(
                f"the database had lost {_listed(self.taken_over)}: taken over from what their directories say. "
                "Images, networks and labels of volumes that no container used are forgotten: `composer up` makes what "
                "it needs"
            )
        if self.remnants:
            found.append(
                f"of {_listed(self.remnants)} all records are lost: what runs goes on, and cannot be started again. "
                "`composer container rm -f` removes it; then make it anew"
            )
        return tuple(found)


def _listed(names: list[str]) -> str:
    kind = "container" if len(names) == 1 else f"{len(names)} containers"
    return f"{kind} {', '.join(sorted(names)[:10])}{', ...' if len(names) > 10 else ''}"


def find_lost(database: StateDatabase, paths: Paths) -> Lost:
    """Put back what the database lacks of the containers that have directories. Blocking: microseconds for each."""
    lost = Lost()
    names = _readable(database)
    known = set(names.values())
    for container_id in _directories(paths):
        if container_id in known:
            continue
        own = read_own_records(paths.container(container_id))
        record = _record_in(own, container_id)
        if record is not None:
            lost.taken_over.append(_put_back(database, own, record, names))
        elif _lives(paths.container_run(container_id)):
            record = _remnant(paths.container_run(container_id), container_id, names)
            _put(database, _KIND, container_id, msgspec.json.encode(record))
            names[record.name] = container_id
            lost.remnants.append(record.name)
    for notice in lost.notices:
        log.warning("%s", notice)
    return lost


def _readable(database: StateDatabase) -> dict[str, str]:
    """The ids of containers whose records can be read, by name; the others are set aside, as the records of all kinds
    are when they are read."""
    names: dict[str, str] = {}
    for key, body in database.items(_KIND):
        try:
            names[_decoder.decode(body).name] = key
        except msgspec.DecodeError as error:
            log.error("the record of container %s cannot be read and was set aside: %s", key, error)
            with contextlib.suppress(ComposerError):
                database.quarantine(_KIND, key, str(error))
    return names


def _directories(paths: Paths) -> list[str]:
    found: set[str] = set()
    for parent in (paths.lib / "containers", paths.run / "containers"):
        with contextlib.suppress(OSError):
            found.update(name for name in os.listdir(parent) if _ID.fullmatch(name))
    return sorted(found)


def _record_in(own: Documents, container_id: str) -> ContainerRecord | None:
    try:
        record = _decoder.decode(own[_KIND, container_id])
    except (KeyError, msgspec.DecodeError):
        return None
    return record if record.id == container_id else None


def _put_back(database: StateDatabase, own: Documents, record: ContainerRecord, names: dict[str, str]) -> str:
    name = _free(record.name, record.id, names)
    if name != record.name:
        own[_KIND, record.id] = msgspec.json.encode(msgspec.structs.replace(record, name=name))
    for (kind, key), body in own.items():
        if database.get(kind, key) is None:
            _put(database, kind, key, body)
    names[name] = record.id
    return name


def _put(database: StateDatabase, kind: str, key: str, body: bytes) -> None:
    """It is so already, whether it can be written or not."""
    database.put(kind, key, body, is_fact=True)


def _free(name: str, container_id: str, names: dict[str, str]) -> str:
    """The name, or, where somebody has taken it meanwhile, one like it."""
    return name if name not in names else f"{name}-{container_id[:8]}"


def _lives(run_dir: Path) -> bool:
    """Whether its shim answers. Where that cannot be told it is taken to live: nothing is swept then."""
    try:
        sockets.connect(run_dir / "shim.sock", socket.SOCK_SEQPACKET).close()
    except sockets.NOBODY:
        return False
    except OSError:
        return True
    return True


def _remnant(run_dir: Path, container_id: str, names: dict[str, str]) -> ContainerRecord:
    """What can be said of a container of which only the shim and what that was started with are left."""
    launched: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError), open(run_dir / "launch.json", "rb") as file:
        launched = dict(json.loads(file.readline()))
    name = launched.get("name")
    name = name if isinstance(name, str) and name else f"container-{container_id[:8]}"
    driver = launched["log"]["driver"] if isinstance(launched.get("log"), dict) else "json-file"
    return ContainerRecord(
        id=container_id,
        name=_free(name, container_id, names),
        created=time.time_ns(),
        config=ContainerConfig(
            image="",
            tty=launched.get("tty") is True,
            stdin_open=launched.get("stdin_open") is True,
            network_mode="none",
            log=LogConfig(driver=str(driver)),
        ),
        image_id="",
        image_ref="",
        is_wanted=True,
        status=Status(status="running"),
    )
