"""Configuration hashes: one digest that changes when, and only when, what a thing is made from changes.

As in Docker Compose the hash of a service leaves out what does not make a container (replicas, depends_on,
build, pull_policy, profiles, develop), and is the same for all of its replicas. It is taken from the
container's configuration, so two spellings of the same thing are the same thing. Contents of inline and
environment configs and secrets count; those that come from files count by path, for they are mounted and
change by themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from composer.plan import labels
from runtime.container.config import ContainerConfig

_NOT_CONFIGURATION = frozenset(
    {
        labels.PROJECT,
        labels.SERVICE,
        labels.NUMBER,
        labels.ONEOFF,
        labels.SLUG,
        labels.CONFIG_HASH,
        labels.DEPENDS_ON,
        labels.WORKING_DIR,
        labels.CONFIG_FILES,
        labels.ENVIRONMENT_FILE,
        labels.VERSION,
        labels.IMAGE,
        labels.REPLACE,
    }
)


def digest_of(value: object) -> str:
    """SHA-256 in hex of the value's canonical JSON (keys sorted, structs by field name, defaults left
    out)."""
    plain = msgspec.to_builtins(value, str_keys=True)
    return hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).hexdigest()


def config_hash(config: ContainerConfig, container_name: str = "") -> str:
    """The hash of a container's configuration, without what Compose's labels add to it. ``container_name``: a
    fixed one."""
    return digest_of((_bare(config), container_name))


def _bare(config: ContainerConfig) -> ContainerConfig:
    kept = {k: v for k, v in config.labels.items() if k not in _NOT_CONFIGURATION}
    return msgspec.structs.replace(config, labels=kept)


def changed_attributes(old: ContainerConfig, new: ContainerConfig) -> tuple[str, ...]:
    """Names of what differs, in the words of a Compose file: ``environment.LEVEL``, ``image``,
    ``volumes``."""
    before, after = _plain(old), _plain(new)
    names = [
        name for key in sorted(before.keys() | after.keys()) for name in _differences(key, before, after)
    ]
    return tuple(dict.fromkeys(names))


def _plain(config: ContainerConfig) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(_bare(config))
    plain["env"] = dict(item.partition("=")[::2] for item in config.env)
    for derived in ("network_mode", "ipc_mode", "pid_mode", "volumes_from", "links"):
        plain.pop(derived, None)
    return plain


_NAMES = {
    "env": "environment",
    "mounts": "volumes",
    "files": "configs and secrets",
    "endpoints": "networks",
    "log": "logging",
    "resources": "resources",
    "stop_timeout": "stop_grace_period",
    "stdin_open": "stdin_open",
    "pid_mode": "pid",
    "ipc_mode": "ipc",
    "uts_mode": "uts",
    "cgroupns_mode": "cgroup",
}
_BY_KEY = frozenset({"env", "labels", "annotations", "sysctls", "log", "resources", "healthcheck"})


def _differences(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = before.get(key), after.get(key)
    if old == new:
        return
    name = _NAMES.get(key, key)
    if key not in _BY_KEY:
        yield name
        return
    old, new = old or {}, new or {}
    for inner in sorted(old.keys() | new.keys()):
        if old.get(inner) != new.get(inner):
            yield inner if key == "resources" else f"{name}.{inner}"
