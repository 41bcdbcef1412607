"""Copies between the local file system and one container, as ``docker cp`` makes them."""

from __future__ import annotations

import base64
import os
import posixpath
import stat
import sys
import threading

from composer.api.client import API, quote
from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.files.archive import extract, write_path
from runtime.files.copying import End, Placing, last_name, place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from composer.api.client import EngineClient, QueryValue

_DIRECTORY, _LINK = 1 << 31, 1 << 27
"""Go's os.FileMode."""
_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def copy_out(client: EngineClient, container: str, path: str, target: str, *, follows: bool) -> int:
    """From a container to ``target`` ("-": a tar to stdout). How many bytes. Raises ComposerError."""
    name = ""
    described = _described(client, container, path)
    if follows and described["linkTarget"]:
        name, path = last_name(path), str(described["linkTarget"])
        described = _described(client, container, path)
    answer = client.chunks("GET", f"{API}/containers/{quote(container)}/archive", {"path": path})
    counted = _Pieces(answer)
    if target == "-":
        while data := counted.read(1 << 18):
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return counted.total
    source = End(path, is_directory=bool(described["mode"] & _DIRECTORY))
    placing = place(source, _local_end(target))
    if name and not placing.old:
        placing = Placing(placing.directory, last_name(path), name)
    directory = _opened(placing.directory)
    try:
        extract(
            directory,
            "/",
            counted,
            keeps_kinds=True,
            keeps_owners=False,
            rename=(placing.old, placing.new),
        )
    finally:
        os.close(directory)
    return counted.total


def copy_in(
    client: EngineClient, container: str, source: str, path: str, *, follows: bool, owners: bool
) -> int:
    """From ``source`` ("-": a tar from stdin) into a container. How many bytes. Raises ComposerError."""
    destination = _end_in(client, container, path)
    if source == "-":
        if not destination.is_directory:
            raise InvalidArgument(f'destination "{container}:{path}" must be a directory')
        return _put(client, container, destination.path, sys.stdin.buffer, owners=owners)
    local = _followed(source) if follows else source
    try:
        status = os.stat(local) if local.endswith(("/", "/.")) else os.lstat(local)
    except OSError as error:
        raise NotFound(f"lstat {os.path.abspath(local)}: {(error.strerror or '').lower()}") from None
    begin = End(source, is_directory=stat.S_ISDIR(status.st_mode))
    if begin.must_be_directory and not begin.is_directory:
        raise InvalidArgument("not a directory")
    placing = place(begin, destination)
    name = placing.new or last_name(os.path.abspath(source) if source in ("..",) else source)
    if placing.old == "." and placing.new:
        name = placing.new
    reading, writing = os.pipe2(os.O_CLOEXEC)
    failed: list[Exception] = []

    def produce() -> None:
        try:
            with open(writing, "wb", buffering=1 << 18) as out:
                root = os.open("/", _PLACE)
                try:
                    end = "/." if local.endswith("/.") or local == "." else "/" if local.endswith("/") else ""
                    write_path(root, os.path.abspath(local) + end, out, name=name)
                finally:
                    os.close(root)
        except BrokenPipeError:
            pass
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    with open(reading, "rb", buffering=0) as file:
        total = _put(client, container, placing.directory, file, owners=owners)
    thread.join()
    if failed:
        raise failed[0]
    return total


def _put(client: EngineClient, container: str, path: str, source: IO[bytes], *, owners: bool) -> int:
    counted = _Counted(source)
    query: dict[str, QueryValue] = {"path": path, "noOverwriteDirNonDir": True, "copyUIDGID": owners or None}
    headers = {"Content-Type": "application/x-tar"}
    client.request("PUT", f"{API}/containers/{quote(container)}/archive", query, counted, headers=headers)
    return counted.total


def _described(client: EngineClient, container: str, path: str) -> dict[str, Any]:
    """What is at a path in a container. Raises NotFound."""
    import json

    try:
        answer = client.request("HEAD", f"{API}/containers/{quote(container)}/archive", {"path": path})
    except NotFound:  # a HEAD has no words
        raise NotFound(f"Could not find the file {path} in container {container}") from None
    found: dict[str, Any] = json.loads(base64.b64decode(answer.headers["x-docker-container-path-stat"]))
    return found


def _end_in(client: EngineClient, container: str, path: str) -> End:
    """What a destination is in a container, links followed; what is not there has to have a directory above it."""
    try:
        described = _described(client, container, path)
        if described["mode"] & _LINK:
            ending = "/." if path.endswith("/.") else "/" if path.endswith("/") else ""
            path = str(described["linkTarget"]) + ending
            described = _described(client, container, path)
    except NotFound:
        return End(path, is_there=False)
    return End(path, is_directory=bool(described["mode"] & _DIRECTORY))


def _local_end(path: str) -> End:
    try:
        return End(path, is_directory=stat.S_ISDIR(os.stat(path).st_mode))
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        raise InvalidArgument("not a directory") from None
    above = posixpath.dirname(os.path.abspath(path))
    if not os.path.isdir(above):
        raise NotFound(f'invalid output path: directory "{above}" does not exist')
    return End(path, is_there=False)


def _opened(directory: str) -> int:
    try:
        return os.open(directory, _PLACE)
    except OSError as error:
        raise ComposerError(f"{directory}: {error.strerror}") from None


def _followed(path: str) -> str:
    return os.path.realpath(path) if os.path.islink(path) else path


class _Counted:
    """A readable that knows how much was read of it."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.total = 0

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self.total += len(data)
        return data


class _Pieces:
    """Pieces of an answer as something to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self.total = 0

    def read(self, size: int, /) -> bytes:
        if not self._rest:
            self._rest = next(self._pieces, b"")
            self.total += len(self._rest)
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
