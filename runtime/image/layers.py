"""Unpacked layers: ``layers/<chain id>/diff``, each a lower layer of overlayfs, appearing whole by rename.

A chain id names a layer together with those below it, which matters where a tar has files without the
directories they are in: those take their owner, mode and time from the layers below.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from runtime.image.compression import Readable
from runtime.image.digest import Digest
from runtime.image.manifest import InvalidImage
from runtime.image.unpack import DEFAULT_LIMITS, Limits, Unpacked, unpack
from runtime.kernel.syscalls import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from runtime.storage.files import TEMPORARY_PREFIX, apparent_size, storage_error, sync_directory
from runtime.storage.removal import TRASH, discard, empty_trash

_EMPTY = "empty"
_UNSETTLED = "unsettled"
"""A file beside ``diff``: the boot in which the layer was unpacked, and may have been lost in part by its end."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PATH_FLAGS = os.O_PATH | os.O_CLOEXEC
_RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS


class LayerStore:
    """The unpacked layers of one engine."""

    def __init__(self, root: Path, boot_id: str = "") -> None:
        self.root = root
        self._boot_id = boot_id or _BOOT_ID.read_text(encoding="ascii").strip()

    def diff(self, chain_id: Digest) -> Path:
        """The directory that overlayfs gets."""
        return self.root / chain_id.hex / "diff"

    def lowers(self, chain: Sequence[Digest]) -> tuple[Path, ...]:
        """The directories of an image whose layers are ``chain``, topmost first; one empty one when it has
        none."""
        return tuple(self.diff(chain_id) for chain_id in reversed(chain)) or (self.root / _EMPTY,)

    def has(self, chain_id: Digest) -> bool:
        return self.diff(chain_id).is_dir()

    def size(self, chain_id: Digest) -> int:
        """Bytes of a layer's files, counted anew."""
        return apparent_size(self.diff(chain_id))

    def prepare(self) -> None:
        """Make the directory (which nobody else may enter: layers hold set-uid files) and the empty layer in
        it."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.root / _EMPTY).mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            raise storage_error(error, "create", self.root / _EMPTY) from error

    def begin(self) -> StagedLayer:
        """An empty one, to be filled by whoever asks."""
        directory = self.root / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        try:
            directory.mkdir(mode=0o700)
            (directory / "diff").mkdir()
            os.chmod(directory / "diff", 0o755)
        except OSError as error:
            raise storage_error(error, "create", directory) from error
        return StagedLayer(self, directory)

    def stage(
        self,
        source: Readable,
        diff_id: Digest | None,
        on_progress: Callable[[int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> StagedLayer:
        """Unpack into a place where nobody looks. Blocking. Raises as ``unpack``, and when it is another
        layer."""
        staged = self.begin()
        directory = staged.directory.parent
        try:
            staged.unpacked = unpack(
                source, directory / "diff", limits=limits, on_progress=on_progress, cancelled=cancelled
            )
            if diff_id is not None and staged.unpacked.diff_id != diff_id:
                raise InvalidImage(f"the layer unpacks to {staged.unpacked.diff_id} instead of {diff_id}")
        except BaseException:
            staged.discard()
            raise
        return staged

    def clone(self, source: Digest, target: Digest) -> None:
        """Let a layer that says all of its directories itself appear as another one: on top of other layers. Names
        are made, no data is copied. Blocking."""
        directory = self.root / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        try:
            directory.mkdir(mode=0o700)
            link_tree(self.diff(source), directory / "diff")
            self.mark(directory)
            os.rename(directory, self.root / target.hex)
            sync_directory(self.root)
        except OSError as error:
            discard(directory, self.root / TRASH)
            raise storage_error(error, "link a layer in", directory) from error

    def unsettled(self) -> list[Digest]:
        """The layers that were unpacked before the machine was last started and not looked at since: their names
        are durable, but a power cut may have taken the content of files (ext4(5), "delayed allocation")."""
        found = []
        for chain_id in self.all():
            with contextlib.suppress(OSError):
                boot_id = (self.root / chain_id.hex / _UNSETTLED).read_text(encoding="ascii")
                if boot_id != self._boot_id:
                    found.append(chain_id)
        return found

    def settle(self, chain_id: Digest) -> None:
        """It has been looked at, and is whole."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.root / chain_id.hex / _UNSETTLED)

    def mark(self, directory: Path) -> None:
        """Let a layer that is about to appear be looked at after the next start of the machine."""
        (directory / _UNSETTLED).write_text(self._boot_id, encoding="ascii")

    def remove(self, chain_id: Digest) -> None:
        """Make it disappear at once; :meth:`sweep` gives the space back."""
        discard(self.root / chain_id.hex, self.root / TRASH)

    def all(self) -> list[Digest]:
        found: list[Digest] = []
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.root):
                with contextlib.suppress(Exception):
                    found.append(Digest.parse(f"sha256:{name}"))
        return found

    def sweep(self) -> list[str]:
        """Delete what was removed. Blocking. Returns what failed."""
        return empty_trash(self.root / TRASH)

    def discard_interrupted(self) -> None:
        """Put aside what an earlier engine was unpacking when it ended. Only before any :meth:`stage`."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.root):
                if name.startswith(TEMPORARY_PREFIX):
                    discard(self.root / name, self.root / TRASH)


class StagedLayer:
    """A layer unpacked but not visible yet."""

    def __init__(self, store: LayerStore, directory: Path) -> None:
        self._store = store
        self._directory = directory
        self.unpacked: Unpacked | None = None

    @property
    def directory(self) -> Path:
        """What overlayfs will get."""
        return self._directory / "diff"

    @property
    def size(self) -> int:
        return self.unpacked.size if self.unpacked is not None else 0

    @property
    def diff_id(self) -> Digest:
        assert self.unpacked is not None
        return self.unpacked.diff_id

    def commit(self, chain_id: Digest, below: Sequence[Digest], *, is_durable: bool = True) -> None:
        """Make it visible as ``chain_id`` on top of the layers ``below`` (topmost first), which must be
        there. Without ``is_durable`` a power cut right afterwards may take it away again."""
        if self.unpacked is not None and self.unpacked.implied:
            _inherit(
                self._directory / "diff", self.unpacked.implied, [self._store.diff(item) for item in below]
            )
        target = self._store.root / chain_id.hex
        try:
            self._store.mark(self._directory)
            if target.exists():
                self._store.remove(chain_id)
            os.rename(self._directory, target)
            if is_durable:
                sync_directory(self._store.root)
        except OSError as error:
            raise storage_error(error, "unpack the image in", target) from error

    def discard(self) -> None:
        with contextlib.suppress(Exception):
            discard(self._directory, self._store.root / TRASH)


def link_tree(source: Path, target: Path) -> None:
    """A directory with the same files (hard links) in directories of the same owners, modes, times and
    attributes."""
    info = os.lstat(source)
    os.mkdir(target, 0o700)
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                link_tree(source / entry.name, target / entry.name)
            else:
                os.link(entry.path, target / entry.name, follow_symlinks=False)
    for name in os.listxattr(source):
        os.setxattr(target, name, os.getxattr(source, name))
    os.chown(target, info.st_uid, info.st_gid)
    os.chmod(target, stat.S_IMODE(info.st_mode))
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))


def _inherit(diff: Path, implied: Iterable[str], below: Sequence[Path]) -> None:
    """Give directories that were only implied the attributes that they have in the layers below."""
    roots = []
    try:
        for path in (diff, *below):
            roots.append(os.open(path, _PATH_FLAGS | os.O_DIRECTORY))
        for name in implied:
            found = _find_directory(roots[1:], os.fsencode(name))
            if found is None:
                continue
            moment = found.st_mtime_ns
            with contextlib.suppress(OSError):
                fd = openat2(
                    roots[0], os.fsencode(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, _RESOLVE
                )
                try:
                    if os.geteuid() == 0:
                        os.fchown(fd, found.st_uid, found.st_gid)
                    os.fchmod(fd, stat.S_IMODE(found.st_mode))
                    os.utime(fd, ns=(moment, moment))
                finally:
                    os.close(fd)
    finally:
        for fd in roots:
            os.close(fd)


def _find_directory(roots: Sequence[int], name: bytes) -> os.stat_result | None:
    for root in roots:
        try:
            fd = openat2(root, name, _PATH_FLAGS | os.O_NOFOLLOW, _RESOLVE)
        except OSError:
            continue
        try:
            info = os.fstat(fd)
        finally:
            os.close(fd)
        return info if stat.S_ISDIR(info.st_mode) else None
    return None
