"""Credential helpers: the programs ``docker-credential-NAME`` that keep secrets in a desktop's or cloud's keychain.

The only programs that composer executes on the host: keychains can be asked in no other way, and it is the user's
own ``config.json`` that names them. Protocol: https://github.com/docker/docker-credential-helpers#development.
Functions block, and raise ComposerError when the program is missing or fails.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping

import msgspec

from runtime.errors import ComposerError
from runtime.image.registry.authentication import Credentials

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATIENCE = 60.0
"""Seconds for a credential helper, which may have to ask a person."""
_NOT_FOUND = "credentials not found in native keychain"
_TOKEN_USER = "<token>"


class _Secret(msgspec.Struct):
    Username: str = ""
    Secret: str = ""


def ask_helper(helper: str, server: str, env: Mapping[str, str]) -> Credentials | None:
    """What the helper has for a server; None when it has nothing."""
    answer = _run(helper, "get", server, env)
    if answer is None:
        return None
    try:
        found = msgspec.json.decode(answer, type=_Secret)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise ComposerError(f"docker-credential-{helper} gave an answer that is not valid") from None
    if not found.Secret:
        return None
    if found.Username == _TOKEN_USER:
        return Credentials("", "", found.Secret)
    return Credentials(found.Username, found.Secret)


def store_with_helper(helper: str, server: str, credentials: Credentials, env: Mapping[str, str]) -> None:
    """Let the helper keep the credentials of a server."""
    user = _TOKEN_USER if credentials.identity_token else credentials.username
    secret = credentials.identity_token or credentials.password
    _run(helper, "store", json.dumps({"ServerURL": server, "Username": user, "Secret": secret}), env)


def erase_with_helper(helper: str, server: str, env: Mapping[str, str]) -> None:
    """Let the helper forget a server."""
    _run(helper, "erase", server, env)


def _run(helper: str, action: str, text: str, env: Mapping[str, str]) -> bytes | None:
    """What the program answers; None when it has no credentials."""
    if not _HELPER.fullmatch(helper):
        raise ComposerError(f"config.json names an invalid credential helper: {helper[:80]!r}")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, action],
            input=text.encode(),
            capture_output=True,
            timeout=_PATIENCE,
            env=dict(env),
            check=False,
        )
    except FileNotFoundError:
        raise ComposerError(
            f"{program}: not found",
            hint=f"Install it, or take {helper!r} out of credsStore and credHelpers in config.json.",
        ) from None
    except subprocess.TimeoutExpired:
        raise ComposerError(f"{program} {action} gave no answer for {_PATIENCE:.0f} s") from None
    except OSError as error:
        raise ComposerError(f"{program}: {os.strerror(error.errno or 0)}") from error
    if done.returncode == 0:
        return done.stdout
    said = (done.stdout + done.stderr).decode(errors="replace").strip()[:200]
    if _NOT_FOUND in said:
        return None
    raise ComposerError(f"{program} {action} failed: {said or f'status {done.returncode}'}")
