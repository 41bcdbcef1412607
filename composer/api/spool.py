"""Uploads that must be files before they can be used: nameless ones, so that a crash leaves nothing
behind."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from composer.api.messages import BodyReader
from runtime.storage.files import storage_error


def unnamed_file(directory: Path) -> int:
    """The descriptor of a file without a name (O_TMPFILE, open(2)) on the file system of ``directory``. Raises
    ComposerError when there is no room."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise storage_error(error, "keep an upload in", directory) from error


@asynccontextmanager
async def spooled(body: BodyReader, directory: Path) -> AsyncIterator[Path]:
    """Read ``body`` into an unnamed file on the file system of ``directory``; its path, valid within the context, is
    that of the descriptor. Raises ComposerError when there is no room."""
    descriptor = unnamed_file(directory)
    try:
        try:
            async for piece in body:
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
        except OSError as error:
            raise storage_error(error, "keep an upload in", directory) from error
        await trio.lowlevel.checkpoint()
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
