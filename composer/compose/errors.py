"""Errors of Compose files."""

from __future__ import annotations

from runtime.errors import ComposerError


class ComposeError(ComposerError):
    """A Compose file, env file or command line that cannot be a project. Exit status 1, as in Docker Compose;
    14 or 15 where it has those."""

    status = 400
