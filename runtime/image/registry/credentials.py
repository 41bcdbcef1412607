"""Who one is to registries: Docker's ``config.json`` and the programs that keep secrets for it.

``$DOCKER_CONFIG/config.json`` (else ``~/.docker/config.json``) has ``auths`` with secrets in base64, or names a
credential helper, ``docker-credential-NAME``, for one registry (``credHelpers``) or for all (``credsStore``):
https://docs.docker.com/reference/cli/docker/login/#credential-stores. All functions block.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.errors import ComposerError, InvalidArgument
from runtime.image.reference import DEFAULT_DOMAIN, parse_reference
from runtime.image.registry.authentication import Credentials
from runtime.image.registry.credential_helper import ask_helper, erase_with_helper, store_with_helper
from runtime.storage.files import read_regular, write_atomically

_LIMIT = 1 << 20
_DOCKER_HUB = "https://index.docker.io/v1/"


def server_name(registry: str) -> str:
    """The key of a registry in ``config.json``: Docker Hub has a historic one."""
    return _DOCKER_HUB if registry in (DEFAULT_DOMAIN, "index.docker.io", _DOCKER_HUB) else registry


def registry_domain(server: str) -> str:
    """The registry that a person or Docker's API means: ``""``, a host, or an URL. Raises InvalidArgument. Pure."""
    host = server.removeprefix("https://").removeprefix("http://").partition("/")[0]
    if host in ("", "index.docker.io", "registry-1.docker.io"):
        return DEFAULT_DOMAIN
    domain = parse_reference(f"{host}/x").domain
    if domain != host:
        raise InvalidArgument(
            f"{server}: not the name of a registry", hint="For example registry.example.com:5000."
        )
    return domain


def configuration_file(env: Mapping[str, str]) -> Path:
    """Docker's ``config.json`` of whoever has the environment ``env``."""
    home = env.get("HOME") or os.path.expanduser("~")
    return Path(env.get("DOCKER_CONFIG") or Path(home) / ".docker") / "config.json"


def load_credentials(env: Mapping[str, str], registry: str) -> Credentials | None:
    """The credentials for a registry; None when there are none. Raises ComposerError when the configuration is not
    readable or a credential helper fails."""
    document = read_document(env)
    if helper := helper_for(document, registry):
        return ask_helper(helper, server_name(registry), env)
    auths = document.get("auths")
    if not isinstance(auths, dict):
        return None
    for name in _names(registry):
        if isinstance(found := auths.get(name), dict):
            return parse_auth(found)
    return None


def read_document(env: Mapping[str, str]) -> dict[str, Any]:
    """All of ``config.json``, {} when there is none. Raises ComposerError when it is not readable as one."""
    path = configuration_file(env)
    try:
        document = json.loads(read_regular(os.path.realpath(path), limit=_LIMIT) or b"{}")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ComposerError(f"read {path}: {os.strerror(error.errno or 0)}") from error
    except (ValueError, RecursionError) as error:
        raise ComposerError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise ComposerError(f"{path}: not a JSON object")
    return document


def helper_for(document: Mapping[str, Any], registry: str) -> str:
    """The name of the helper that ``config.json`` has for a registry, "" for none. Pure."""
    helpers = document.get("credHelpers")
    if isinstance(helpers, dict):
        for name in _names(registry):
            if isinstance(helper := helpers.get(name), str) and helper:
                return helper
    store = document.get("credsStore")
    return store if isinstance(store, str) else ""


def _names(registry: str) -> list[str]:
    names = [registry, f"https://{registry}", f"https://{registry}/v2/", f"http://{registry}"]
    if registry == DEFAULT_DOMAIN:
        names = [_DOCKER_HUB, "index.docker.io", *names]
    return names


def parse_auth(entry: Mapping[str, Any]) -> Credentials | None:
    """An entry of ``auths``, or what ``X-Registry-Auth`` has. Pure; None when nothing in it is usable."""
    fields = {key: value for key, value in entry.items() if isinstance(value, str)}
    user, password = fields.get("username", ""), fields.get("password", "")
    token = fields.get("identitytoken", "")
    if auth := fields.get("auth"):
        try:
            user, _, password = base64.b64decode(auth).decode().partition(":")
        except (binascii.Error, UnicodeError, ValueError):
            return None
        password = password.rstrip("\0")
    if token:
        return Credentials(user, "", token)
    return Credentials(user, password) if user and password else None


def decode_header(text: str) -> Credentials | None:
    """``X-Registry-Auth`` of the Docker Engine API: URL-safe base64 of JSON. None when it says nothing."""
    try:
        entry = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return parse_auth(entry) if isinstance(entry, dict) else None


def encode_header(credentials: Credentials, registry: str) -> str:
    """The other direction of :func:`decode_header`."""
    entry = {
        "username": credentials.username,
        "password": credentials.password,
        "identitytoken": credentials.identity_token,
        "serveraddress": server_name(registry),
    }
    return base64.urlsafe_b64encode(json.dumps(entry).encode()).decode()


# Writing


def store_credentials(env: Mapping[str, str], registry: str, credentials: Credentials) -> str:
    """Keep credentials where ``config.json`` says. Returns the file that has them unencrypted, "" when a helper
    keeps them. Raises ComposerError."""
    document = read_document(env)
    auths = document.setdefault("auths", {})
    server = server_name(registry)
    if helper := helper_for(document, registry):
        store_with_helper(helper, server, credentials, env)
        auths[server] = {}
        _write(env, document)
        return ""
    pair = f"{credentials.username}:{credentials.password}".encode()
    auths[server] = {"auth": base64.b64encode(pair).decode()}
    if credentials.identity_token:
        auths[server]["identitytoken"] = credentials.identity_token
    return _write(env, document)


def erase_credentials(env: Mapping[str, str], registry: str) -> bool:
    """Forget them; whether there were any. Raises ComposerError."""
    document = read_document(env)
    found = False
    if helper := helper_for(document, registry):
        found = ask_helper(helper, server_name(registry), env) is not None
        erase_with_helper(helper, server_name(registry), env)
    auths = document.get("auths")
    if isinstance(auths, dict):
        gone = [name for name in _names(registry) if auths.pop(name, None) is not None]
        if gone:
            _write(env, document)
            found = True
    return found


def _write(env: Mapping[str, str], document: Mapping[str, Any]) -> str:
    path = Path(os.path.realpath(configuration_file(env)))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ComposerError(f"create {path.parent}: {os.strerror(error.errno or 0)}") from error
    write_atomically(path, json.dumps(document, indent="\t").encode(), mode=0o600)
    return str(path)
