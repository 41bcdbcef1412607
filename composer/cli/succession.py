"""Upgrades: a command that finds an engine of another version."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from composer import __version__
from composer.api.client import EngineClient
from composer.program import core_argv, is_older
from runtime.errors import ComposerError

if TYPE_CHECKING:
    from composer.cli.session import Session

PATIENCE = 60.0
"""Seconds in which the new engine has to answer, or the old one, where the new one cannot run."""


def replace_engine(session: Session, path: str, connection: Any, version: str) -> Any:
    """Have the engine of ``version`` at the other end of ``connection`` make room for one of this command's version.

    Returns a connection to the one that is there afterwards: the old one where it is at work for others."""
    old = EngineClient(path, connection=connection, timeout=PATIENCE)
    body = {"Version": __version__, "Argv": core_argv()}
    try:
        answer = old.request("POST", "/composer/v1/engine/replace", body=body).json()
    except ComposerError as error:
        session.trace(f"the engine is not replaced: {error.message}")
        session.makes_room = error.status != 404
        return old.take() or _connect(path)
    if not answer["Replaced"]:
        return old.take() or _connect(path)  # another command was quicker
    sys.stderr.write(f"The engine is replaced: composer {version} by {__version__}. Containers go on.\n")
    sys.stderr.flush()
    _wait_for_end(old)
    # The socket is the same one: who connects waits until the new engine accepts.
    return _connect(path)


def _wait_for_end(old: EngineClient) -> None:
    """Until the old engine has let go of the connection."""
    if (connection := old.take()) is not None:
        try:
            connection.recv(1)
        except OSError:
            pass
        connection.close()


def _connect(path: str) -> Any:
    from socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

    connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    connection.connect(path)
    return connection


def other_version(engine: str, command: str, *, makes_room: bool = True) -> str:
    """What to say of an engine of another version than the command; ``makes_room``: it can be replaced."""
    if is_older(engine, command) and not makes_room:
        return (
            f"the engine is composer {engine}, older than this command ({command}), and cannot be replaced while it "
            "runs: `composer engine stop` ends it, and the next command starts its own; containers go on"
        )
    if is_older(engine, command):
        return (
            f"the engine is composer {engine}, older than this command ({command}), and at work for others: the next "
            "command that finds it at rest replaces it, `composer engine stop` ends it now; containers go on either way"
        )
    return (
        f"the engine is composer {engine}, newer than this command ({command}): use the command of its version, or end "
        "it with `composer engine stop`, and the next command starts its own; containers go on"
    )
