"""How registries are reached: mirrors, insecure registries and limits, from the engine's configuration
file."""

from __future__ import annotations

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

from runtime.errors import ComposerError, InvalidArgument
from runtime.image.reference import DEFAULT_DOMAIN
from runtime.image.unpack import DEFAULT_LIMITS, Limits
from runtime.storage.files import read_regular

_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class RegistryConfiguration:
    """``schemas/engine.json`` describes the file that it comes from."""

    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Base URLs by registry."""
    insecure: tuple[str, ...] = ()
    concurrent_downloads: int = 3
    concurrent_uploads: int = 5
    attempts: int = 5
    limits: Limits = DEFAULT_LIMITS
    build_cache: int | None = None
    """Bytes that the build cache may have; None: a part of the disk."""
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """For proxies and certificates."""

    def is_insecure(self, host: str) -> bool:
        """Whether ``host[:port]`` may be spoken to without TLS: loopback, or named in the configuration."""
        name = host_name(host)
        if is_loopback(name):
            return True
        return any(item in (host, name) or is_in_network(name, item) for item in self.insecure)


def is_in_network(name: str, network: str) -> bool:
    """Whether ``name`` is an address in a network in CIDR notation; False where either is something else.

    >>> is_in_network("10.1.2.3", "10.0.0.0/8"), is_in_network("host", "10.0.0.0/8"), is_in_network("10.1.2.3", "x/y")
    (True, False, False)
    """
    if "/" not in network:
        return False
    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


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
        limits=Limits(
            size=document.get("max-layer-size", defaults.limits.size),
            entries=document.get("max-layer-entries", defaults.limits.entries),
            ratio=document.get("max-layer-ratio", defaults.limits.ratio),
        ),
        build_cache=document.get("max-build-cache"),
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
