"""Where a build reads from: directories in place, everything else put into a directory of its own first."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import trio

from runtime.build.git_urls import GitSource, parse_git_url
from runtime.build.worker.git import check_out
from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.image.compression import decompressed
from runtime.image.manifest import InvalidImage
from runtime.image.tar import TarReader
from runtime.image.unpack import unpack
from runtime.storage.files import read_regular
from runtime.storage.removal import remove_tree

_TEXT_LIMIT = 16 << 20
KEEP_GIT = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"


@dataclass(frozen=True)
class Context:
    """A tree to build from. ``dockerfile``: what its URL had instead of a tree; ``commit`` of a repository."""

    path: Path
    dockerfile: str | None = None
    commit: str = ""


class Contexts:
    """Makes contexts in ``scratch``, which is emptied when an engine starts; each is gone when its build ends."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    async def discard(self) -> None:
        """Remove what a killed engine left."""
        if self._scratch.is_dir():
            await trio.to_thread.run_sync(remove_tree, self._scratch)

    async def open(
        self, text: str, env: Mapping[str, str], held: AsyncExitStack, *, keep_git: bool = False
    ) -> Context:
        """What ``text`` names; it lives as long as ``held``. Raises ComposerErrors."""
        try:
            source = parse_git_url(text)
        except ValueError as error:
            raise InvalidArgument(f"the context {text}: {error}") from None
        if source is not None:
            return await self._repository(source, env, held, keep_git=keep_git)
        if text.startswith(("http://", "https://")):
            return await self._fetched(text, env, held)
        if "://" in text:
            raise InvalidArgument(
                f"the context {text} is not one that composer knows",
                hint="a directory, a git repository, or an http(s) URL of an archive or a Dockerfile",
            )
        path = Path(text)
        if not path.is_dir():
            what = "path is not a directory" if path.exists() else "not found"
            raise NotFound(f'unable to prepare context: path "{text}" {what}')
        return Context(path)

    async def unpacked(self, archive: Path, held: AsyncExitStack) -> Context:
        """The tree of an archive. Raises ComposerErrors."""
        directory = self.directory(held)

        def extract() -> None:
            with open(archive, "rb") as source:
                unpack(source, directory)

        try:
            await trio.to_thread.run_sync(extract)
        except InvalidImage as error:
            raise InvalidArgument(f"the context is no archive that can be read: {error.message}") from None
        return Context(directory)

    def directory(self, held: AsyncExitStack) -> Path:
        """An empty one, for the length of ``held``."""
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(dir=self._scratch))
        path.chmod(0o755)
        held.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    async def _repository(
        self, source: GitSource, env: Mapping[str, str], held: AsyncExitStack, *, keep_git: bool
    ) -> Context:
        directory = self.directory(held)
        commit = await check_out(source, directory, env, keep_git=keep_git)
        return Context(directory, commit=commit)

    async def _fetched(self, url: str, env: Mapping[str, str], held: AsyncExitStack) -> Context:
        from runtime.image.downloads import fetch_file

        file = self.directory(held) / "fetched"
        await fetch_file(url, file, env)
        if await trio.to_thread.run_sync(is_tar, file):
            return await self.unpacked(file, held)
        return Context(self.directory(held), dockerfile=await trio.to_thread.run_sync(read_text, file))


def is_tar(path: Path) -> bool:
    """Whether a file is a (compressed) tar, by what is in it. Blocking."""
    try:
        with open(path, "rb") as source:
            return next(iter(TarReader(decompressed(source))), None) is not None
    except (InvalidImage, EOFError, OSError, ComposerError):
        return False


def read_text(path: Path) -> str | None:
    """A Dockerfile or an ignore file; None when it is not there. Raises ComposerError. Blocking."""
    try:
        return read_regular(os.path.realpath(path), limit=_TEXT_LIMIT).decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ComposerError(f"read {path}: {os.strerror(error.errno or 0)}") from error
