"""Content by digest: ``blobs/sha256/<hex>``, there whole and verified or not at all; durable before an image names it.

What is on its way is ``ingest/sha256-<hex>``: it keeps its beginning over failures, so that it can be
resumed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from runtime.image.compression import Readable
from runtime.image.digest import Digest
from runtime.image.manifest import Descriptor, InvalidImage
from runtime.storage.files import storage_error, sync_directory, write_atomically
from runtime.storage.removal import TRASH, discard, empty_trash

_CHUNK = 1 << 20


class BlobStore:
    """The blobs of one engine. Methods block, mostly for less than a millisecond (reading and hashing
    excepted)."""

    def __init__(self, root: Path) -> None:
        self.blobs = root / "blobs"
        self.ingest = root / "ingest"
        self._trash = self.blobs / TRASH
        self._writing: set[str] = set()
        self._unsynced: set[Digest] = set()
        self._distrusted: set[Digest] = set()

    def path(self, digest: Digest) -> Path:
        return self.blobs / digest.algorithm / digest.hex

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether it is there (with the right size, when that is known), and nobody has found it damaged."""
        if digest in self._distrusted:
            return False
        try:
            found = os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            return False
        return size is None or found == size

    def read(self, digest: Digest, limit: int) -> bytes:
        """A small blob, verified again. Raises InvalidImage when it is missing, damaged or too large."""
        try:
            with open(self.path(digest), "rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            raise InvalidImage(
                f"the content {digest} is missing", hint="Pull or load the image again."
            ) from None
        except OSError as error:
            raise storage_error(error, "read", self.path(digest)) from error
        hasher = digest.hasher()
        hasher.update(data)
        if not digest.matches(hasher):
            raise InvalidImage(f"the content {digest} is damaged", hint="Pull or load the image again.")
        return data

    def put(self, data: bytes, digest: Digest | None = None) -> Digest:
        """Keep a small blob. Raises InvalidImage when it is not what ``digest`` promises."""
        if digest is None:
            digest = Digest.of(data)
        else:
            hasher = digest.hasher()
            hasher.update(data)
            if not digest.matches(hasher):
                raise InvalidImage(f"content does not match its digest {digest}")
        if not self.has(digest, len(data)):
            self._make(self.path(digest).parent)
            write_atomically(self.path(digest), data)
            self._distrusted.discard(digest)
        return digest

    def begin(self, descriptor: Descriptor) -> Ingest:
        """Go on with, or begin, the writing of a blob. One writer a digest: the caller's to ensure."""
        self._make(self.ingest)
        return Ingest(self, descriptor)

    def open(self, digest: Digest) -> BinaryIO:
        """Raises InvalidImage when it is missing."""
        try:
            return open(self.path(digest), "rb")
        except FileNotFoundError:
            raise InvalidImage(
                f"the content {digest} is missing", hint="Pull or load the image again."
            ) from None

    def verify(self, digest: Digest) -> bool:
        """Whether what is on the disk is what the digest says."""
        hasher = digest.hasher()
        try:
            with open(self.path(digest), "rb") as file:
                while chunk := file.read(_CHUNK):
                    hasher.update(chunk)
        except FileNotFoundError:
            return False
        return digest.matches(hasher)

    def distrust(self, digest: Digest) -> None:
        """Take a damaged one for missing, so that whoever needs it brings it again."""
        self._distrusted.add(digest)

    def trust(self, digest: Digest) -> None:
        """It is as it should be after all."""
        self._distrusted.discard(digest)

    def sync(self, digest: Digest) -> None:
        """Make a blob durable that has just been written. Blocking. To be called before an image names it."""
        if digest not in self._unsynced:
            return
        path = self.path(digest)
        try:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            sync_directory(path.parent)
        except FileNotFoundError:
            pass  # it was damaged, and is fetched again
        except OSError as error:
            raise storage_error(error, "write", path) from error
        self._unsynced.discard(digest)

    def remove(self, digest: Digest) -> int:
        """Make it disappear at once (unlinking a large file takes a file system long); :meth:`sweep` gives the space
        back. Returns its bytes, 0 when it was not there."""
        path = self.path(digest)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise storage_error(error, "remove", path) from error
        discard(path, self._trash)
        return size

    def sweep(self) -> list[str]:
        """Delete what was removed. Blocking. Returns what failed."""
        return empty_trash(self._trash)

    def all(self) -> list[Digest]:
        """The digests of everything that is there; files of other names are passed over."""
        found: list[Digest] = []
        for algorithm in ("sha256", "sha512"):
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(self.blobs / algorithm):
                    with contextlib.suppress(Exception):
                        found.append(Digest.parse(f"{algorithm}:{name}"))
        return found

    def discard_partial(self) -> None:
        """Forget what interrupted downloads left; those that are going on are not touched."""
        with contextlib.suppress(FileNotFoundError):
            for name in set(os.listdir(self.ingest)) - self._writing:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.ingest / name)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[BinaryIO]:
        """A file for a blob that somebody writes himself; it goes, unless :meth:`adopt` was called."""
        self._make(self.ingest)
        path = self.ingest / f"spool-{secrets.token_hex(8)}"
        self._writing.add(path.name)
        try:
            with open(path, "xb") as file:
                yield file
        except OSError as error:
            raise storage_error(error, "write", path) from error
        finally:
            self._writing.discard(path.name)
            with contextlib.suppress(OSError):
                os.unlink(path)

    def adopt(self, file: BinaryIO, digest: Digest) -> Descriptor:
        """Keep what was written to a scratch file, whose digest the writer knows. It is durable after :meth:`sync`
        only."""
        file.flush()
        target = self.path(digest)
        self._make(target.parent)
        self._unsynced.add(digest)
        os.rename(file.name, target)
        self._distrusted.discard(digest)
        return Descriptor("", digest, os.fstat(file.fileno()).st_size)

    def spool(self, source: Readable) -> Descriptor:
        """Keep a stream of unknown length and digest, as it is. Blocking."""
        self._make(self.ingest)
        path = self.ingest / f"spool-{secrets.token_hex(8)}"
        self._writing.add(path.name)
        hasher = hashlib.sha256(usedforsecurity=False)
        size = 0
        try:
            with open(path, "xb") as file:
                while chunk := source.read(_CHUNK):
                    file.write(chunk)
                    hasher.update(chunk)
                    size += len(chunk)
                file.flush()
                os.fsync(file.fileno())
            digest = Digest.parse("sha256:" + hasher.hexdigest())
            target = self.path(digest)
            self._make(target.parent)
            os.rename(path, target)
            self._distrusted.discard(digest)
            sync_directory(target.parent)
        except OSError as error:
            raise storage_error(error, "write", path) from error
        finally:
            self._writing.discard(path.name)
            with contextlib.suppress(OSError):
                os.unlink(path)
        return Descriptor("", digest, size)

    def _make(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, "create", directory) from error


class Ingest:
    """A blob being written. What was there before is hashed first; ``offset`` is where to go on."""

    def __init__(self, store: BlobStore, descriptor: Descriptor) -> None:
        self._store = store
        self.descriptor = descriptor
        self.path = store.ingest / f"{descriptor.digest.algorithm}-{descriptor.digest.hex}"
        self._hasher = descriptor.digest.hasher()
        self.offset = 0
        store._writing.add(self.path.name)
        try:
            self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise storage_error(error, "write", self.path) from error
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            self._hasher.update(chunk)
            self.offset += len(chunk)
        if self.offset > descriptor.size:
            self.restart()

    def write(self, data: bytes) -> None:
        """Raises InvalidImage as soon as there is more than there may be."""
        if self.offset + len(data) > self.descriptor.size:
            self.restart()
            raise InvalidImage(
                f"{self.descriptor.digest} is longer than the {self.descriptor.size} bytes announced"
            )
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise storage_error(error, "write", self.path) from error
        self._hasher.update(data)
        self.offset += len(data)

    def restart(self) -> None:
        """Forget what was written."""
        self._file.truncate(0)
        self._hasher = self.descriptor.digest.hasher()
        self.offset = 0

    @property
    def is_complete(self) -> bool:
        return self.offset == self.descriptor.size

    def commit(self) -> None:
        """Make it visible. Raises InvalidImage, and forgets it, when it is not what its digest says.

        It is durable after :meth:`BlobStore.sync` only: that can go on while the blob is unpacked.
        """
        if not self.is_complete:
            raise InvalidImage(
                f"{self.descriptor.digest} has {self.offset} bytes instead of {self.descriptor.size}"
            )
        if not self.descriptor.digest.matches(self._hasher):
            self.restart()
            raise InvalidImage(f"content does not match its digest {self.descriptor.digest}")
        target = self._store.path(self.descriptor.digest)
        self._store._make(target.parent)
        try:
            self._store._unsynced.add(self.descriptor.digest)
            self._file.close()
            os.rename(self.path, target)
            self._store._distrusted.discard(self.descriptor.digest)
        except OSError as error:
            raise storage_error(error, "write", target) from error

    def close(self) -> None:
        """Keep what there is for the next time."""
        self._store._writing.discard(self.path.name)
        self._file.close()


def copy(source: Readable, ingest: Ingest, on_progress: Callable[[int], None] | None = None) -> None:
    """Write all of ``source`` and commit. Blocking."""
    ingest.restart()
    while chunk := source.read(_CHUNK):
        ingest.write(chunk)
        if on_progress is not None:
            on_progress(ingest.offset)
    ingest.commit()
