"""How a container ended: ``status.json``, written once by its shim before it ends; in the directory that lasts, or,
when that cannot be written any more, in the one that lasts until reboot. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class ExitStatus(NamedTuple):
    """``exit_code`` is 128 + n after signal n. Times are nanoseconds since the epoch."""

    exit_code: int
    signal: int = 0
    oom_killed: bool = False
    started_at: int = 0
    finished_at: int = 0
    error: str = ""
    ran_for: float | None = None
    """Seconds, by a clock that nobody sets; None when who could have measured it was killed."""


_RESERVED = 4096
"""Bytes that are set aside for a status at the start of a container, so that a full disk does not lose it."""


def reserve(state_dir: str | Path) -> None:
    """Set aside the space that :func:`write` will need. Raises OSError (ENOSPC)."""
    path = _unfinished(state_dir)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, _RESERVED)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None  # it does not say what was too long
    finally:
        os.close(fd)


def write(state_dir: str | Path, status: ExitStatus, *, is_settled: bool = True) -> None:
    """Whole or not at all: temporary file, fsync, rename. Unless ``is_settled`` a power cut may take it away, until
    :func:`settle` has returned."""
    content = json.dumps(status._asdict()).encode()
    fd = os.open(_unfinished(state_dir), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(fd, content, 0)
        os.ftruncate(fd, len(content))
        if is_settled:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(_unfinished(state_dir), os.path.join(state_dir, "status.json"))


def settle(*directories: str | Path) -> None:
    """Have what was written reach the disk, if it is still there: whoever was told may have removed it meanwhile."""
    for directory in directories:
        with contextlib.suppress(OSError):
            fd = os.open(os.path.join(directory, "status.json"), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            return


def write_any(status: ExitStatus, *directories: str | Path, is_settled: bool = True) -> None:
    """To the first that can be written; where none can, it is only told."""
    for directory in directories:
        try:
            write(directory, status, is_settled=is_settled)
            return
        except OSError:
            continue


def _unfinished(state_dir: str | Path) -> str:
    return os.path.join(state_dir, "status.json.new")


def read_any(*directories: str | Path) -> ExitStatus | None:
    """The first that there is."""
    for directory in directories:
        if (found := read(directory)) is not None:
            return found
    return None


def read(state_dir: str | Path) -> ExitStatus | None:
    """None when there is no status, or none that can be read (a container that ran before is not one that runs)."""
    try:
        with open(os.path.join(state_dir, "status.json"), "rb") as file:
            return from_fields(json.loads(file.read(65536)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def from_fields(value: dict[str, Any]) -> ExitStatus:
    """A status from JSON. Raises ValueError, KeyError, TypeError or AttributeError for what is none."""
    return ExitStatus(
        exit_code=int(value["exit_code"]),
        signal=int(value.get("signal", 0)),
        oom_killed=bool(value.get("oom_killed", False)),
        started_at=int(value.get("started_at", 0)),
        finished_at=int(value.get("finished_at", 0)),
        error=str(value.get("error", "")),
        ran_for=float(value["ran_for"]) if value.get("ran_for") is not None else None,
    )


def clear(state_dir: str | Path) -> None:
    """Forget how it ended the last time, before it is started again. What is there and is no file is set aside."""
    path = os.path.join(state_dir, "status.json")
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        os.rename(path, f"{path}.damaged-{time.time_ns()}")


def killed(started_at: int, reason: str = "") -> ExitStatus:
    """The status of a container whose shim died before it could write one, for a ``reason`` where it is known."""
    return ExitStatus(
        exit_code=137,
        signal=9,
        started_at=started_at,
        finished_at=time.time_ns(),
        error=f"its shim was killed, and the kernel killed the container with it{reason}",
    )


def seen_by_another(started_at: int, exit_code: int) -> ExitStatus:
    """The status of a container that had ended with ``exit_code`` (-n after signal n) when its shim was killed."""
    return ExitStatus(
        exit_code=128 - exit_code if exit_code < 0 else exit_code,
        signal=-exit_code if exit_code < 0 else 0,
        started_at=started_at,
        finished_at=time.time_ns(),
    )


def interrupted(run_dir: str | Path) -> ExitStatus | None:
    """:func:`killed` when the container was started since the last reboot: ``launch.json`` is there (and neither a
    status nor a shim)."""
    try:
        return killed(os.stat(os.path.join(run_dir, "launch.json")).st_mtime_ns)
    except OSError:
        return None
