"""What a project is loaded from: the request of a command, and the files as something that can be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Reader(Protocol):
    """Files, as the loader wants them. Paths are absolute. Nothing raises for a path that is not there."""

    def read(self, path: str) -> bytes | None:
        """The content; None when there is no such file. Raises :class:`ComposerError` when it cannot be read."""

    def is_file(self, path: str) -> bool:
        """Whether something that can be read as a file is there."""

    def is_dir(self, path: str) -> bool: ...

    def exists(self, path: str) -> bool: ...


class Options(NamedTuple):
    """Stages left out, by the ``--no-*`` switches of ``config``."""

    interpolate: bool = True
    normalize: bool = True
    resolve_paths: bool = True
    check_consistency: bool = True
    resolve_env: bool = True


class LoadRequest(NamedTuple):
    """Which project, as a command line and its environment say it."""

    cwd: str
    """Absolute."""
    files: tuple[str, ...] = ()
    """``-f`` in order; empty: COMPOSE_FILE, else a search in ``cwd`` and its parents."""
    project_name: str = ""
    project_directory: str = ""
    profiles: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    stdin: str | None = None
    """What the file ``-`` is."""
    options: Options = Options()
