"""Named volumes of the ``local`` driver: directories, and what their driver options mean.

What a volume is called and labelled is the engine's record; this module decides whether a name and options
are valid (pure) and makes and removes the directories.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ComposerError, InvalidArgument
from runtime.storage.files import TEMPORARY_PREFIX, directory_size, storage_error, sync_directory
from runtime.storage.removal import TRASH, discard, empty_trash

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Directory:
    """An ordinary volume: the directory of its own."""


@dataclass(frozen=True, slots=True)
class Bind:
    """``type: none, o: bind``: a directory of the host."""

    source: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """``type: tmpfs``: memory, emptied whenever the last container using it ends."""

    options: tuple[str, ...] = ()


VolumeSource = Directory | Bind | Tmpfs


def validate_name(name: str) -> str:
    """The name itself when Docker would accept it; raises InvalidArgument (with Docker's sentence)."""
    if not _NAME.fullmatch(name) or len(name) > 200:
        raise InvalidArgument(
            f'"{name}" includes invalid characters for a local volume name, only'
            ' "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed',
            hint="If you intended to pass a host directory, use an absolute path.",
        )
    return name


def parse_options(driver: str, options: Mapping[str, str]) -> VolumeSource:
    """What driver and driver options ask for. Pure. Raises InvalidArgument for what cannot be done.

    ``type``, ``o`` and ``device`` are those of mount(8), as for Docker's local driver.
    """
    if driver not in ("", "local"):
        raise InvalidArgument(
            f'volume driver "{driver}" is not available', hint="Only the local driver is built in."
        )
    unknown = sorted(set(options) - {"type", "o", "device"})
    if unknown:
        raise InvalidArgument(
            f'invalid option for the local volume driver: "{unknown[0]}"', hint="Valid: type, o, device."
        )
    if not options:
        return Directory()
    kind = options.get("type", "")
    device = options.get("device", "")
    flags = tuple(flag for flag in options.get("o", "").split(",") if flag)
    if kind == "tmpfs":
        return Tmpfs(flags)
    if "bind" in flags or "rbind" in flags:
        if not os.path.isabs(device):
            raise InvalidArgument(
                f'bind volume: device must be an absolute path, not "{device}"'
                if device
                else "missing device"
            )
        others = [flag for flag in flags if flag not in ("bind", "rbind", "rw", "ro")]
        if others:
            raise InvalidArgument(f'bind volume: mount option "{others[0]}" is not supported')
        return Bind(os.path.normpath(device), "ro" in flags)
    if not kind:
        raise InvalidArgument("missing required option: type", hint="Give type, device and o together.")
    raise InvalidArgument(
        f'volumes of type "{kind}" are not supported',
        hint="Mount it on the host and use driver_opts: {type: none, o: bind, device: /path}.",
    )


class VolumeDirectories:
    """The directories ``<root>/<name>/_data`` of one engine. Methods block; removal of large trees is
    two-step."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        return self.root / validate_name(name) / "_data"

    def create(self, name: str) -> bool:
        """Make the volume's directory (root, 0755); False if it was there. Appears whole, by rename."""
        validate_name(name)
        temporary = self.root / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (self.root / name / "_data").is_dir():
                return False
            temporary.mkdir(mode=0o711)
            os.chmod(temporary, 0o711)
            (temporary / "_data").mkdir()
            os.chmod(temporary / "_data", 0o755)
            os.rename(temporary, self.root / name)
            sync_directory(self.root)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.rmdir(temporary / "_data")
            with contextlib.suppress(OSError):
                os.rmdir(temporary)
            raise storage_error(error, "create volume", self.root / name) from error
        return True

    def remove(self, name: str) -> bool:
        """Make the volume disappear at once (renamed into the trash); False if there was none.

        Call :meth:`sweep` in a thread afterwards to give the space back.
        """
        path = self.root / validate_name(name)
        if not os.path.lexists(path):
            return False
        if os.path.ismount(path / "_data"):
            raise ComposerError(f"remove volume {name}: {path / '_data'} is a mount point")
        discard(path, self.root / TRASH)
        return True

    def remove_empty(self, name: str) -> bool:
        """Remove the directory of a volume if there is nothing in it; what anybody has written stays. Whether it is
        gone."""
        path = self.root / validate_name(name)
        with contextlib.suppress(OSError):
            os.rmdir(path / "_data")
        with contextlib.suppress(OSError):
            os.rmdir(path)
        return not path.exists()

    def sweep(self) -> list[str]:
        """Delete what was removed, and what an interrupted creation left. Blocking. Returns what failed."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.root):
                if entry.name.startswith(TEMPORARY_PREFIX):
                    discard(Path(entry.path), self.root / TRASH)
        return empty_trash(self.root / TRASH)

    def names(self) -> list[str]:
        """The volumes that have a directory, sorted."""
        try:
            entries = os.listdir(self.root)
        except FileNotFoundError:
            return []
        return sorted(
            name for name in entries if _NAME.fullmatch(name) and (self.root / name / "_data").is_dir()
        )

    def size(self, name: str) -> int:
        """Bytes on disk. Blocking: walks the tree."""
        return directory_size(self.path(name))
