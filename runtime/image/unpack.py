"""A layer's tar to a directory that overlayfs can use as a lower layer.

The tar is a stranger's: nothing outside of the target can be touched, whatever it says. Every name is
resolved by the kernel below the target's descriptor (openat2 RESOLVE_IN_ROOT: links lead where they would
inside the container), and the last component is never followed. Whiteouts become overlayfs's own (OCI
layer.md, "Whiteouts"; kernel Documentation/filesystems/overlayfs.rst); what would steer overlayfs from inside
the tar is dropped.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.errors import ComposerError
from runtime.image import tar
from runtime.image.compression import HashingStream, Readable
from runtime.image.digest import Digest
from runtime.image.manifest import InvalidImage, OverLimit
from runtime.kernel.syscalls import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV, openat2
from runtime.storage.files import exclusive_size, storage_error
from runtime.storage.removal import remove_at

_SMALL = 64 << 20
_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."
_NAME_LIMIT = 4096
_UNUSUAL = re.compile(rb"^[./]|//|/\.|/$")
"""What may be in a path that is not in its simplest form."""
_OPEN_DIRECTORIES = 128
_RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TIME_LIMIT = (1 << 34) * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a stranger's layer may become."""

    size: int = 256 << 30
    """Bytes when it is uncompressed."""
    entries: int = 5_000_000
    ratio: int = 2000
    """Times its compressed size (gzip cannot go beyond 1032); at least ``_SMALL`` bytes are always allowed."""

    def of_blob(self, compressed: int) -> Limits:
        """Those for a layer that has ``compressed`` bytes."""
        return replace(self, size=min(self.size, max(_SMALL, compressed * self.ratio)))


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came of a layer."""

    diff_id: Digest
    size: int
    """Bytes of the files and links in it, as Docker counts them."""
    implied: tuple[str, ...]
    """Directories that the tar has only as parents of others: their attributes are those of lower layers."""


def unpack(
    source: Readable,
    target: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    is_layer: bool = True,
    on_progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Unpacked:
    """Unpack a (compressed) layer into the existing, empty directory ``target``. Blocking: for a thread.

    Nothing but this call may write below ``target`` meanwhile. ``on_progress`` gets the uncompressed bytes so
    far, from another thread. What is no layer has no whiteouts: ``.wh.`` begins a name as anything else does. Raises
    InvalidImage for a bad archive, ComposerError when the disk is full, InterruptedError when ``cancelled`` says so;
    what was written by then is the caller's to remove.
    """
    root = os.open(target, _DIRECTORY_FLAGS)
    try:
        with HashingStream(source, limits.size, on_progress) as stream:
            unpacker = _Unpacker(root, is_layer=is_layer)
            try:
                for number, entry in enumerate(reader := tar.TarReader(_Stoppable(stream, cancelled))):
                    if number >= limits.entries:
                        told = f"the layer has more than the limit of {limits.entries} entries"
                        raise OverLimit(told)
                    try:
                        unpacker.add(entry, reader)
                    except InterruptedError:
                        raise
                    except OSError as error:
                        raise _explain(error, entry, target) from error
                stream.drain()
                unpacker.finish()
            finally:
                unpacker.close()
            return Unpacked(
                Digest.parse(stream.digest), unpacker.size, tuple(os.fsdecode(p) for p in unpacker.implied)
            )
    finally:
        os.close(root)


class _Stoppable:
    """Ends in the middle of a large file, too, when nobody waits for the layer any more."""

    def __init__(self, source: Readable, cancelled: Callable[[], bool] | None) -> None:
        self._source = source
        self._cancelled = cancelled

    def read(self, size: int, /) -> bytes:
        if self._cancelled is not None and self._cancelled():
            raise InterruptedError
        return self._source.read(size)


def _explain(error: OSError, entry: tar.Entry, target: Path) -> ComposerError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE):
        return storage_error(error, "unpack the image in", target)
    name = os.fsdecode(entry.name)
    return InvalidImage(f"the layer cannot be unpacked: {name[:200]!r}: {os.strerror(error.errno or 0)}")


def normalise(name: bytes) -> bytes:
    """The path below the root that a name in a tar stands for ("" is the root itself). Raises
    InvalidImage."""
    if b"\0" in name or len(name) > _NAME_LIMIT:
        raise InvalidImage(f"the layer has an invalid name: {os.fsdecode(name[:200])!r}")
    if not _UNUSUAL.search(plain := name.removeprefix(b"./")):
        return plain
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not parts:
                raise InvalidImage(f"the layer reaches outside of its root: {os.fsdecode(name[:200])!r}")
            parts.pop()
        else:
            parts.append(part)
    return b"/".join(parts)


def _is_whiteout(info: os.stat_result) -> bool:
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def keeps_xattr(name: bytes) -> bool:
    """Whether an extended attribute of a tar is set: none that overlayfs or a security module would act
    upon."""
    if name.startswith(b"user."):
        return not name.startswith(b"user.overlay.")
    return name in (b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default")


class _Unpacker:
    def __init__(self, root: int, *, is_layer: bool) -> None:
        self._is_layer = is_layer
        self.root = root
        self.size = 0
        self.implied: dict[bytes, None] = {}
        self._privileged = os.geteuid() == 0
        self._opaque = "trusted.overlay.opaque" if self._privileged else "user.overlay.opaque"
        self._directories: OrderedDict[bytes, int] = OrderedDict()
        self._times: dict[bytes, int] = {}

    def close(self) -> None:
        while self._directories:
            os.close(self._directories.popitem()[1])

    # Names

    def _directory(self, path: bytes) -> int:
        """A descriptor of the directory ``path``, made if it is not there. Kept open by this object."""
        missing: list[bytes] = []
        while (fd := self._opened(path)) < 0:
            missing.append(path)
            path = path.rpartition(b"/")[0]
        for path in reversed(missing):
            fd = self._make_directory(path, fd)
        return fd

    def _opened(self, path: bytes) -> int:
        """A descriptor of the directory ``path``, -1 if it is not there."""
        if not path:
            return self.root
        if path in self._directories:
            self._directories.move_to_end(path)
            return self._directories[path]
        try:
            return self._keep(path, openat2(self.root, path, _DIRECTORY_FLAGS, _RESOLVE))
        except FileNotFoundError:
            return -1

    def _make_directory(self, path: bytes, above: int) -> int:
        """The directory ``path``, which no entry has told of yet, in the one behind ``above``."""
        name = path.rpartition(b"/")[2]
        try:
            os.mkdir(name, 0o755, dir_fd=above)
        except FileExistsError:
            if not _is_whiteout(_lstat(name, above)):
                raise InvalidImage(f"the layer has {os.fsdecode(path)!r} as a directory and a link") from None
            self._replace_whiteout(name, above)
        fd = os.open(name, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=above)
        os.fchmod(fd, 0o755)
        self.implied[path] = None
        return self._keep(path, fd)

    def _keep(self, path: bytes, fd: int) -> int:
        self._directories[path] = fd
        if len(self._directories) > _OPEN_DIRECTORIES:
            os.close(self._directories.popitem(last=False)[1])
        return fd

    def _remove(self, name: bytes, parent: int) -> None:
        """Make way for an entry of another kind. Paths through what is removed may mean something else
        now."""
        info = _lstat(name, parent)
        mode = info.st_mode
        if stat.S_ISDIR(mode):
            self.size -= exclusive_size(f"/proc/self/fd/{parent}/{os.fsdecode(name)}")
        elif info.st_nlink == 1 and (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            self.size -= info.st_size
        if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
            pinned = os.dup(parent)
            try:
                self.close()
                remove_at(pinned, os.fsdecode(name))
            finally:
                os.close(pinned)
        else:
            os.unlink(name, dir_fd=parent)

    def _replace_whiteout(self, name: bytes, parent: int) -> None:
        """A directory where the same layer hides one: what is below must stay hidden."""
        os.unlink(name, dir_fd=parent)
        os.mkdir(name, 0o755, dir_fd=parent)
        fd = os.open(name, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
        try:
            os.setxattr(fd, self._opaque, b"y")
        finally:
            os.close(fd)

    # Entries

    def add(self, entry: tar.Entry, reader: tar.TarReader) -> None:
        path = normalise(entry.name)
        if entry.uid > 0xFFFFFFFE or entry.gid > 0xFFFFFFFE:
            raise InvalidImage(f"the layer has an invalid owner: {entry.uid}:{entry.gid}")
        if not path:
            if entry.type == tar.DIRECTORY:
                self._set_directory(self.root, path, entry)
            return
        parent_path, _, name = path.rpartition(b"/")
        if self._is_layer and name.startswith(_WHITEOUT):
            self._whiteout(parent_path, name)
            return
        if entry.type == tar.DIRECTORY:
            self._add_directory(path, parent_path, name, entry)
            return
        if entry.type == tar.CHARACTER_DEVICE and entry.major == 0 and entry.minor == 0:
            return  # overlayfs would take it for a whiteout
        create = self._creator(entry, reader)
        if create is None:
            return
        parent = self._directory(parent_path)
        try:
            create(name, parent)
        except FileExistsError:
            self._remove(name, parent)
            create(name, self._directory(parent_path))

    def _creator(self, entry: tar.Entry, reader: tar.TarReader) -> Callable[[bytes, int], None] | None:
        match entry.type:
            case tar.REGULAR:
                return lambda name, parent: self._add_file(name, parent, entry, reader)
            case tar.SYMBOLIC_LINK:
                return lambda name, parent: self._add_link(name, parent, entry)
            case tar.HARD_LINK:
                return self._hard_link(entry)
            case tar.CHARACTER_DEVICE | tar.BLOCK_DEVICE | tar.FIFO:
                return lambda name, parent: self._add_node(name, parent, entry)
            case kind:
                raise InvalidImage(
                    f"the layer has {os.fsdecode(entry.name[:200])!r} of the unknown type {kind!r}"
                )

    def _add_directory(self, path: bytes, parent_path: bytes, name: bytes, entry: tar.Entry) -> None:
        parent = self._directory(parent_path)
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            info = _lstat(name, parent)
            if _is_whiteout(info):
                self._replace_whiteout(name, parent)
            elif not stat.S_ISDIR(info.st_mode):
                self._remove(name, parent)
                parent = self._directory(parent_path)
                os.mkdir(name, 0o755, dir_fd=parent)
        fd = self._directories.get(path)
        if fd is None:
            fd = self._keep(path, os.open(name, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=parent))
        self._set_directory(fd, path, entry)
        self.implied.pop(path, None)

    def _set_directory(self, fd: int, path: bytes, entry: tar.Entry) -> None:
        if self._privileged:
            os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        self._set_xattrs(fd, entry)
        self._times[path] = _time(entry)

    def _add_file(self, name: bytes, parent: int, entry: tar.Entry, reader: tar.TarReader) -> None:
        fd = os.open(name, _CREATE_FLAGS, 0o600, dir_fd=parent)
        try:
            if entry.sparse is not None:
                _write_sparse(fd, entry, reader)
            elif entry.size:
                for piece in reader.data():
                    written = os.write(fd, piece)
                    while written < len(piece):
                        written += os.write(fd, memoryview(piece)[written:])
            self.size += entry.real_size
            if self._privileged and (entry.uid or entry.gid):
                os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            if entry.xattrs:
                self._set_xattrs(fd, entry)
            moment = _time(entry)
            os.utime(fd, ns=(moment, moment))
        finally:
            os.close(fd)

    def _add_link(self, name: bytes, parent: int, entry: tar.Entry) -> None:
        os.symlink(entry.link, name, dir_fd=parent)
        self.size += len(entry.link)
        if self._privileged and (entry.uid or entry.gid):
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        moment = _time(entry)
        os.utime(name, ns=(moment, moment), dir_fd=parent, follow_symlinks=False)

    def _hard_link(self, entry: tar.Entry) -> Callable[[bytes, int], None] | None:
        target = normalise(entry.link)
        if not target or target == normalise(entry.name):
            return None
        target_parent, _, target_name = target.rpartition(b"/")

        def create(name: bytes, parent: int) -> None:
            pinned = os.dup(parent)
            try:
                source = self._existing_directory(target_parent, entry)
                os.link(target_name, name, src_dir_fd=source, dst_dir_fd=pinned, follow_symlinks=False)
            except FileNotFoundError:
                raise InvalidImage(
                    f"the layer links {os.fsdecode(entry.name[:200])!r} to {os.fsdecode(entry.link[:200])!r},"
                    " which is not in it"
                ) from None
            finally:
                os.close(pinned)

        return create

    def _existing_directory(self, path: bytes, entry: tar.Entry) -> int:
        if not path or path in self._directories:
            return self._directory(path)
        return self._keep(path, openat2(self.root, path, _DIRECTORY_FLAGS, _RESOLVE))

    def _add_node(self, name: bytes, parent: int, entry: tar.Entry) -> None:
        kind = {tar.CHARACTER_DEVICE: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}
        try:
            device = 0 if entry.type == tar.FIFO else os.makedev(entry.major, entry.minor)
            os.mknod(name, kind[entry.type] | 0o600, device, dir_fd=parent)
        except OverflowError:
            raise InvalidImage(
                f"the layer has an invalid device: {os.fsdecode(entry.name[:200])!r}"
            ) from None
        except PermissionError:
            return  # devices cannot be made here (a user namespace); a container's /dev is made by the engine
        if self._privileged:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, entry.mode, dir_fd=parent)
        moment = _time(entry)
        os.utime(name, ns=(moment, moment), dir_fd=parent, follow_symlinks=False)

    def _set_xattrs(self, fd: int, entry: tar.Entry) -> None:
        for name, value in entry.xattrs.items():
            if not keeps_xattr(name):
                continue
            try:
                os.setxattr(fd, name, value)
            except OSError as error:
                if error.errno not in (
                    errno.EOPNOTSUPP,
                    errno.EPERM,
                    errno.EINVAL,
                    errno.ERANGE,
                    errno.E2BIG,
                ):
                    raise

    def _whiteout(self, parent_path: bytes, name: bytes) -> None:
        parent = self._directory(parent_path)
        if name == _OPAQUE:
            os.setxattr(parent, self._opaque, b"y")
            return
        if name.startswith(_AUFS):
            return
        hidden = name[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise InvalidImage(f"the layer has an invalid whiteout: {os.fsdecode(name)!r}")
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            # It hides what lower layers have there; what this layer has itself stays.
            if stat.S_ISDIR(_lstat(hidden, parent).st_mode):
                fd = os.open(hidden, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
                try:
                    os.setxattr(fd, self._opaque, b"y")
                finally:
                    os.close(fd)

    def finish(self) -> None:
        """Directories get their times last, for each entry in them has changed them."""
        self.close()
        for path, moment in self._times.items():
            if not path:
                os.utime(self.root, ns=(moment, moment))
                continue
            with contextlib.suppress(OSError):
                fd = openat2(self.root, path, _DIRECTORY_FLAGS, _RESOLVE)
                try:
                    os.utime(fd, ns=(moment, moment))
                finally:
                    os.close(fd)


def _lstat(name: bytes, parent: int) -> os.stat_result:
    return os.stat(name, dir_fd=parent, follow_symlinks=False)


def _time(entry: tar.Entry) -> int:
    return max(-_TIME_LIMIT, min(entry.mtime, _TIME_LIMIT))


def _write_sparse(fd: int, entry: tar.Entry, reader: tar.TarReader) -> None:
    os.ftruncate(fd, entry.real_size)
    pieces = iter(entry.sparse or ())
    offset, room = next(pieces, (0, 0))
    for data in reader.data():
        view = memoryview(data)
        while view:
            if not room:
                offset, room = next(pieces)
            written = os.pwrite(fd, view[:room], offset)
            offset, room, view = offset + written, room - written, view[written:]
