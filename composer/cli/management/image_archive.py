"""``image load``, ``save`` and ``import``: images from and to archives and layouts."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress

from composer.api.client import API
from composer.cli.arguments import UsageError
from composer.cli.management.image_transfer import show_progress
from runtime.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_load(session: Session, arguments: Arguments) -> int:
    source = arguments.text("input")
    if not source and sys.stdin.isatty():
        raise UsageError("requested load from stdin, but stdin is empty", hint="composer image load -i FILE")
    with open_archive(source) as archive:
        query = {"quiet": arguments.is_on("quiet"), "platform": arguments.text("platform") or None}
        messages = session.client.stream("POST", f"{API}/images/load", query, archive)
        show_progress(session, messages, quiet=arguments.is_on("quiet"), title="Loading")
    return 0


@contextmanager
def open_archive(source: str) -> Iterator[BinaryIO]:
    """An archive in a file, in the standard input ("" or ``-``), or made of a directory with an OCI layout. Raises
    OSError, InvalidArgument."""
    if source in ("", "-"):
        yield sys.stdin.buffer
    elif os.path.isdir(source):
        if not any(os.path.exists(os.path.join(source, name)) for name in ("index.json", "manifest.json")):
            raise InvalidArgument(
                f"{source}: neither an OCI layout nor an unpacked docker-archive",
                hint="there is no index.json in this directory, and no manifest.json",
            )
        with _packed(source) as archive:
            yield archive
    else:
        with open(source, "rb") as archive:
            yield archive


@contextmanager
def _packed(directory: str) -> Iterator[BinaryIO]:
    """The tar of a directory, as it is read."""
    import tarfile
    import threading

    reading, writing = os.pipe()

    def pack() -> None:
        # Who reads no further has ended already, and says why.
        with suppress(OSError), open(writing, "wb") as sink, tarfile.open(fileobj=sink, mode="w|") as tar:
            for name in sorted(os.listdir(directory)):
                tar.add(os.path.join(directory, name), name)

    packer = threading.Thread(target=pack, daemon=True)
    with open(reading, "rb") as archive:
        packer.start()
        yield archive
    packer.join()


def run_import(session: Session, arguments: Arguments) -> int:
    source, *names = arguments.words
    is_url = source.startswith(("http://", "https://"))
    query = {
        "fromSrc": source if is_url else "-",
        "repo": names[0] if names else "",
        "changes": arguments.list("change"),
        "message": arguments.text("message") or None,
        "platform": arguments.text("platform") or None,
    }
    if is_url:
        _show_import(session, session.client.stream("POST", f"{API}/images/create", query), source)
        return 0
    with sys.stdin.buffer if source == "-" else open(source, "rb") as archive:
        _show_import(session, session.client.stream("POST", f"{API}/images/create", query, archive), source)
    return 0


def _show_import(session: Session, messages: Iterable[dict[str, Any]], source: str) -> None:
    """Progress to stderr, the new image's id to stdout. Raises ComposerError."""

    def steps() -> Iterator[dict[str, Any]]:
        is_download = False
        for message in messages:
            status = message.get("status", "")
            is_download = is_download or "progressDetail" in message
            if status.startswith("sha256:"):
                if is_download:
                    yield {"id": source, "status": "Imported"}
                yield {"stream": f"{status}\n"}
            else:
                yield message if "progressDetail" not in message else message | {"id": source}

    show_progress(session, steps(), quiet=False, title="Importing", to_stdout=True)


def run_save(session: Session, arguments: Arguments) -> int:
    target = arguments.text("output")
    refuse_terminal(target)
    is_layout = os.path.isdir(target)
    if is_layout and not os.path.exists(f"{target}/oci-layout") and os.listdir(target):
        raise UsageError(f"{target}: neither an empty directory nor an OCI layout")
    query = {"names": arguments.words, "platform": arguments.text("platform") or None}
    pieces = session.client.chunks("GET", f"{API}/images/get", query)
    if is_layout:
        write_layout(pieces, target)
        return 0
    return write_archive(pieces, target)


class _Pieces:
    """A file of pieces, to be read from the first to the last."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = b""

    def read(self, size: int) -> bytes:
        while len(self._left) < size and (piece := next(self._pieces, b"")):
            self._left += piece
        data, self._left = self._left[:size], self._left[size:]
        return data


def write_layout(pieces: Iterable[bytes], directory: str) -> None:
    """An archive as a directory: an OCI layout. What names the images is written last. Raises ComposerError."""
    import re
    import tarfile

    from runtime.errors import ComposerError
    from runtime.storage.files import storage_error, write_atomically

    documents: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=_Pieces(pieces), mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                content = archive.extractfile(member)
                if content is None or not re.fullmatch(
                    r"blobs/sha(256|512)/[0-9a-f]+|[a-z-]+(\.json)?", member.name
                ):
                    raise ComposerError(f"the engine has sent an archive with {member.name!r}")
                if "/" not in member.name:
                    documents[member.name] = content.read()
                    continue
                path = f"{directory}/{member.name}"
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(f"{path}.partial", "wb") as file:
                    while piece := content.read(1 << 20):
                        file.write(piece)
                os.replace(f"{path}.partial", path)
        for name in ("oci-layout", "index.json"):
            write_atomically(f"{directory}/{name}", documents[name])
    except OSError as error:
        raise storage_error(error, "write", directory) from error


def refuse_terminal(target: str) -> None:
    """Raises UsageError when an archive without a file to go to would go to a terminal."""
    if not target and sys.stdout.isatty():
        raise UsageError("cowardly refusing to save to a terminal", hint="-o FILE writes to a file")


def write_archive(pieces: Iterable[bytes], target: str) -> int:
    """To stdout, or to the file ``target``, which is there when all of it is."""
    if not target:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return 0
    import os

    directory = os.path.dirname(target) or "."
    if not os.path.isdir(directory):
        raise UsageError(f'invalid output path: directory "{directory}" does not exist')
    partial = f"{target}.partial-{os.getpid()}"
    try:
        with open(partial, "xb") as file:
            for piece in pieces:
                file.write(piece)
        os.replace(partial, target)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)
    return 0
