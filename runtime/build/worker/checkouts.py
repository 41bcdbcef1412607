"""``ADD`` of git repositories: a directory for each commit, kept for later builds."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import trio

from runtime.build.steps import GitCheckout
from runtime.build.worker.git import check_out, resolve
from runtime.errors import ComposerError
from runtime.image.flight import KeyedLocks


class Checkouts:
    """Below ``root``: ``<hash of the repository, the commit and what is wanted of it>``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._locks = KeyedLocks()

    async def directory(self, step: GitCheckout, env: Mapping[str, str]) -> tuple[Path, str]:
        """What ``step`` names, checked out, and its commit ("": unknown). Raises DockerfileError for what git says."""
        source = step.source
        try:
            commit = await resolve(source, env)
            if source.checksum and commit and not commit.startswith(source.checksum):
                raise ComposerError(f"{source.ref or 'HEAD'} is {commit}, not {source.checksum}")
            facts = (source.url, commit, source.subdirectory, source.keeps_git, source.has_submodules)
            name = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
            async with self._locks.hold(name):
                return await self._made(step, name if commit else "", env), commit
        except ComposerError as error:
            raise step.place.error(error.message.partition("\n")[0], step.text.partition(" ")[2]) from None

    async def _made(self, step: GitCheckout, name: str, env: Mapping[str, str]) -> Path:
        """``name`` "": the commit is not known before, so what is here already is no use."""
        place = self.root / (name or f"unknown-{secrets.token_hex(6)}")
        if name and place.is_dir():
            return place
        await trio.to_thread.run_sync(partial(self.root.mkdir, mode=0o700, parents=True, exist_ok=True))
        fresh = self.root / f".{secrets.token_hex(6)}"
        fresh.mkdir(mode=0o755)
        try:
            await check_out(step.source, fresh, env)
            os.rename(fresh, place)
        finally:
            await trio.to_thread.run_sync(partial(shutil.rmtree, fresh, ignore_errors=True))
        return place
