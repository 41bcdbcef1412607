"""How registries are reached: mirrors, insecure registries, limits and credentials, from configuration
files."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec

from runtime.errors import ComposerError, InvalidArgument
from runtime.image.reference import DEFAULT_DOMAIN
from runtime.storage.files import read_regular

_LIMIT = 1 << 20
_DOCKER_HUB = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class RegistryConfiguration:
    """``schemas/engine.json`` describes the file that it comes from."""

    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Base URLs by registry."""
    insecure: tuple[str, ...] = ()
    concurrent_downloads: int = 3
    concurrent_uploads: int = 5
    attempts: int = 5

    def is_insecure(self, host: str) -> bool:
        """Whether ``host[:port]`` may be spoken to without TLS: loopback, or named in the configuration."""
        name = host_name(host)
        if is_loopback(name):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            address = None
        for item in self.insecure:
            if item in (host, name):
                return True
            if address is not None and "/" in item:
                try:
                    if address in ipaddress.ip_network(item, strict=False):
                        return True
                except ValueError:
                    continue
        return False


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Of one registry. Never shown."""

    username: str
    password: str


def host_name(host: str) -> str:
    """Without the port and the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def is_loopback(name: str) -> bool:
    """Whether a host name or address (no port) is this machine by definition."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def configuration_path(env: Mapping[str, str], uid: int) -> Path:
    """``COMPOSER_CONFIG``, else /etc/composer/engine.json for root, else the user's."""
    if path := env.get("COMPOSER_CONFIG"):
        return Path(path)
    if uid == 0:
        return Path("/etc/composer/engine.json")
    home = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME") or "/") / ".config")
    return home / "composer/engine.json"


@cache
def _validator() -> Any:
    schema = json.loads(resources.files("schemas").joinpath("engine.json").read_bytes())
    return jsonschema_rs.validator_for(schema)


def parse_configuration(data: bytes, name: str) -> RegistryConfiguration:
    """Pure. Raises InvalidArgument naming the file and the value."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{name}: not valid JSON: {error}") from None
    for problem in _validator().iter_errors(document):
        where = ".".join(str(part) for part in problem.instance_path)
        raise InvalidArgument(f"{name}: {where + ': ' if where else ''}{problem.message}")
    mirrors = document.get("registry-mirrors", {})
    if isinstance(mirrors, list):
        mirrors = {DEFAULT_DOMAIN: mirrors}
    defaults = RegistryConfiguration()
    return RegistryConfiguration(
        mirrors={registry: tuple(url.rstrip("/") for url in urls) for registry, urls in mirrors.items()},
        insecure=tuple(document.get("insecure-registries", ())),
        concurrent_downloads=document.get("max-concurrent-downloads", defaults.concurrent_downloads),
        concurrent_uploads=document.get("max-concurrent-uploads", defaults.concurrent_uploads),
        attempts=document.get("max-download-attempts", defaults.attempts),
    )


def load_configuration(path: Path) -> RegistryConfiguration:
    """The configuration in the file, the defaults when there is none. Raises ComposerError."""
    try:
        data = read_regular(os.path.realpath(path), limit=_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return RegistryConfiguration()
    except OSError as error:
        raise ComposerError(f"read {path}: {os.strerror(error.errno or 0)}") from error
    return parse_configuration(data, str(path))


class _Auth(msgspec.Struct):
    auth: str = ""
    username: str = ""
    password: str = ""


class _DockerConfig(msgspec.Struct):
    auths: dict[str, _Auth] = {}


def load_credentials(env: Mapping[str, str], registry: str) -> Credentials | None:
    """What ``docker login`` left in ``$DOCKER_CONFIG/config.json`` for a registry; None when there is nothing
    usable."""
    home = env.get("HOME") or os.path.expanduser("~")
    path = Path(env.get("DOCKER_CONFIG") or Path(home) / ".docker") / "config.json"
    try:
        config = msgspec.json.decode(read_regular(os.path.realpath(path), limit=_LIMIT), type=_DockerConfig)
    except (OSError, ComposerError, msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    names = [registry, f"https://{registry}", f"https://{registry}/v2/", f"http://{registry}"]
    if registry == DEFAULT_DOMAIN:
        names = [_DOCKER_HUB, "index.docker.io", *names]
    for name in names:
        if (found := config.auths.get(name)) is not None:
            return _credentials(found)
    return None


def _credentials(auth: _Auth) -> Credentials | None:
    if auth.auth:
        try:
            user, colon, password = base64.b64decode(auth.auth).decode().partition(":")
        except (binascii.Error, UnicodeError, ValueError):
            return None
        return Credentials(user, password.rstrip("\0")) if colon and password else None
    return Credentials(auth.username, auth.password) if auth.username and auth.password else None
